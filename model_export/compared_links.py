"""Links that another aligner found in the pairs of a gold file, to be judged beside a model's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from model_export.corpus_readers import read_lines
from model_export.errors import DataError
from model_export.gold_alignments import GoldSet, Point
from model_export.word_alignments import check_links, parse_links


@dataclass(frozen=True, slots=True)
class ComparedLinks:
    """Another aligner's links.

    Attributes:
        name: what it is called.
        file: name of the file that they were read from.
        links: of each pair of the gold set.
        sha256: of the file's content, hexadecimal.
    """

    name: str
    file: str
    links: tuple[frozenset[Point], ...]
    sha256: str

    @property
    def swapped(self) -> ComparedLinks:
        """The links for a gold set whose sides have changed places."""
        return replace(self, links=tuple(frozenset((target, source) for source, target in each) for each in self.links))


def read_compared_links(name: str, path: Path, gold: GoldSet) -> ComparedLinks:
    """Reads a Pharaoh file (`0-0 1-2`), one line for each pair of a gold set.

    Links of a pair that has no words on a side are passed over.

    Args:
        name: of the aligner.
        path: the file.
        gold: the pairs, their sides as in the gold file.

    Raises:
        DataError: the file cannot be read, a line is malformed or links a word that is not there, or the number of
            lines is not that of the pairs; names file and line.
    """
    lines = list(read_lines(path))
    expected = len(gold.pairs)
    if len(lines) < expected:
        raise DataError(
            f"{path}: line {len(lines) + 1} is missing: {gold.name} has {expected} pairs; each needs a line of links, "
            "which may be empty"
        )
    if len(lines) > expected:
        raise DataError(
            f"{path}: line {expected + 1} is one too many: {gold.name} has {expected} pairs; if these come last, "
            f"`tail -n {expected}` takes their lines"
        )
    links = []
    for number, (text, pair) in enumerate(zip(lines, gold.pairs, strict=True), start=1):
        place = f"{path}: line {number}"
        counts = pair.source_words, pair.target_words
        found = check_links(place, parse_links(place, text), counts, "interlinear-export words --gold")
        links.append(frozenset((source, target) for source, target in found.tolist()))
    digest = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    return ComparedLinks(name, path.name, tuple(links), digest)
