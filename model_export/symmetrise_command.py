"""`interlinear-export symmetrise`: the links of both directions of a word aligner, put together line by line."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tqdm import tqdm

from model_export.corpus_readers import read_lines
from model_export.errors import DataError
from model_export.staged_file import staged_file
from model_export.word_alignments import parse_links
from service.symmetrisation import Point, symmetrise_points


def run_symmetrise(arguments: Namespace) -> None:
    """Writes the file, whole or not at all, and prints how many links there were and are."""
    forward_links = reverse_links = links = lines = 0
    with staged_file(arguments.output, encoding="ascii") as file:
        for forward, reverse in _read_both(arguments.forward, arguments.reverse):
            points = symmetrise_points(forward, reverse, arguments.method)
            file.write(" ".join(f"{source}-{target}" for source, target in sorted(points)) + "\n")
            forward_links += len(forward)
            reverse_links += len(reverse)
            links += len(points)
            lines += 1
    print(f"{forward_links:,} forward and {reverse_links:,} reverse links make {links:,} ({arguments.method})")
    print(f"wrote {lines:,} lines to {arguments.output}")


def _read_both(forward: Path, reverse: Path) -> Iterator[tuple[set[Point], set[Point]]]:
    """Yields the links of each line of both files.

    Raises:
        DataError: a file cannot be read, a line is malformed, or one file has more lines; names file and line.
    """
    lines = zip_longest(read_lines(forward), read_lines(reverse))
    for number, sides in enumerate(tqdm(lines, "symmetrising", unit=" lines"), start=1):
        for path, line, other in zip((forward, reverse), sides, (reverse, forward), strict=True):
            if line is None:
                raise DataError(f"{path}: line {number} is missing: {other} has more lines")
        yield _read_line(forward, number, sides[0]), _read_line(reverse, number, sides[1])


def _read_line(path: Path, number: int, text: bytes) -> set[Point]:
    return {(source, target) for source, target in parse_links(f"{path}: line {number}", text).tolist()}
