"""Given pairs with a side in capitals: the model reads it in lower case, the answer has it as it was given."""

from __future__ import annotations

import asyncio

import pytest

from service.domain import AnalysedText, TranslatedText
from service.forced_alignment import Aligner, AligningOptions, GivenPair, GivenText, align_both_ways
from service.translator import TranslatorLimits
from tests.service.test_forced_alignment import ForcedDecoder
from tests.service.translation_fakes import ONE_MECHANISM, LetterTokenizer


def aligner() -> Aligner:
    return Aligner(LetterTokenizer("NASA"), ForcedDecoder(), TranslatorLimits(12, 12), ONE_MECHANISM)  # type: ignore[arg-type]


def align(source: GivenText, target: GivenText, backward: bool = False) -> TranslatedText:
    [aligned] = asyncio.run(aligner().align([GivenPair(source, target)], AligningOptions(backward=backward)))
    return aligned


def pieces(text: AnalysedText) -> list[str]:
    return [token.text for token in text.tokens if not token.special]


@pytest.mark.parametrize("backward", [False, True])
def test_both_sides_keep_text_words_and_ranges(backward: bool) -> None:
    aligned = align(" WHERE IS IT?", "OÙ EST-CE ?\n", backward)
    [given] = aligned.hypotheses
    sides = (given.target, aligned.source) if backward else (aligned.source, given.target)
    assert [side.text for side in sides] == [" WHERE IS IT?", "OÙ EST-CE ?\n"]
    assert [pieces(side) for side in sides] == [["where", "is", "it", "?"], ["où", "est", "-", "ce", "?"]]
    for side in sides:
        found = [side.text[token.start : token.end] for token in side.tokens if not token.special]
        assert found == [word.text for word in side.words] == [piece.upper() for piece in pieces(side)]
    assert given.alignments[0].pharaoh == "0-0 1-1 2-2 3-3"


def test_each_side_is_judged_by_itself() -> None:
    mixed, capitals = align("WHERE IS IT?", "Où est NASA"), align("NASA", "OÙ EST IT")
    assert (pieces(mixed.source), pieces(mixed.hypotheses[0].target)) == (
        ["where", "is", "it", "?"],
        ["Où", "est", "NASA"],
    )
    assert (pieces(capitals.source), pieces(capitals.hypotheses[0].target)) == (["NASA"], ["où", "est", "it"])


def test_given_words_stay_and_links_refer_to_them() -> None:
    aligned = align(("NEW YORK", "DO", "N'T", "."), ("a", "b", "c", "d", "e"))
    assert aligned.source.text == "NEW YORK DON'T."
    assert [word.text for word in aligned.source.words] == ["NEW YORK", "DO", "N'T", "."]
    assert pieces(aligned.source) == ["new", "york", "do", "n't", "."]
    assert aligned.hypotheses[0].alignments[0].pharaoh == "0-0 0-1 1-2 2-3 3-4"


def test_a_text_in_capitals_may_be_as_long_as_its_lower_case() -> None:
    text = " ".join(["WHERE"] * 11)  # 55 letters; the model takes 12 tokens
    assert align(text, "où").source.text == text


def test_links_of_both_directions_refer_to_the_same_words() -> None:
    pair = GivenPair("WHERE IS IT?", "Où est ce ?")
    [aligned] = asyncio.run(align_both_ways(aligner(), aligner(), [pair], AligningOptions(), "intersection"))
    assert aligned.source.text == "WHERE IS IT?"
    assert aligned.hypotheses[0].alignments[0].pharaoh == "0-0 1-1 2-2 3-3"
