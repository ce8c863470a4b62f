"""Reads word alignments made by people, in the project's own format and in that of the NAACL 2003 shared task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from model_export.errors import DataError
from service.bundle.words import find_words

Point: TypeAlias = tuple[int, int]
"""Source word, target word, both counted from 0."""

TSV_COLUMNS: Final = ("id", "part", "tags")
"""The first columns of the own format; two with the sentences follow, named after their languages, then `links`."""

_Sides: TypeAlias = tuple[str, str] | tuple[tuple[str, ...], tuple[str, ...]]
_LINK: Final = re.compile(r"(\d+)([-p])(\d+)")


@dataclass(frozen=True, slots=True)
class GoldPair:
    """Two sentences as words, and the links between them.

    Attributes:
        source: the text where the format has one, otherwise its words.
        target: likewise.
        sure: links that nobody doubts.
        possible: links that can be defended; the sure ones are among them.
        source_words: how many there are.
        target_words: likewise.
    """

    source: str | tuple[str, ...]
    target: str | tuple[str, ...]
    sure: frozenset[Point]
    possible: frozenset[Point]
    source_words: int
    target_words: int

    @property
    def words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The words of both sides, those that links count."""
        return _words(self.source), _words(self.target)

    @property
    def swapped(self) -> GoldPair:
        """The pair for a model of the other direction."""
        sure, possible = (
            frozenset((target, source) for source, target in links) for links in (self.sure, self.possible)
        )
        return GoldPair(self.target, self.source, sure, possible, self.target_words, self.source_words)


def _words(side: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.text for word in find_words(side)) if isinstance(side, str) else side


@dataclass(frozen=True, slots=True)
class GoldSet:
    """Pairs of a file, or of one part of it; `name` says which."""

    name: str
    part: str | None
    pairs: tuple[GoldPair, ...]

    @property
    def swapped(self) -> GoldSet:
        """The set for a model of the other direction."""
        return replace(self, pairs=tuple(pair.swapped for pair in self.pairs))


def read_gold(path: Path, part: str | None = None) -> GoldSet:
    """Reads a gold file.

    Args:
        path: a TSV file of the project's own format, which counts the words that `find_words` finds from 0; or
            `NAME.gold` with links counted from 1, line by line those of `NAME.txt` beside it, which holds
            `source ||| target` with words separated by spaces.
        part: only pairs of this part, which only the own format has.

    Raises:
        DataError: a file cannot be read, a line is wrong, or the part does not exist; names file and line.
    """
    if path.suffix == ".gold":
        if part is not None:
            raise DataError(f"{path}: has no parts")
        return GoldSet(path.name, None, tuple(_read_shared_task(path)))
    parts, pairs = zip(*_read_own(path), strict=True)
    if part is None:
        return GoldSet(path.name, None, pairs)
    chosen = tuple(pair for pair, its_part in zip(pairs, parts, strict=True) if its_part == part)
    if not chosen:
        raise DataError(f"{path}: has no part {part!r}; it has {', '.join(sorted(set(parts)))}")
    return GoldSet(f"{path.name} ({part})", part, chosen)


def _read_own(path: Path) -> Iterator[tuple[str, GoldPair]]:
    header, *lines = _read_lines(path)
    columns = tuple(header.split("\t"))
    if len(columns) != 6 or columns[:3] != TSV_COLUMNS or columns[5] != "links" or not lines:
        raise DataError(f"{path}: is no gold file; its columns must be {', '.join(TSV_COLUMNS)}, two languages, links")
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise DataError(f"{path}:{number}: has {len(cells)} columns, not {len(columns)}")
        _, part, _, source, target, links = cells
        sizes = len(find_words(source)), len(find_words(target))
        place = f"{path}:{number}"
        yield part, _make_pair(place, (source, target), sizes, _parse(place, links, first=0))


def _read_shared_task(path: Path) -> Iterator[GoldPair]:
    text_path = path.with_suffix(".txt")
    texts, gold = _read_lines(text_path), _read_lines(path)
    if len(texts) != len(gold):
        raise DataError(f"{path}: has {len(gold)} lines, {text_path} has {len(texts)}")
    for number, (text, links) in enumerate(zip(texts, gold, strict=True), start=1):
        sides = text.split("|||")
        if len(sides) != 2:
            raise DataError(f"{text_path}:{number}: must be source ||| target")
        source, target = (tuple(side.split()) for side in sides)
        place = f"{path}:{number}"
        yield _make_pair(place, (source, target), (len(source), len(target)), _parse(place, links, first=1))


def _make_pair(place: str, sides: _Sides, sizes: tuple[int, int], links: list[tuple[Point, bool]]) -> GoldPair:
    for (source, target), _ in links:
        if not (0 <= source < sizes[0] and 0 <= target < sizes[1]):
            raise DataError(f"{place}: a link is outside of the sentences, which have {sizes[0]} and {sizes[1]} words")
    sure = frozenset(point for point, is_sure in links if is_sure)
    return GoldPair(sides[0], sides[1], sure, frozenset(point for point, _ in links), *sizes)


def _parse(place: str, links: str, first: int) -> list[tuple[Point, bool]]:
    """Reads links whose words are counted from `first`; True for sure ones."""
    parsed = []
    for link in links.split():
        match = _LINK.fullmatch(link)
        if match is None:
            raise DataError(f"{place}: {link!r} is no link; links are i-j (sure) and ipj (possible)")
        parsed.append(((int(match[1]) - first, int(match[3]) - first), match[2] == "-"))
    return parsed


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not valid UTF-8") from error
