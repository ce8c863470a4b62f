"""From the API's answer to what is drawn: parts (sentences) with units (words or tokens), weights and links.

The same as `service/ui/alignment-data.js`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import regex

Json: TypeAlias = Mapping[str, Any]
Granularity: TypeAlias = Literal["words", "tokens"]

LEAST_TOKEN_LINK: Final = 0.1
"""The API links words only; between tokens, curves show weights from here on."""

_SPECIAL_TOKEN: Final = "⏎"
_LETTER: Final = regex.compile(r"\p{L}")
_RIGHT_TO_LEFT: Final = regex.compile(
    r"[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A word or token; `joined`: it follows the one before without white space."""

    text: str
    special: bool
    joined: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The units of one side of a part, in the order in which they are read."""

    units: tuple[Unit, ...]
    right_to_left: bool


@dataclass(frozen=True, slots=True)
class PartLink:
    """A curve between two units of a part."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True, slots=True)
class Part:
    """What is drawn of one sentence; `weights` (target x source) is None where there is no matrix."""

    source: Side
    target: Side
    weights: Sequence[Sequence[float]] | None
    links: tuple[PartLink, ...]


def read_parts(source: Json, hypothesis: Json, granularity: Granularity) -> list[Part]:
    """Reads what is to be drawn of a hypothesis, by its primary mechanism: a part for each of its sentences.

    Args:
        source: as the API gives a source.
        hypothesis: as the API gives a hypothesis of it, or the target of a pair.
        granularity: what the units are.
    """
    return [_read_part(source, hypothesis, sentence, granularity) for sentence in hypothesis["sentences"]]


def is_right_to_left(text: str) -> bool:
    """Whether a text is read from right to left: its first letter decides."""
    letter = _LETTER.search(text)
    return letter is not None and _RIGHT_TO_LEFT.match(letter[0]) is not None


def _read_part(source: Json, hypothesis: Json, sentence: Json, granularity: Granularity) -> Part:
    whole = hypothesis["alignment"] or {}
    weights = (sentence["alignment"] or whole).get(granularity)
    places = sentence["source"][granularity], sentence["target"][granularity]
    links = _links_within(whole.get("links", ()), *places) if granularity == "words" else _strong_cells(weights or ())
    sides = _read_side(source[granularity], places[0]), _read_side(hypothesis[granularity], places[1])
    return Part(*sides, weights, links)


def _read_side(units: Sequence[Json], place: Sequence[int]) -> Side:
    first, end = place
    read: list[Unit] = []
    for index in range(first, end):
        unit = units[index]
        special = unit.get("special", False)
        joined = index > first and unit["start"] == units[index - 1]["end"] and not special
        read.append(Unit(_SPECIAL_TOKEN if special else unit["text"], special, joined))
    return Side(tuple(read), is_right_to_left(" ".join(unit.text for unit in read)))


def _links_within(links: Sequence[Json], source: Sequence[int], target: Sequence[int]) -> tuple[PartLink, ...]:
    return tuple(
        PartLink(link["source"] - source[0], link["target"] - target[0], link["weight"])
        for link in links
        if source[0] <= link["source"] < source[1] and target[0] <= link["target"] < target[1]
    )


def _strong_cells(weights: Sequence[Sequence[float]]) -> tuple[PartLink, ...]:
    return tuple(
        PartLink(source, target, weight)
        for target, row in enumerate(weights)
        for source, weight in enumerate(row)
        if weight >= LEAST_TOKEN_LINK
    )
