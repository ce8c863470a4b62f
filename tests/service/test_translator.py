"""What the pipeline makes of texts, sentences and hypotheses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from service.bundle.tokenizer import DecodedText
from service.domain import AnalysedText, DecodingJob, DecodingOptions, Hypothesis, Link, Sentence, Token
from service.errors import OverloadedError
from service.threads import SHORT_TEXT
from tests.service.translation_fakes import (
    EOS,
    GREEDY,
    EchoDecoder,
    RoomyDecoder,
    ScriptedDecoder,
    WordTokenizer,
    hypothesis,
    make_translator,
    translate,
    translate_with,
)


def test_single_sentence_has_source_target_and_matrices_on_the_hypothesis() -> None:
    tokenizer = WordTokenizer()
    ids = (tokenizer.id_of("thé"), tokenizer.id_of("."), EOS)
    attention = [[0.125, 0.75, 0.125, 0.0], [0.0, 0.25, 0.5, 0.25], [0.0, 0.0, 0.25, 0.75]]
    decoder = ScriptedDecoder((hypothesis(ids, attention, log_prob=-1.5, score=-0.5),))
    [result] = asyncio.run(make_translator(decoder, tokenizer).translate([" I drink."], GREEDY))
    assert result.source.text == " I drink."
    assert result.source.sentences == (Sentence(1, 9, tokens=(0, 4), words=(0, 3)),)
    assert [(token.text, token.start, token.end) for token in result.source.tokens] == [
        ("I", 1, 2),
        ("drink", 3, 8),
        (".", 8, 9),
        ("</s>", 9, 9),
    ]
    [best] = result.hypotheses
    assert best.target.text == " thé ."
    assert [(word.text, word.start, word.end) for word in best.target.words] == [("thé", 1, 4), (".", 5, 6)]
    assert (best.log_prob, best.score) == (-1.5, -0.5)
    [alignment] = best.alignments
    np.testing.assert_array_equal(alignment.tokens, np.float32(attention))
    np.testing.assert_array_equal(alignment.words, np.float32([[0.125, 0.75, 0.125], [0.0, 0.25, 0.5]]))
    assert alignment.links == (Link(1, 0, 0.75), Link(2, 1, 0.5))
    [sentence] = best.sentences
    assert sentence.target == Sentence(1, 6, tokens=(0, 3), words=(0, 2))
    assert sentence.alignments == ()
    assert sentence.finished


@pytest.mark.parametrize("text", ["?!", " ... ", "\U0001f600", "--- \"''\" ()", "\n;\n"])
def test_what_has_no_letter_and_no_digit_is_its_own_translation(text: str) -> None:
    result = translate_with(ScriptedDecoder(), text)
    assert result.hypotheses[0].target.text == result.source.text == text
    assert result.source.sentences == ()


def test_it_is_copied_between_sentences_as_well() -> None:
    result = translate_with(EchoDecoder(), "One.\n* * *\n2 ?!\n\u00a1!")
    assert [result.source.text[each.start : each.end] for each in result.source.sentences] == ["One.", "2 ?!"]
    assert "\n* * *\n" in result.hypotheses[0].target.text
    assert result.hypotheses[0].target.text.endswith("\n\u00a1!")


def test_several_sentences_are_joined_with_the_source_white_space() -> None:
    result = translate_with(EchoDecoder(), "Ah!\r\n\r\n  Oh no.\tNo\n")
    [best] = result.hypotheses
    assert best.target.text == "Ah !\r\n\r\n  Oh no .\tNo\n"
    assert best.log_prob == -(3 + 4 + 2)
    assert best.score == pytest.approx(-1.0)
    assert best.token_log_probs.tolist() == [-1.0] * 9
    assert [sentence.source for sentence in best.sentences] == [
        Sentence(0, 3, tokens=(0, 3), words=(0, 2)),
        Sentence(9, 15, tokens=(3, 7), words=(2, 5)),
        Sentence(16, 18, tokens=(7, 9), words=(5, 6)),
    ]
    assert [(sentence.target.start, sentence.target.end) for sentence in best.sentences] == [(0, 4), (10, 17), (18, 20)]


def test_several_sentences_carry_their_own_matrices_and_the_text_carries_links() -> None:
    [best] = translate_with(EchoDecoder(), "Ah! Oh no.").hypotheses
    [alignment] = best.alignments
    assert alignment.tokens is None
    assert alignment.words is None
    assert alignment.pharaoh == "0-0 1-1 2-2 3-3 4-4"
    shapes = [sentence.alignments[0].tokens.shape for sentence in best.sentences]  # type: ignore[union-attr]
    assert shapes == [(3, 3), (4, 4)]
    assert [sentence.alignments[0].pharaoh for sentence in best.sentences] == ["0-0 1-1", "2-2 3-3 4-4"]


def test_hard_alignment_gives_links_without_matrices() -> None:
    [best] = translate_with(EchoDecoder(), "Ah! Oh no.", "hard").hypotheses
    [alignment] = best.alignments
    assert alignment.tokens is None
    assert alignment.pharaoh == "0-0 1-1 2-2 3-3 4-4"
    assert [sentence.alignments for sentence in best.sentences] == [(), ()]


def test_alignment_none_gives_nothing() -> None:
    [best] = translate_with(EchoDecoder(), "Ah! Oh no.", "none").hypotheses
    assert best.alignments == ()
    assert [sentence.alignments for sentence in best.sentences] == [(), ()]


def test_hypothesis_k_joins_the_kth_of_each_sentence_or_its_last() -> None:
    # "Ah!" has 3 tokens, so the echo gives 3 hypotheses; "Oh no." gives 4.
    [result] = translate(["Ah! Oh no."], DecodingOptions(beam_size=4, num_hypotheses=4))
    assert [each.target.text for each in result.hypotheses] == ["Ah ! Oh no .", "! no .", " .", " "]
    assert [each.log_prob for each in result.hypotheses] == [-7.0, -5.0, -3.0, -2.0]


def test_score_is_the_mean_of_the_sentence_scores() -> None:
    decoder = ScriptedDecoder(
        (hypothesis([EOS], [[1, 0, 0]], -1.0, score=-0.25),), (hypothesis([EOS], [[1, 0, 0]], -2.0, score=-0.75),)
    )
    [best] = translate_with(decoder, "Ah! Oh!").hypotheses
    assert best.score == -0.5
    assert best.log_prob == -3.0


def test_script_without_spaces_gets_a_space_between_sentences_of_another_script() -> None:
    tokenizer = WordTokenizer()
    words = [tokenizer.id_of("Bonjour"), tokenizer.id_of("好")]
    for first, second, expected in [(0, 0, "Bonjour Bonjour"), (1, 1, "好好"), (0, 1, "Bonjour好")]:
        decoder = ScriptedDecoder(
            (hypothesis([words[first]], [[1, 0, 0]]),), (hypothesis([words[second]], [[1, 0, 0]]),)
        )
        [result] = asyncio.run(make_translator(decoder, tokenizer).translate(["你好。你好。"], GREEDY))
        assert result.hypotheses[0].target.text == expected


@pytest.mark.parametrize("text", ["", "  ", "\n\t\u00a0", "\u0000", "\u200b \ufeff"])
def test_text_with_nothing_to_translate_is_its_own_translation(text: str) -> None:
    decoder = EchoDecoder()
    result = translate_with(decoder, text)
    assert decoder.calls == []
    assert result.source == AnalysedText(text, (), (), ())
    [best] = result.hypotheses
    assert best.target == AnalysedText(text, (), (), ())
    assert (best.log_prob, best.score, best.sentences) == (0.0, 0.0, ())
    assert best.token_log_probs.shape == (0,)
    [alignment] = best.alignments
    assert alignment.tokens is not None
    assert alignment.tokens.shape == (0, 0)
    assert alignment.pharaoh == ""


def test_empty_translation_of_a_sentence_is_an_empty_range() -> None:
    [best] = translate_with(ScriptedDecoder((hypothesis([EOS], [[0, 0, 1]]),)), "\nAh!\n").hypotheses
    assert best.target.text == "\n\n"
    assert best.sentences[0].target == Sentence(1, 1, tokens=(0, 1), words=(0, 0))
    [alignment] = best.alignments
    assert alignment.tokens is not None
    assert alignment.tokens.shape == (1, 3)
    assert alignment.words is not None
    assert alignment.words.shape == (0, 2)


def test_all_sentences_of_all_texts_go_in_one_call_and_come_back_in_order() -> None:
    decoder = EchoDecoder()
    results = translate(["Ah! Oh!", "", "Eh!"], decoder=decoder)
    assert len(decoder.calls) == 1
    assert [result.hypotheses[0].target.text for result in results] == ["Ah ! Oh !", "", "Eh !"]


def test_long_texts_keep_no_other_request_waiting() -> None:
    seen: set[int] = set()

    class NotingTokenizer(WordTokenizer):
        def encode(self, text: str) -> tuple[Token, ...]:
            seen.add(threading.get_ident())
            return super().encode(text)

        def decode(self, ids: Sequence[int], replacements: Mapping[int, str] | None = None) -> DecodedText:
            seen.add(threading.get_ident())
            return super().decode(ids, replacements)

    translator = make_translator(EchoDecoder(), NotingTokenizer())
    [result] = asyncio.run(translator.translate(["Ah! " * (SHORT_TEXT // 4 + 1)], GREEDY))
    assert len(result.source.sentences) == SHORT_TEXT // 4 + 1
    assert threading.get_ident() not in seen


def test_requests_without_room_are_refused_before_any_text_is_taken_apart() -> None:
    taken_apart: list[str] = []

    class NotingTokenizer(WordTokenizer):
        def encode(self, text: str) -> tuple[Token, ...]:
            taken_apart.append(text)
            return super().encode(text)

    class SmallDecoder(EchoDecoder):
        free = 2

        @contextmanager
        def reserve(self, sentences: int) -> Iterator[None]:
            if sentences > self.free:
                raise OverloadedError("full")
            self.free -= sentences
            try:
                yield
            finally:
                self.free += sentences

    async def ask(*texts: str) -> str:
        try:
            await translator.translate(texts, GREEDY)
        except OverloadedError:
            return f"refused after {len(taken_apart)}"
        return "answered"

    async def ask_together() -> list[str]:
        return await asyncio.gather(ask("a", " "), ask("b", "c"), ask("d"), ask("e"))

    translator = make_translator(SmallDecoder(), NotingTokenizer())
    assert asyncio.run(ask_together()) == ["answered", "refused after 0", "answered", "refused after 0"]
    assert taken_apart == ["a", "d"]
    assert asyncio.run(ask("f", "g")) == "answered"


def test_decoder_failure_reaches_the_caller() -> None:
    class FullDecoder(RoomyDecoder):
        async def decode(self, jobs: Sequence[DecodingJob]) -> list[tuple[Hypothesis, ...]]:
            raise OverloadedError("full")

    with pytest.raises(OverloadedError):
        translate(["a"], decoder=FullDecoder())
