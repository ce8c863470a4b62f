"""Links of both directions put together, on small grids worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import (
    Alignment,
    AlignmentRule,
    AnalysedText,
    Link,
    Mechanism,
    TranslatedHypothesis,
    TranslatedText,
    Word,
)
from service.symmetrisation import Point, symmetrise_links, symmetrise_pairs, symmetrise_points

GROW: Any = "grow-diag-final-and"

# Source words across, target words down; F only forward, B only backward, X both.
#       0  1  2  3
#   0   X  .  .  .
#   1   .  F  .  .      grows: diagonal neighbour of (0, 0), both its words are free
#   2   .  B  .  .      grows: beside (1, 1), word 1 is taken but target 2 is free
#   3   .  .  B  .      grows: diagonal neighbour of (1, 2), both free
#   4   .  .  F  .      grows: beside (2, 3), target 4 is free
#   5   F  .  .  .      source 0 is taken, no neighbour: never
#   6   .  .  .  B      the end: both words have nothing yet
FORWARD = {(0, 0), (1, 1), (2, 4), (0, 5)}
BACKWARD = {(0, 0), (1, 2), (2, 3), (3, 6)}


def test_intersection_and_union_are_those_of_sets() -> None:
    assert symmetrise_points(FORWARD, BACKWARD, "intersection") == {(0, 0)}
    assert symmetrise_points(FORWARD, BACKWARD, "union") == FORWARD | BACKWARD


def test_growing_follows_neighbours_and_ends_with_words_that_have_nothing() -> None:
    assert symmetrise_points(FORWARD, BACKWARD, GROW) == {(0, 0), (1, 1), (1, 2), (2, 3), (2, 4), (3, 6)}


def test_a_neighbour_whose_words_both_have_links_is_not_added() -> None:
    # (0, 1) is beside both points of the intersection, but source 0 and target 1 have their links.
    assert symmetrise_points({(0, 0), (1, 1), (0, 1)}, {(0, 0), (1, 1)}, GROW) == {(0, 0), (1, 1)}


def test_without_an_intersection_only_free_words_are_linked_forward_first() -> None:
    # Forward's (0, 0) takes both its words; backward's (0, 1) and (1, 0) each want one of them, (2, 2) is free.
    assert symmetrise_points({(0, 0)}, {(0, 1), (1, 0), (2, 2)}, GROW) == {(0, 0), (2, 2)}


def test_the_end_needs_both_words_to_be_free() -> None:
    # "final" without "and" would add (0, 3): its target has nothing.
    assert symmetrise_points({(0, 0), (0, 3)}, {(0, 0)}, GROW) == {(0, 0)}


def test_growing_looks_at_what_it_has_just_added() -> None:
    # Each of the chain is reached only from the one before it.
    chain = {(place, place) for place in range(5)}
    assert symmetrise_points(chain, {(0, 0)}, GROW) == chain


def test_weights_are_the_mean_of_both_directions() -> None:
    forward = (Link(0, 0, 0.5), Link(1, 1, 0.75))
    backward = (Link(1, 1, 0.25), Link(2, 1, 0.5))
    assert symmetrise_links(forward, backward, "union") == (Link(0, 0, 0.25), Link(1, 1, 0.5), Link(2, 1, 0.25))
    assert symmetrise_links(forward, backward, "intersection") == (Link(1, 1, 0.5),)


TEXT = AnalysedText("tea", (), (), (Word("tea", 0, 3),))
HARD = Alignment(Mechanism("luong", normalized=True), tokens=None, words=None, links=(Link(0, 0, 0.5),))
LINKS_ALONE = TranslatedText(TEXT, (TranslatedHypothesis(TEXT, np.zeros(0, np.float32), 0.0, 0.0, (HARD,), ()),))


def test_the_mean_needs_matrices() -> None:
    with pytest.raises(ValueError, match="needs matrices"):
        symmetrise_pairs([LINKS_ALONE], [LINKS_ALONE], "mean", AlignmentRule())


def literal(forward: set[Point], backward: set[Point]) -> set[Point]:
    """The published pseudo-code, word by word: `e` is the target's, `f` the source's."""
    alignment, union = forward & backward, forward | backward
    neighbours = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    size = range(6)

    def free_e(e: int) -> bool:
        return all(target != e for _, target in alignment)

    def free_f(f: int) -> bool:
        return all(source != f for source, _ in alignment)

    while True:
        added = False
        for e in size:
            for f in size:
                if (f, e) in alignment:
                    for step_f, step_e in neighbours:
                        new_e, new_f = e + step_e, f + step_f
                        if (free_e(new_e) or free_f(new_f)) and (new_f, new_e) in union:
                            alignment.add((new_f, new_e))
                            added = True
        if not added:
            break
    for direction in (forward, backward):
        for e in size:
            for f in size:
                if free_e(e) and free_f(f) and (f, e) in direction:
                    alignment.add((f, e))
    return alignment


POINTS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=18)


@given(POINTS, POINTS)
def test_growing_is_what_the_published_steps_give(forward: set[Point], backward: set[Point]) -> None:
    assert symmetrise_points(forward, backward, GROW) == literal(forward, backward)


@pytest.mark.parametrize("method", ["intersection", GROW, "union"])
def test_without_links_there_are_none(method: Any) -> None:
    assert symmetrise_links((), (), method) == ()
