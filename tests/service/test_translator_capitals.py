"""Sentences in capitals: read in lower case, answered in capitals, with ranges of the caller's text."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from service.domain import AnalysedText, DecodingOptions, TranslatedText
from service.errors import InvalidRequestError
from service.streaming import SourceRead, TokenProduced
from tests.service.test_streaming import TellingDecoder, check_events, collect
from tests.service.test_translator_ranges import check_results, real_tokenizer
from tests.service.translation_fakes import (
    EOS,
    GREEDY,
    UNK,
    EchoDecoder,
    LetterTokenizer,
    ScriptedDecoder,
    hypothesis,
    make_translator,
    translate,
)


def pieces(text: AnalysedText) -> list[str]:
    return [token.text for token in text.tokens if not token.special]


def covered(text: AnalysedText) -> list[str]:
    return [text.text[token.start : token.end] for token in text.tokens if not token.special]


def translate_words(text: str, prefix: str | None = None, options: DecodingOptions = GREEDY) -> TranslatedText:
    """Repeats the words of a text, as far as the vocabulary has them: capitals only for `NASA`."""
    [translated] = translate([text], options, prefix, tokenizer=LetterTokenizer("NASA"))
    return translated


def test_the_answer_is_in_capitals_and_its_pieces_are_what_the_model_read_and_wrote() -> None:
    translated = translate_words(" WHERE IS\tNASA?\n")
    [best] = translated.hypotheses
    assert translated.source.text == " WHERE IS\tNASA?\n"
    assert pieces(translated.source) == ["where", "is", "nasa", "?"]
    assert covered(translated.source) == [word.text for word in translated.source.words] == ["WHERE", "IS", "NASA", "?"]
    assert best.target.text == " WHERE IS NASA ?\n"
    assert pieces(best.target) == ["where", "is", "nasa", "?"]
    assert covered(best.target) == [word.text for word in best.target.words] == ["WHERE", "IS", "NASA", "?"]
    assert best.alignments[0].pharaoh == "0-0 1-1 2-2 3-3"


def test_it_is_aligned_and_scored_as_in_lower_case() -> None:
    [best], [same] = translate_words("WHERE IS IT?").hypotheses, translate_words("where is it?").hypotheses
    assert (best.score, best.log_prob) == (same.score, same.log_prob)
    np.testing.assert_array_equal(best.alignments[0].tokens, same.alignments[0].tokens)
    np.testing.assert_array_equal(best.alignments[0].words, same.alignments[0].words)


@pytest.mark.parametrize("text", ["NASA", "I", "Where is NASA?", "I am VERY tired."])
def test_other_sentences_stay_as_they_are(text: str) -> None:
    translated = translate_words(text)
    assert pieces(translated.source) == pieces(translated.hypotheses[0].target)
    assert "".join(pieces(translated.source)) == text.replace(" ", "")


def test_each_sentence_of_a_text_is_judged_by_itself() -> None:
    translated = translate_words("STOP IT! He said no. NASA! GO.")
    assert pieces(translated.source) == ["stop", "it", "!", "He", "said", "no", ".", "NASA", "!", "go", "."]
    assert translated.hypotheses[0].target.text == "STOP IT ! He said no . NASA ! GO ."


def test_every_hypothesis_is_in_capitals() -> None:
    translated = translate_words("WHERE IS IT?", options=DecodingOptions(num_hypotheses=3))
    assert [each.target.text for each in translated.hypotheses] == ["WHERE IS IT ?", "IS IT ?", "IT ?"]


def test_characters_without_one_capital_keep_ranges_right() -> None:
    tokenizer = LetterTokenizer()
    target = (tokenizer.id_of("straße"), tokenizer.id_of("où"), tokenizer.id_of("İi"), EOS)
    decoder = ScriptedDecoder((hypothesis(target, np.ones((4, 3)) / 3),))
    [translated] = translate(["İSTANBUL STRAẞE"], decoder=decoder, tokenizer=tokenizer)
    assert pieces(translated.source) == ["İstanbul", "straße"]
    assert covered(translated.source) == ["İSTANBUL", "STRAẞE"]
    [best] = translated.hypotheses
    assert best.target.text == "STRAßE OÙ İI"
    assert covered(best.target) == [word.text for word in best.target.words] == ["STRAßE", "OÙ", "İI"]


def test_unknown_words_are_copied_as_the_caller_wrote_them() -> None:
    tokenizer = LetterTokenizer()
    attention = np.eye(4)[[1, 0, 3]]
    decoder = ScriptedDecoder((hypothesis((UNK, tokenizer.id_of("vu"), EOS), attention),))
    [translated] = translate(["SEEN WROCŁAW."], decoder=decoder, tokenizer=tokenizer)
    [best] = translated.hypotheses
    assert best.target.text == "WROCŁAW VU"
    assert pieces(best.target) == ["<unk>", "vu"]
    assert covered(best.target) == ["WROCŁAW", "VU"]


def test_all_parts_of_a_sentence_are_read_as_the_whole_is() -> None:
    translator = make_translator(EchoDecoder(), LetterTokenizer("NASA"), preferred_source=8)
    text = "WHERE IS THE OLD STATION, NASA 5, NASA 6, NASA 7, 8 9 10 11, IS IT?"
    [translated] = asyncio.run(translator.translate([text], GREEDY))
    [best] = translated.hypotheses
    assert len(best.sentences) > 2
    assert all(piece == piece.lower() for piece in pieces(translated.source))
    assert pieces(translated.source).count("nasa") == 3  # alone it would stay as it is
    assert best.target.text.replace(" ,", ",").replace(" ?", "?") == text


def test_parts_of_other_sentences_do_not_become_capitals_of_their_own() -> None:
    translator = make_translator(EchoDecoder(), LetterTokenizer("NASA"), max_source=7)
    text = "NASA 1 NASA 2, NASA 3 AB, cd ef gh i"
    [translated] = asyncio.run(translator.translate([text], GREEDY))
    assert len(translated.hypotheses[0].sentences) > 1
    assert pieces(translated.source)[-7:] == ["A", "B", ",", "cd", "ef", "gh", "i"]


@pytest.mark.parametrize("prefix", ["OÙ EST", " OÙ\tEST ", "J'", "5 :"])
def test_a_prefix_in_capitals_is_given_to_the_model_in_lower_case(prefix: str) -> None:
    decoder, tokenizer = EchoDecoder(), LetterTokenizer()
    [translated] = translate(["WHERE IS IT?"], prefix=prefix, decoder=decoder, tokenizer=tokenizer)
    [[job]] = decoder.calls
    words = [token.text for token in tokenizer.encode(prefix.lower())]
    assert [tokenizer.piece(each) for each in job.prefix_ids] == words
    assert [tokenizer.piece(each) for each in job.source_ids[:-1]] == ["where", "is", "it", "?"]
    assert translated.hypotheses[0].target.text == f"{' '.join(words).upper()} WHERE IS IT ?"


def test_a_prefix_with_small_letters_leaves_the_sentence_as_it_stands() -> None:
    decoder, tokenizer = EchoDecoder(), LetterTokenizer()
    [translated] = translate(["IT IS"], prefix="Où est", decoder=decoder, tokenizer=tokenizer)
    assert pieces(translated.source) == ["I", "T", "I", "S"]
    assert translated.hypotheses[0].target.text == "Où est I T I S"


def test_a_prefix_in_capitals_stays_so_for_sentences_that_are_not() -> None:
    decoder, tokenizer = EchoDecoder(), LetterTokenizer("NASA")
    texts = ["NASA", "Where is it?", "IT IS"]
    translated = translate(texts, prefix="NASA", decoder=decoder, tokenizer=tokenizer)
    [jobs] = decoder.calls
    assert [[tokenizer.piece(each) for each in job.prefix_ids] for job in jobs] == [["NASA"], ["NASA"], ["nasa"]]
    assert [each.hypotheses[0].target.text for each in translated] == ["NASA NASA", "NASA Where is it ?", "NASA IT IS"]


def test_the_prefix_counts_as_unknown_only_as_the_model_would_write_it() -> None:
    class NoCapitals(LetterTokenizer):
        def id_of(self, word: str) -> int:
            return UNK if word == "É" else super().id_of(word)

    [translated] = translate(["IT IS"], prefix="É", tokenizer=NoCapitals())
    assert translated.hypotheses[0].target.text == "É IT IS"
    with pytest.raises(InvalidRequestError, match="cannot write"):
        translate(["It is"], prefix="É", tokenizer=NoCapitals())


def test_streams_add_capitals_as_the_answer_has_them() -> None:
    tokenizer = real_tokenizer()
    no, space, t, ea = (tokenizer.find_piece(piece) for piece in ("▁no", "▁", "t", "ea"))
    translator = make_translator(TellingDecoder((no, UNK, space, t, ea, EOS), range(1, 6)), tokenizer)
    texts = ["OH NO, TOM'S TEA ☃. I like tea."]
    events = [event for some in asyncio.run(collect(translator, texts, replace_unknowns=True)) for event in some]
    check_events(events)
    [read] = [event for event in events if isinstance(event, SourceRead)]
    assert read.source.text == texts[0]
    tokens = [event for event in events if isinstance(event, TokenProduced)]
    first, second = ("".join(e.added for e in tokens if e.sentence_index == index) for index in (0, 1))
    assert (first[:2], first[-4:]) == ("NO", " TEA")
    assert first == first.upper() != second
    assert [event.token.text for event in tokens if event.sentence_index == 0][:1] == ["▁no"]


def test_ranges_and_shapes_fit_with_the_real_tokenizer() -> None:
    texts = ["OH NO, TOM'S TEA\u2026 I LIKE EAU.", "\u200bTOM'S TEA ½ İ ŉO, DO NO TEA\u0301 ☃!\n"]
    translator = make_translator(EchoDecoder(), real_tokenizer(), max_source=1000, max_target=1000)
    options = replace(GREEDY, num_hypotheses=2)
    results = asyncio.run(translator.translate(texts, options))
    check_results(results, texts, "soft")
    assert results[0].hypotheses[0].target.text == "OH NO, TOM'S TEA... I LIKE EAU."
