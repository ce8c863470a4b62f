"""Options that the translator itself has to do with: suppressed tokens, unknown words, alternatives."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from service.domain import Alternative, Alternatives, DecodingOptions, Hypothesis
from service.errors import InvalidRequestError
from tests.service.test_translator_ranges import real_tokenizer
from tests.service.translation_fakes import (
    EOS,
    GREEDY,
    UNK,
    EchoDecoder,
    ScriptedDecoder,
    WordTokenizer,
    hypothesis,
    make_translator,
    translate,
    translate_with,
)


def test_suppressed_tokens_reach_the_decoder_as_ids() -> None:
    decoder, tokenizer = EchoDecoder(), WordTokenizer()
    tokenizer.encode("le thé")
    options = replace(GREEDY, suppressed_tokens=("thé", "le"))
    translate(["I like tea."], options, decoder=decoder, tokenizer=tokenizer)
    [[job]] = decoder.calls
    assert job.suppressed_ids == (tokenizer.id_of("thé"), tokenizer.id_of("le"))


@pytest.mark.parametrize(("tokens", "place"), [(("café",), 0), (("<unk>", "</s>"), 1)])
def test_what_cannot_be_suppressed_is_named(tokens: tuple[str, ...], place: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        translate(["I like tea."], replace(GREEDY, suppressed_tokens=tokens))
    assert caught.value.field == f"suppressed_tokens[{place}]"


def test_an_unknown_token_becomes_the_source_word_it_attends_to() -> None:
    attention = [[0.1, 0.1, 0.7, 0.1, 0.0], [0.1, 0.6, 0.1, 0.2, 0.0], [0.0, 0.0, 0.0, 0.1, 0.9]]
    decoder = ScriptedDecoder((hypothesis((UNK, UNK, EOS), attention),))
    translated = translate_with(decoder, "I saw Wrocław.")
    [best] = translated.hypotheses
    assert best.target.text == "Wrocław saw"
    assert [(token.start, token.end) for token in best.target.tokens] == [(0, 7), (8, 11), (11, 11)]
    assert [(link.source, link.target) for link in best.alignments[0].links] == [(1, 1), (2, 0)]


def test_alternatives_stand_at_each_token_of_the_whole_text_with_their_pieces() -> None:
    tokenizer = WordTokenizer()
    tea, coffee = tokenizer.id_of("thé"), tokenizer.id_of("café")

    def answer(*rows: tuple[int, int]) -> tuple[Hypothesis, ...]:
        log_probs = np.array([[-0.25, -1.5]] * len(rows), np.float32)
        alternatives = Alternatives(np.array(rows, np.int32), log_probs)
        best = hypothesis((tea, EOS), np.ones((2, 3)) / 3)
        return (replace(best, alternatives=alternatives),)

    decoder = ScriptedDecoder(answer((tea, coffee), (EOS, UNK)), answer((coffee, tea), (EOS, tea)))
    [translated] = translate(["Tea. Tea."], decoder=decoder, tokenizer=tokenizer)
    alternatives = translated.hypotheses[0].alternatives
    assert [[each.text for each in place] for place in alternatives] == [
        ["thé", "café"],
        ["</s>", "<unk>"],
        ["café", "thé"],
        ["</s>", "thé"],
    ]
    assert alternatives[1][0] == Alternative("</s>", -0.25, special=True)
    assert alternatives[1][1] == Alternative("<unk>", -1.5, special=False)


def test_no_alternatives_are_made_up() -> None:
    [translated] = translate(["I like tea."])
    assert translated.hypotheses[0].alternatives == ()


def test_options_reach_the_decoder_as_they_are() -> None:
    decoder = EchoDecoder()
    options = DecodingOptions(beam_size=1, sampling_top_k=3, seed=5, no_repeat_ngram_size=2, num_alternatives=1)
    translate(["tea"], options, decoder=decoder)
    [[job]] = decoder.calls
    assert replace(job.options, max_decoding_length=None) == options


def test_copied_words_keep_the_alignment_of_what_follows() -> None:
    tokenizer, text = real_tokenizer(), "Oh Łukasz, no"
    tokens = tokenizer.encode(text)
    name = next(index for index, token in enumerate(tokens) if token.id == tokenizer.unk_id)
    comma = next(index for index, token in enumerate(tokens) if token.text == ",")
    rows = np.eye(len(tokens) + 1, dtype=np.float32)[[name, name, name, comma, len(tokens)]]
    ids = [tokenizer.find_piece(piece) for piece in ("▁", "e", "a", ",")]
    decoder = ScriptedDecoder((hypothesis((*ids, tokenizer.eos_id), rows),))
    translator = make_translator(decoder, tokenizer)
    [translated] = asyncio.run(translator.translate([text], replace(GREEDY, replace_unknowns=True)))
    [best] = translated.hypotheses
    assert best.target.text == "Łukasz,"
    assert [(word.start, word.end) for word in best.target.words] == [(0, 6), (6, 7)]
    assert [(token.start, token.end) for token in best.target.tokens[1:4]] == [(0, 6), (6, 6), (6, 7)]
    sources = [translated.source.words[link.source].text for link in best.alignments[0].links]
    assert sources == ["Łukasz", ","]
    np.testing.assert_array_equal(best.alignments[0].words[1], [0.0, 0.0, 1.0, 0.0])


def test_what_was_asked_to_begin_a_translation_is_not_replaced() -> None:
    tokenizer, text = real_tokenizer(), "Łukasz"
    piece = tokenizer.find_piece("e")
    row = [float(token.id == tokenizer.unk_id) for token in tokenizer.encode(text)]
    decoder = ScriptedDecoder((hypothesis((piece, tokenizer.eos_id), [[*row, 0.0], [*row, 0.0]]),))
    options = replace(GREEDY, replace_unknowns=True)
    for prefix, expected in ((None, "Łukasz"), ("e", "e")):
        [translated] = asyncio.run(make_translator(decoder, tokenizer).translate([text], options, prefix))
        assert translated.hypotheses[0].target.text == expected
