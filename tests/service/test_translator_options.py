"""Options that the translator itself has to do with: suppressed tokens, unknown words, alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from service.domain import Alternative, Alternatives, AnalysedText, DecodingOptions, FloatArray, Hypothesis, Token, Word
from service.errors import InvalidRequestError
from service.unknown_words import replace_unknowns
from tests.service.translation_fakes import (
    EOS,
    GREEDY,
    UNK,
    EchoDecoder,
    ScriptedDecoder,
    WordTokenizer,
    hypothesis,
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


def text_of(*tokens: tuple[str, int, int, int]) -> AnalysedText:
    """The text "Łukasz ran" with these tokens."""
    words = (Word("Łukasz", 0, 6), Word("ran", 7, 10))
    pieces = [Token(token_id, piece, start, end) for piece, token_id, start, end in tokens]
    return AnalysedText("Łukasz ran", (), (*pieces, Token(EOS, "</s>", 10, 10, special=True)), words)


def unknown(*weights: Sequence[float]) -> tuple[tuple[int, ...], FloatArray]:
    return (UNK,) * len(weights), np.array(weights, dtype=np.float32)


SOURCE = text_of(("▁", 9, 0, 0), ("Ł", UNK, 0, 1), ("ukasz", 10, 1, 6), ("▁ran", 11, 7, 10))


def test_unknown_characters_of_a_word_known_in_part_stand_for_themselves() -> None:
    row = (0.1, 0.5, 0.2, 0.1, 0.1)
    assert replace_unknowns(*unknown(row), SOURCE, UNK) == {0: "Ł"}


def test_known_tokens_give_their_whole_word() -> None:
    rows = ((0.0, 0.1, 0.6, 0.2, 0.1), (0.0, 0.1, 0.1, 0.7, 0.1))
    assert replace_unknowns(*unknown(*rows), SOURCE, UNK) == {0: "Łukasz", 1: "ran"}


def test_the_end_of_the_sentence_gives_nothing_and_a_space_the_word_after_it() -> None:
    rows = ((0.1, 0.0, 0.0, 0.3, 0.6), (0.5, 0.1, 0.1, 0.2, 0.1))
    assert replace_unknowns(*unknown(*rows), SOURCE, UNK) == {0: "ran", 1: "Łukasz"}


def test_the_first_of_equals_is_taken() -> None:
    assert replace_unknowns(*unknown((0.0, 0.0, 0.4, 0.4, 0.2)), SOURCE, UNK) == {0: "Łukasz"}


def test_nothing_unknown_needs_no_work() -> None:
    assert replace_unknowns((7, EOS), np.zeros((2, 5), dtype=np.float32), SOURCE, UNK) == {}


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
