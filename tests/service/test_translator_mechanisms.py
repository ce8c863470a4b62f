"""What the pipeline makes of a model with several attention mechanisms."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.alignment import AlignmentDetail
from service.domain import Link, TranslatedHypothesis
from tests.service.translation_fakes import GREEDY, TWO_MECHANISMS, EchoDecoder, MirrorDecoder, make_translator


def translate(text: str, alignment: AlignmentDetail = "soft") -> TranslatedHypothesis:
    translator = make_translator(MirrorDecoder(), mechanisms=TWO_MECHANISMS)
    [result] = asyncio.run(translator.translate([text], GREEDY, alignment=alignment))
    [best] = result.hypotheses
    return best


def test_a_sentence_has_the_alignment_of_each_mechanism_primary_first() -> None:
    best = translate("Oh no.")
    assert tuple(alignment.mechanism for alignment in best.alignments) == TWO_MECHANISMS
    primary, other = best.alignments
    np.testing.assert_array_equal(primary.tokens, np.eye(4))
    np.testing.assert_array_equal(other.tokens, np.eye(4)[:, ::-1] / 2)
    np.testing.assert_array_equal(other.words, [[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])
    assert primary.pharaoh == "0-0 1-1 2-2"
    assert other.links == (Link(1, 2, 0.5), Link(2, 1, 0.5))
    assert [sentence.alignments for sentence in best.sentences] == [()]


def test_several_sentences_carry_their_matrices_and_the_text_the_links_of_each_mechanism() -> None:
    best = translate("Ah! Oh no.")
    assert tuple(alignment.mechanism for alignment in best.alignments) == TWO_MECHANISMS
    assert [(alignment.tokens, alignment.words) for alignment in best.alignments] == [(None, None), (None, None)]
    assert [alignment.pharaoh for alignment in best.alignments] == ["0-0 1-1 2-2 3-3 4-4", "1-1 3-4 4-3"]
    first, second = best.sentences
    assert [alignment.mechanism for alignment in first.alignments] == list(TWO_MECHANISMS)
    np.testing.assert_array_equal(first.alignments[1].tokens, np.eye(3)[:, ::-1] / 2)
    np.testing.assert_array_equal(second.alignments[1].tokens, np.eye(4)[:, ::-1] / 2)
    assert [sentence.alignments[1].pharaoh for sentence in best.sentences] == ["1-1", "3-4 4-3"]


def test_hard_alignment_gives_the_links_of_each_mechanism() -> None:
    best = translate("Ah! Oh no.", "hard")
    assert [alignment.pharaoh for alignment in best.alignments] == ["0-0 1-1 2-2 3-3 4-4", "1-1 3-4 4-3"]
    assert all(alignment.tokens is None and alignment.words is None for alignment in best.alignments)
    assert [sentence.alignments for sentence in best.sentences] == [(), ()]


def test_alignment_none_gives_nothing() -> None:
    best = translate("Ah! Oh no.", "none")
    assert best.alignments == ()
    assert [sentence.alignments for sentence in best.sentences] == [(), ()]


def test_nothing_to_translate_has_an_empty_alignment_of_each_mechanism() -> None:
    best = translate(" \n")
    assert tuple(alignment.mechanism for alignment in best.alignments) == TWO_MECHANISMS
    for alignment in best.alignments:
        assert alignment.tokens is not None
        assert alignment.tokens.shape == (0, 0)
        assert alignment.pharaoh == ""


def test_a_model_that_gives_fewer_matrices_than_it_has_mechanisms_is_a_defect() -> None:
    translator = make_translator(EchoDecoder(), mechanisms=TWO_MECHANISMS)
    with pytest.raises(ValueError, match="shorter"):
        asyncio.run(translator.translate(["Ah!"], GREEDY))
