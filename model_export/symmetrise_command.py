"""`interlinear-export symmetrise` and `vote`: the links of several Pharaoh files, put together line by line."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from tqdm import tqdm

from model_export.corpus_readers import read_lines
from model_export.errors import ConfigError, DataError
from model_export.staged_file import staged_file
from model_export.word_alignments import parse_links
from service.symmetrisation import Point, symmetrise_points


def run_symmetrise(arguments: Namespace) -> None:
    """Writes the file, whole or not at all, and prints how many links there were and are."""
    forward_links = reverse_links = links = lines = 0
    with staged_file(arguments.output, encoding="ascii") as file:
        for forward, reverse in _read_side_by_side([arguments.forward, arguments.reverse], "symmetrising"):
            points = symmetrise_points(forward, reverse, arguments.method)
            file.write(_pharaoh(points))
            forward_links += len(forward)
            reverse_links += len(reverse)
            links += len(points)
            lines += 1
    print(f"{forward_links:,} forward and {reverse_links:,} reverse links make {links:,} ({arguments.method})")
    print(f"wrote {lines:,} lines to {arguments.output}")


def run_vote(arguments: Namespace) -> None:
    """Writes the file of the links that enough others have, whole or not at all, and prints how many there are.

    Raises:
        ConfigError: more votes are asked for than there are files, or none.
    """
    files: list[Path] = arguments.input
    if not 1 <= arguments.least <= len(files):
        raise ConfigError(f"--least: must be from 1 to the number of files of --input, {len(files)}")
    links = lines = 0
    with staged_file(arguments.output, encoding="ascii") as file:
        for voters in _read_side_by_side(files, "counting votes"):
            votes = Counter(point for voter in voters for point in voter)
            points = [point for point, count in votes.items() if count >= arguments.least]
            file.write(_pharaoh(points))
            links += len(points)
            lines += 1
    print(f"{links:,} links stand in at least {arguments.least} of {len(files)} files")
    print(f"wrote {lines:,} lines to {arguments.output}")


def _pharaoh(points: Iterable[Point]) -> str:
    return " ".join(f"{source}-{target}" for source, target in sorted(points)) + "\n"


def _read_side_by_side(paths: Sequence[Path], doing: str) -> Iterator[list[set[Point]]]:
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
        yield [_read_line(path, number, text) for path, text in zip(paths, texts, strict=True)]


def _read_line(path: Path, number: int, text: bytes) -> set[Point]:
    return {(source, target) for source, target in parse_links(f"{path}: line {number}", text).tolist()}
