"""Diagnostics: matrices in which every finding can be read off."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from service.bundle.words import find_words
from service.diagnostics import diagnose, move_findings
from service.domain import AnalysedText, DecodingOptions, FloatArray, Token
from service.findings import Finding, OmissionRule
from service.forced_alignment import Aligner, AligningOptions, GivenPair
from service.translator import TranslatorLimits
from tests.service.translation_fakes import (
    EOS,
    ONE_MECHANISM,
    TWO_MECHANISMS,
    WITH_ALIGNER,
    EchoDecoder,
    WordTokenizer,
    make_translator,
)


def text_of(text: str) -> AnalysedText:
    """One token per word, and an end of sentence."""
    words = find_words(text)
    tokens = [Token(9, word.text, word.start, word.end) for word in words]
    end = Token(EOS, "</s>", len(text), len(text), special=True)
    return AnalysedText(text, (), (*tokens, end), tuple(words))


def attention_of(rows: list[list[float]]) -> FloatArray:
    """Where the target's words attend to the source's like this, and the rest of a row goes to its end."""
    attention = np.zeros((len(rows) + 1, len(rows[0]) + 1), np.float32)
    attention[:-1, :-1] = rows
    attention[:, -1] = 1 - attention.sum(axis=1)
    return attention


def found(source: str, target: str, rows: list[list[float]]) -> list[Finding]:
    """What is found in the attention of a model's only mechanism."""
    return list(diagnose([(ONE_MECHANISM[0], attention_of(rows))], text_of(source), text_of(target)))


def kinds(findings: list[Finding]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(each.heuristic, each.source_words, each.target_words) for each in findings]


def test_sharp_rows_that_cover_the_source_give_nothing() -> None:
    assert found("a b", "x y", [[1, 0], [0, 1]]) == []


def test_source_word_without_attention_is_found_with_what_it_got() -> None:
    [finding] = found("a b c", "x y", [[0.95, 0.05, 0], [0, 0.02, 0.98]])
    assert (finding.heuristic, finding.source_words, finding.target_words) == ("unattended_source_word", (1,), ())
    assert finding.value == pytest.approx(0.07)


def test_punctuation_without_attention_is_not_found() -> None:
    assert found("a , b", "x y", [[1, 0, 0], [0, 0, 1]]) == []


def test_a_source_word_that_several_words_glance_at_is_not_found() -> None:
    assert found("a b c", "x y", [[0.94, 0.06, 0], [0, 0.06, 0.94]]) == []


@pytest.mark.parametrize(
    ("back", "ahead", "expected"),
    [
        (0.25, 0.85, [(1,)]),  # looked for and not written
        (0.35, 0.85, []),  # written, at least in part
        (0.0, 0.75, []),  # never looked for, as an article that the target has no word for
    ],
)
def test_a_word_that_was_looked_for_and_not_written_is_found(
    back: float, ahead: float, expected: list[tuple[int, ...]]
) -> None:
    looking_back = attention_of([[1 - back, back, 0], [0, 0, 1]])
    looking_ahead = attention_of([[1, 0, 0], [0, ahead, 1 - ahead]])
    attentions = list(zip(WITH_ALIGNER, (looking_back, looking_ahead), strict=True))
    findings = diagnose(attentions, text_of("a b c"), text_of("x y"), OmissionRule(0.3, 0.8))
    assert [each.source_words for each in findings] == expected
    assert [each.value for each in findings] == pytest.approx([back] * len(expected))


def test_without_attention_that_looks_back_there_is_only_one_sign() -> None:
    rows = attention_of([[0.95, 0.05, 0], [0, 0, 1]])
    further = attention_of([[1, 0, 0], [0, 0, 1]])
    attentions = list(zip(TWO_MECHANISMS, (rows, further), strict=True))
    [finding] = diagnose(attentions, text_of("a b c"), text_of("x y"), OmissionRule(0.01, 0.8))
    assert finding.source_words == (1,)


def test_equal_words_side_by_side_are_found_whatever_they_attend_to() -> None:
    findings = found("a b", "x X y", [[1, 0], [0, 0], [0, 1]])
    assert kinds(findings) == [("repeated_target_word", (0,), (0, 1))]


def test_equal_words_apart_are_found_where_they_share_attention() -> None:
    shared = found("a b c", "x y x", [[0.9, 0, 0.1], [0, 1, 0], [0.3, 0, 0.7]])
    assert kinds(shared) == [("repeated_target_word", (0,), (0, 2))]
    assert shared[0].value == pytest.approx(0.4)
    assert found("a b c", "x y x", [[0.9, 0, 0.1], [0, 1, 0], [0.05, 0, 0.95]]) == []


def test_words_that_the_source_repeats_itself_are_not_found() -> None:
    assert found("No no", "Non non", [[0.5, 0.5], [0.5, 0.5]]) == []


def test_every_further_copy_is_found() -> None:
    findings = found("a", "x x x", [[1], [1], [1]])
    assert [each.target_words for each in findings] == [(0, 1), (1, 2)]


def test_spread_attention_is_found_with_its_spread() -> None:
    [finding] = found("a b c d e", "x y", [[0.2] * 5, [0.5, 0.5, 0, 0, 0]])
    assert kinds([finding]) == [("diffuse_target_word", (), (0,))]
    assert finding.value == pytest.approx(5, rel=1e-5)


def test_attention_to_no_word_counts_as_one_place() -> None:
    assert found("a b c", "x y", [[0.25, 0.25, 0.25], [1, 0, 0]])[0].value == pytest.approx(4, rel=1e-5)
    assert kinds(found("a b", "x y", [[0, 0], [1, 1e-9]]))[0] == ("unattended_source_word", (1,), ())


@pytest.mark.parametrize(("source", "target"), [("", "x"), ("a", ""), ("", "")])
def test_a_side_without_words_has_no_findings(source: str, target: str) -> None:
    sides = text_of(source), text_of(target)
    attention = np.ones((len(sides[1].tokens), len(sides[0].tokens)), np.float32) / len(sides[0].tokens)
    assert diagnose([(ONE_MECHANISM[0], attention)], *sides) == ()


def test_findings_are_moved_to_their_place() -> None:
    [moved] = move_findings([Finding("repeated_target_word", (1,), (2, 3), 0.5)], 10, 20)
    assert moved == Finding("repeated_target_word", (11,), (22, 23), 0.5)


class DroppingDecoder(EchoDecoder):
    """Leaves out the second word of every sentence."""

    @staticmethod
    def echo(job: Any, dropped: int) -> Any:
        whole = EchoDecoder.echo(job, 0)
        keep = [index for index in range(len(whole.target_ids)) if index != 1]
        ids = tuple(whole.target_ids[index] for index in keep)
        return type(whole)(ids, whole.token_log_probs[keep], whole.log_prob, whole.score, whole.attention[keep], True)


@pytest.mark.parametrize("alignment", ["none", "hard", "soft"])
def test_findings_of_a_translation_refer_to_the_whole_text(alignment: Any) -> None:
    translator = make_translator(DroppingDecoder())
    [text] = asyncio.run(translator.translate(["a b c. d e f."], DecodingOptions(beam_size=1), None, alignment, True))
    findings = text.hypotheses[0].findings or ()
    assert [text.source.words[index].text for each in findings for index in each.source_words] == ["b", "e"]
    assert {each.heuristic for each in findings} == {"unattended_source_word"}


def test_nothing_is_looked_for_unless_it_is_asked_for() -> None:
    translator = make_translator(DroppingDecoder())
    [text, empty] = asyncio.run(translator.translate(["a b c.", " "], DecodingOptions(beam_size=1)))
    assert text.hypotheses[0].findings is None
    assert empty.hypotheses[0].findings is None
    [empty] = asyncio.run(translator.translate([" "], DecodingOptions(), diagnostics=True))
    assert empty.hypotheses[0].findings == ()


def test_a_given_pair_is_diagnosed() -> None:
    class Forced(EchoDecoder):
        @staticmethod
        def echo(job: Any, dropped: int) -> Any:
            echoed = EchoDecoder.echo(job, 0)
            rows = np.eye(len(job.source_ids), dtype=np.float32)[[0, 2, 3]]
            return type(echoed)(job.prefix_ids, np.zeros(3, np.float32), -1.0, -1.0, rows, True)

    aligner = Aligner(WordTokenizer(), Forced(), TranslatorLimits(20, 20), ONE_MECHANISM)  # type: ignore[arg-type]
    [aligned] = asyncio.run(aligner.align([GivenPair("a b c", "x y")], AligningOptions(diagnostics=True)))
    assert kinds(list(aligned.hypotheses[0].findings or ())) == [("unattended_source_word", (1,), ())]
    [aligned] = asyncio.run(aligner.align([GivenPair("a b c", "x y")]))
    assert aligned.hypotheses[0].findings is None
