"""Reads sentence pairs from TSV, from two parallel text files, or from TMX, and says what it left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tqdm import tqdm

from model_export.errors import DataError
from model_export.tmx import find_language, read_units

_SHOWN_LINES: Final = 10

WRONG_COLUMN_COUNT: Final = "wrong column count"
EMPTY_SIDE: Final = "empty side"
INVALID_UTF8: Final = "invalid UTF-8"
OVER_LONG: Final = "over-long"
MISSING_LANGUAGE: Final = "missing language"


class SentencePair(NamedTuple):
    """One source sentence and its translation, as they stand in the file."""

    source: str
    target: str


class BadLine(NamedTuple):
    """Why a line was left out."""

    problem: str


@dataclass(frozen=True, slots=True)
class CorpusFormat:
    """How a file holds its pairs.

    Attributes:
        columns: how many tab-separated columns a TSV line has. The first two are source and target; a third one often
            names the sentence's authors.
        source_language: code that a TMX unit's source variant has or starts with (`en` finds `en-US`).
        target_language: likewise for the target.
        max_characters: longest side that is taken, in code points.
        swapped: whether the first column of a TSV, or the first of two files, is the target.

    Raises:
        DataError: there are fewer than two columns.
    """

    columns: int = 2
    source_language: str = ""
    target_language: str = ""
    max_characters: int = 2000
    swapped: bool = False

    def __post_init__(self) -> None:
        if self.columns < 2:
            raise DataError(f"columns: a line needs at least 2, source and target; got {self.columns}")


@dataclass(slots=True)
class Corpus:
    """The pairs of one file and where its other lines went.

    Attributes:
        name: the file's name as errors and reports show it.
        pairs: in the file's order.
        lines: (len(pairs),) the line that each pair came from, counted from 1.
        rejected: line numbers by problem.
        line_name: what is counted: "line", in TMX "unit".
    """

    name: str
    pairs: list[SentencePair] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejected: dict[str, list[int]] = field(default_factory=dict)
    line_name: str = "line"

    @property
    def line_count(self) -> int:
        """How many lines there were, those left out included."""
        return len(self.lines) + sum(len(lines) for lines in self.rejected.values())

    def reject(self, problem: str, line: int) -> None:
        """Records a line that is left out."""
        self.rejected.setdefault(problem, []).append(line)

    def report(self) -> str:
        """Says how many pairs were read and, per problem, how many lines were left out and the first of them."""
        return "\n".join([f"{self.name}: {len(self.pairs)} pairs", *describe_rejected(self.rejected, self.line_name)])


def describe_rejected(rejected: dict[str, list[int]], line_name: str) -> list[str]:
    """Returns one line of text per problem, with the total and the first line numbers."""
    descriptions = []
    for problem, lines in sorted(rejected.items()):
        shown = ", ".join(str(line) for line in lines[:_SHOWN_LINES])
        more = ", ..." if len(lines) > _SHOWN_LINES else ""
        descriptions.append(f"  left out: {problem}: {len(lines)} ({line_name} {shown}{more})")
    return descriptions


def read_pairs(
    paths: Sequence[Path], corpus_format: CorpusFormat = CorpusFormat(), show_progress: bool = False
) -> Corpus:
    """Reads one TSV file, one TMX file (by its suffix), or two parallel text files.

    Args:
        paths: one path, or the source's and the target's path (the other way round where the format is swapped).
        corpus_format: columns, languages and limits.
        show_progress: draw a progress bar.

    Raises:
        DataError: a file cannot be read, the parallel files differ in length, the TMX is malformed or
            swapped, or no pair is left.
    """
    if corpus_format.swapped and _is_tmx(paths):
        raise DataError(f"{paths[0]}: TMX names its languages, so there is nothing to swap; leave --swap out")
    corpus = Corpus(" + ".join(str(path) for path in paths), line_name="unit" if _is_tmx(paths) else "line")
    items = tqdm(
        _read_items(paths, corpus_format),
        f"reading {corpus.name}",
        unit=f" {corpus.line_name}s",
        disable=not show_progress,
    )
    for line, item in enumerate(items, start=1):
        pair = _check(item, corpus_format.max_characters) if isinstance(item, SentencePair) else item
        if isinstance(pair, BadLine):
            corpus.reject(pair.problem, line)
        else:
            corpus.pairs.append(SentencePair(pair.target, pair.source) if corpus_format.swapped else pair)
            corpus.lines.append(line)
    if not corpus.pairs:
        problems = [problem.strip() for problem in describe_rejected(corpus.rejected, corpus.line_name)]
        advice = ["is --columns right?"] if set(corpus.rejected) == {WRONG_COLUMN_COUNT} else []
        raise DataError("; ".join([f"{corpus.name}: no sentence pair left", *problems, *advice]))
    return corpus


def _read_items(paths: Sequence[Path], corpus_format: CorpusFormat) -> Iterator[SentencePair | BadLine]:
    match paths:
        case [path] if _is_tmx(paths):
            return _read_tmx(path, corpus_format.source_language, corpus_format.target_language)
        case [path]:
            return _read_tsv(path, corpus_format)
        case [source, target]:
            return _read_parallel(source, target)
    raise DataError(f"expected one file, or one per language; got {len(paths)}")


def _is_tmx(paths: Sequence[Path]) -> bool:
    return len(paths) == 1 and paths[0].suffix.lower() == ".tmx"


def _check(pair: SentencePair, max_characters: int) -> SentencePair | BadLine:
    source, target = pair.source.strip(), pair.target.strip()
    if not source or not target:
        return BadLine(EMPTY_SIDE)
    if max(len(source), len(target)) > max_characters:
        return BadLine(OVER_LONG)
    return SentencePair(source, target)


def read_lines(path: Path) -> Iterator[bytes]:
    """Yields lines without their end (a line feed, with or without a carriage return before it)."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                yield (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).rstrip(b"\r\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _read_tsv(path: Path, corpus_format: CorpusFormat) -> Iterator[SentencePair | BadLine]:
    for line in read_lines(path):
        try:
            cells = line.decode("utf-8").split("\t")
        except UnicodeDecodeError:
            yield BadLine(INVALID_UTF8)
            continue
        well_formed = len(cells) == corpus_format.columns
        yield SentencePair(cells[0], cells[1]) if well_formed else BadLine(WRONG_COLUMN_COUNT)


def _read_parallel(source_path: Path, target_path: Path) -> Iterator[SentencePair | BadLine]:
    try:
        for source, target in zip(read_lines(source_path), read_lines(target_path), strict=True):
            try:
                yield SentencePair(source.decode("utf-8"), target.decode("utf-8"))
            except UnicodeDecodeError:
                yield BadLine(INVALID_UTF8)
    except ValueError as error:
        raise DataError(f"{source_path} and {target_path} differ in their number of lines") from error


def _read_tmx(path: Path, source_language: str, target_language: str) -> Iterator[SentencePair | BadLine]:
    if not source_language or not target_language:
        raise DataError(f"{path}: reading TMX needs a source and a target language")
    for unit in read_units(path):
        source, target = find_language(unit, source_language), find_language(unit, target_language)
        yield BadLine(MISSING_LANGUAGE) if source is None or target is None else SentencePair(source, target)
