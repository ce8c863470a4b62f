"""Splits a corpus into dev, test and train by a rule, so that anyone can rebuild the same split from the same text.

A pair's part follows from a hash of its source sentence alone. The source sentence is folded before, so that spelling
variants ("I'm here!", "i m here") fall into one part.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from model_export.corpus_readers import SentencePair
from model_export.errors import DataError

Part: TypeAlias = Literal["train", "dev", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "dev", "test")

DEV_SHARE: Final = 0.02
TEST_SHARE: Final = 0.02
_HASH_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint parts of a corpus.

    No source sentence (folded) is in two parts, no target sentence (folded) of dev or test is in train, and none of
    test in dev. Dev and test have one pair per source sentence.
    """

    train: list[SentencePair]
    dev: list[SentencePair]
    test: list[SentencePair]

    def part(self, name: Part) -> list[SentencePair]:
        """Returns a part by its name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}[name]


def fold(text: str) -> str:
    """Reduces a sentence to its letters and digits: NFKC, case-folded, anything else a space, white space collapsed."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(character if character.isalnum() else " " for character in folded).split())


def assign_part(source: str) -> Part:
    """Returns the part of a source sentence.

    The first 8 hexadecimal digits of the SHA-256 of the folded sentence, as a fraction of 2^32, are below 0.02 for dev,
    below 0.04 for test.
    """
    digest = hashlib.sha256(fold(source).encode("utf-8")).hexdigest()
    fraction = int(digest[:_HASH_DIGITS], 16) / 16**_HASH_DIGITS
    if fraction < DEV_SHARE:
        return "dev"
    return "test" if fraction < DEV_SHARE + TEST_SHARE else "train"


def split_pairs(pairs: Iterable[SentencePair], excluded: Collection[str] = ()) -> Split:
    """Splits pairs; the order within a part is that of `pairs`, and a pair that comes twice is taken once.

    Args:
        pairs: source and target sentences.
        excluded: sentences of either side that must be in no part, such as those of a public test set.
    """
    excluded_folds = {fold(sentence) for sentence in excluded}
    parts: dict[Part, list[SentencePair]] = {part: [] for part in PARTS}
    for pair in dict.fromkeys(pairs):
        if excluded_folds and not excluded_folds.isdisjoint((fold(pair.source), fold(pair.target))):
            continue
        parts[assign_part(pair.source)].append(pair)
    test = _keep_one_per_source(parts["test"])
    dev = _keep_one_per_source(parts["dev"])
    held_out = {fold(pair.target) for pair in (*dev, *test)}
    test_targets = {fold(pair.target) for pair in test}
    return Split(
        train=[pair for pair in parts["train"] if fold(pair.target) not in held_out],
        dev=[pair for pair in dev if fold(pair.target) not in test_targets],
        test=test,
    )


def _keep_one_per_source(pairs: list[SentencePair]) -> list[SentencePair]:
    """Keeps, of the pairs with the same folded source, the first in sorted order."""
    kept: dict[str, SentencePair] = {}
    for pair in sorted(pairs):
        kept.setdefault(fold(pair.source), pair)
    chosen = set(kept.values())
    return [pair for pair in pairs if pair in chosen]


def part_paths(directory: Path, stem: str) -> dict[Part, Path]:
    """Where the parts are written."""
    return {part: directory / f"{stem}.{part}.tsv" for part in PARTS}


def write_split(split: Split, directory: Path, stem: str) -> dict[Part, Path]:
    """Writes `<stem>.<part>.tsv` per part; tabs and line breaks inside a sentence become spaces.

    Raises:
        DataError: a file cannot be written.
    """
    paths = part_paths(directory, stem)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for part, path in paths.items():
            lines = ("\t".join(re.sub(r"[\t\r\n]+", " ", side) for side in pair) + "\n" for pair in split.part(part))
            path.write_text("".join(lines), encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{directory}: cannot be written: {error.strerror}") from error
    return paths
