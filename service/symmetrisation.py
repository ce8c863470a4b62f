"""The links, or the matrices, of two models put together, one for each direction: each sees what the other overlooks.

Sources: Och and Ney 2003, "A Systematic Comparison of Various Statistical Alignment Models", section 2.4 (intersection,
union, growing); Koehn et al. 2005, "Edinburgh System Description for the 2005 IWSLT Speech Translation Evaluation",
section 3.1 (grow-diag-final-and).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np

from service.alignment import hard_links
from service.domain import Alignment, AlignmentRule, FloatArray, Link, TranslatedText

LinkMethod: TypeAlias = Literal["intersection", "grow-diag-final-and", "union"]
"""Puts the links of both directions together."""

Symmetrisation: TypeAlias = Literal[LinkMethod, "mean"]
"""The same, or `mean`: puts the matrices of both directions together, and makes links of these."""

Point: TypeAlias = tuple[int, int]
"""A link without its weight: source word, target word."""

NEIGHBOURS: Final = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Where growing looks from a point, in this order: beside it first, then diagonally."""


def symmetrise_links(forward: Iterable[Link], backward: Iterable[Link], method: LinkMethod) -> tuple[Link, ...]:
    """Puts links of both directions together.

    Args:
        forward: from the model that translates the source.
        backward: from the model that translates the target, turned round: `source` is the source's word here too.
        method: `intersection` keeps what both have, `union` what either has; `grow-diag-final-and` is between them.

    Returns:
        The links, ordered by source, then target. Their weight is the mean of those of both directions, 0 standing for
        a link that a direction does not have.
    """
    forward_weights = {(link.source, link.target): link.weight for link in forward}
    backward_weights = {(link.source, link.target): link.weight for link in backward}
    points = symmetrise_points(forward_weights.keys(), backward_weights.keys(), method)
    return tuple(
        Link(*point, weight=(forward_weights.get(point, 0.0) + backward_weights.get(point, 0.0)) / 2)
        for point in sorted(points)
    )


def symmetrise_points(forward: AbstractSet[Point], backward: AbstractSet[Point], method: LinkMethod) -> set[Point]:
    """As `symmetrise_links`, of links without weights."""
    both, either = set(forward & backward), set(forward | backward)
    if method == "intersection":
        return both
    if method == "union":
        return either
    return _grow_diag_final_and(both, (forward, backward))


def _grow_diag_final_and(points: set[Point], directions: Sequence[AbstractSet[Point]]) -> set[Point]:
    """Grows the intersection along its neighbours, then adds links between words that are both left without any."""
    either = set[Point]().union(*directions)
    in_order = sorted(either, key=_by_target)
    sources, targets = {source for source, _ in points}, {target for _, target in points}

    def add(point: Point) -> None:
        points.add(point)
        sources.add(point[0])
        targets.add(point[1])

    grown = True
    while grown:
        grown = False
        for source, target in in_order:
            if (source, target) not in points:
                continue
            for step_source, step_target in NEIGHBOURS:
                new = source + step_source, target + step_target
                if new in either and new not in points and not (new[0] in sources and new[1] in targets):
                    add(new)
                    grown = True
    for direction in directions:
        for point in sorted(direction, key=_by_target):
            if point[0] not in sources and point[1] not in targets:
                add(point)
    return points


def _by_target(point: Point) -> Point:
    return point[1], point[0]


def symmetrise_pairs(
    forward: Sequence[TranslatedText],
    backward: Sequence[TranslatedText],
    method: Symmetrisation,
    rule: AlignmentRule,
) -> list[TranslatedText]:
    """Gives aligned pairs the links of both directions; everything else stays as the first direction says.

    Args:
        forward: pairs with their given target as the only hypothesis; for `mean` with matrices.
        backward: the same pairs, each turned round, from the other model; likewise.
        method: how; `mean` takes the mean of both matrices between words and links by `rule`.
        rule: for `mean` alone.

    Returns:
        `forward` with new links of the primary mechanism, taken together with those of the other model's primary one.

    Raises:
        ValueError: matrices are needed that the pairs do not have.
    """
    return [_symmetrise(*both, method, rule) for both in zip(forward, backward, strict=True)]


def _symmetrise(
    forward: TranslatedText, backward: TranslatedText, method: Symmetrisation, rule: AlignmentRule
) -> TranslatedText:
    [hypothesis], [other] = forward.hypotheses, backward.hypotheses
    if not hypothesis.alignments:
        return forward
    primary, *further = hypothesis.alignments
    if method == "mean":
        mean: FloatArray = (_matrix(primary) + _matrix(other.alignments[0]).T) / np.float32(2)
        links = hard_links(mean, rule)
    else:
        turned = [Link(link.target, link.source, link.weight) for link in other.alignments[0].links]
        links = symmetrise_links(primary.links, turned, method)
    changed = replace(hypothesis, alignments=(replace(primary, links=links), *further))
    return replace(forward, hypotheses=(changed,))


def _matrix(alignment: Alignment) -> FloatArray:
    """The matrix between words (target words, source words)."""
    if alignment.words is None:
        raise ValueError("symmetrising by the mean needs matrices; align with alignment='soft'")
    return alignment.words
