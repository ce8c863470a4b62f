"""Word alignments of training pairs: the words that an aligner is given, and the links that it gave back.

An aligner (eflomal, fast_align) is a program of its own: `interlinear-export words` writes what it reads, and
`interlinear-export train --alignments` reads what it writes, or what `symmetrise` and `vote` make of that.
Between them, line numbers are all that holds links and sentences together, so lines that cannot be used keep their
places.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from model_export.corpus_readers import Corpus, read_lines
from model_export.errors import DataError
from service.bundle.normalization import normalize
from service.bundle.words import find_words
from service.domain import IntArray
from service.symmetrisation import Point

SOURCE_WORDS_FILE: Final = "source.words"
TARGET_WORDS_FILE: Final = "target.words"
PAIRS_FILE: Final = "pairs.words"
SEPARATOR: Final = "|||"  # between the sides, in fast_align's format, which eflomal reads as well
LEFT_OUT: Final = "<left-out>"
"""Stands for both sides of a line that cannot be used: aligners refuse empty sides, or lose count."""

_LINK: Final = re.compile(rb"([0-9]{1,9})-([0-9]{1,9})")


@dataclass(slots=True)
class WordAlignments:
    """The word links of a corpus.

    Attributes:
        links: per pair of the corpus int32 (links, 2): source word and target word, as `find_words` counts them from 0.
        sha256: of the files' content, hexadecimal.
    """

    links: list[IntArray] = field(default_factory=list)
    sha256: str = ""


def read_alignments(paths: Sequence[Path], corpus: Corpus, swapped: bool = False) -> WordAlignments:
    """Reads Pharaoh files (`0-0 1-2`), one line for each line that the corpus was read from, also those left out.

    Links of a pair that has no words on a side are passed over, as those of lines that were left out are.

    Args:
        paths: the files, one the continuation of the other.
        corpus: the pairs that the links belong to.
        swapped: whether the corpus was read with its columns swapped; the links follow the columns of the file.

    Raises:
        DataError: a file cannot be read, a line is malformed or links a word that is not there, or the number of
            lines is not that of the corpus; names file and line.
    """
    digest = hashlib.sha256()
    alignments = WordAlignments()
    pairs = dict(zip(corpus.lines, corpus.pairs, strict=True))
    line = 0
    for line, (place, text) in enumerate(_read_all(paths), start=1):
        if line > corpus.line_count:
            raise DataError(f"{place}: is one too many: {corpus.name} has {corpus.line_count} {corpus.line_name}s")
        digest.update(text + b"\n")
        links = parse_links(place, text)
        if line in pairs:
            counts = [len(find_words(side)) for side in pairs[line]]
            alignments.links.append(check_links(place, links[:, ::-1] if swapped else links, counts))
    if line < corpus.line_count:
        name = " + ".join(str(path) for path in paths)
        raise DataError(
            f"{name}: line {line + 1} is missing: {corpus.name} has {corpus.line_count} {corpus.line_name}s; each "
            "needs a line of links, which may be empty"
        )
    alignments.sha256 = digest.hexdigest()
    return alignments


def _read_all(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        for number, line in enumerate(read_lines(path), start=1):
            yield f"{path}: line {number}", line


def parse_links(place: str, text: bytes) -> IntArray:
    """Reads one line of a Pharaoh file.

    Args:
        place: file and line, for the error.
        text: the line.

    Returns:
        int32 (links, 2), source word and target word.

    Raises:
        DataError: something in it is no link.
    """
    links = []
    for item in text.split():
        match = _LINK.fullmatch(item)
        if match is None:
            shown = item[:20].decode("utf-8", "replace")
            raise DataError(f"{place}: {shown!r} is no link; a link is SOURCE-TARGET, words counted from 0 (0-0 1-2)")
        links.append((int(match[1]), int(match[2])))
    return np.array(links, dtype=np.int32).reshape(-1, 2)


def check_links(
    place: str, links: IntArray, counts: Sequence[int], command: str = "interlinear-export words"
) -> IntArray:
    """Checks that links are between words that are there.

    Args:
        place: file and line, for the error.
        links: int32 (links, 2), source word and target word.
        counts: how many words the source and the target have.
        command: what writes the words that should have been aligned, for the error.

    Returns:
        The links; none of a pair that has no words on a side.

    Raises:
        DataError: a word is not there.
    """
    if not all(counts):
        return links[:0]
    for side, name in enumerate(("source", "target")):
        if len(links) and (highest := int(links[:, side].max())) >= counts[side]:
            raise DataError(
                f"{place}: links {name} word {highest}, but that side has {counts[side]} words; align the words that "
                f"`{command}` writes"
            )
    return links


def spread_links(links: IntArray, source_words: IntArray, target_words: IntArray) -> IntArray:
    """Spreads links between words over their subwords: every subword of the one with every subword of the other.

    Args:
        links: int32 (links, 2), source word and target word.
        source_words: int32 (source tokens,), the word of each token; -1 for none.
        target_words: int32 (target tokens,), likewise.

    Returns:
        int32 (token links, 2): target token and source token, each link once, ordered.
    """
    linked = np.zeros((int(target_words.max(initial=-1)) + 2, int(source_words.max(initial=-1)) + 2), dtype=np.bool_)
    # A word without a subword of its own cannot be linked; -1, no word, is the last row and column, and stays False.
    kept = links[(links[:, 1] < len(linked) - 1) & (links[:, 0] < linked.shape[1] - 1)]
    linked[kept[:, 1], kept[:, 0]] = True
    return np.argwhere(linked[target_words][:, source_words]).astype(np.int32)


def words_by_line(corpus: Corpus) -> Iterator[list[list[str]]]:
    """Yields the words of both sides of each line that the corpus was read from; none for lines that were left out."""
    pairs = dict(zip(corpus.lines, corpus.pairs, strict=True))
    for line in range(1, corpus.line_count + 1):
        yield [[word.text for word in find_words(side)] for side in pairs.get(line, ("", ""))]


def words_paths(directory: Path) -> list[Path]:
    """Where words are written: of the source, the target, and of both."""
    return [directory / name for name in (SOURCE_WORDS_FILE, TARGET_WORDS_FILE, PAIRS_FILE)]


def write_words(sides: Iterable[Sequence[Sequence[str]]], directory: Path) -> list[Path]:
    """Writes the words of each pair in lower case, separated by spaces, in the forms that aligners read.

    Args:
        sides: per line the words of the source and those of the target.
        directory: where to.

    Returns:
        The files: the source side, the target side, and both sides in each line with `|||` between them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = words_paths(directory)
    source_file, target_file, pairs_file = (path.open("w", encoding="utf-8", newline="\n") for path in paths)
    with source_file, target_file, pairs_file:
        for both in sides:
            source, target = (_join_words(side) for side in both)
            if not source or not target:
                source = target = LEFT_OUT
            source_file.write(f"{source}\n")
            target_file.write(f"{target}\n")
            pairs_file.write(f"{source} {SEPARATOR} {target}\n")
    return paths


def _join_words(words: Iterable[str]) -> str:
    """The words with a space between each two, normalised as for the model, none of them lost or split."""
    return " ".join("".join(normalize(word).text.split()).lower() or word for word in words)


def pharaoh_line(points: Iterable[Point]) -> str:
    """Writes links, ordered by source, then target."""
    return " ".join(f"{source}-{target}" for source, target in sorted(points)) + "\n"


def read_side_by_side(paths: Sequence[Path], doing: str) -> Iterator[list[set[Point]]]:
    """Yields the links of each line of all files.

    Raises:
        DataError: a file cannot be read, a line is malformed, or one file has more lines; names file and line.
    """
    lines = zip_longest(*map(read_lines, paths))
    for number, texts in enumerate(tqdm(lines, doing, unit=" lines"), start=1):
        longest = next(path for path, text in zip(paths, texts, strict=True) if text is not None)
        for path, text in zip(paths, texts, strict=True):
            if text is None:
                raise DataError(f"{path}: line {number} is missing: {longest} has more lines")
        yield [_read_points(path, number, text) for path, text in zip(paths, texts, strict=True)]


def _read_points(path: Path, number: int, text: bytes) -> set[Point]:
    return {(source, target) for source, target in parse_links(f"{path}: line {number}", text).tolist()}
