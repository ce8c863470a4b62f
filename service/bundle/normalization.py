"""Text normalisation, in the one place that training and serving share.

Unicode NFKC; typographic apostrophes, quotes and hyphens become the ASCII ones; every run of white space becomes one
space, the ends are trimmed; invisible characters go, and so do marks beyond the 31st on one letter. Kept out of NFKC
are emoji (`™` stays one symbol) and the characters that NFKC would turn into a space with a mark. Each normalised
character knows where it came from.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex

from service.bundle.words import APOSTROPHES, INVISIBLE_PATTERN, WHITE_SPACE

NORMALIZATION: Final = "interlinear-1"
"""Version of these rules; a bundle records the one that its model was trained with."""

_REPLACEMENTS: Final = str.maketrans(
    {
        **dict.fromkeys(APOSTROPHES + "\u201a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        "\u2010": "-",  # U+2011, the non-breaking hyphen, arrives here by NFKC
        "\u2581": "_",  # SentencePiece's own sign for a space
    }
)
_WHITE_SPACE_PATTERN: Final = regex.compile(WHITE_SPACE)
_PICTOGRAPH_PATTERN: Final = regex.compile(r"\p{Extended_Pictographic}")
_NORMAL_PATTERN: Final = re.compile("(?:[!-~À-ÿ]++(?: [!-~À-ÿ]++)*+)?")
"""The frequent case: Latin-1 text that the rules leave as it is."""

_MAX_CLUSTER_LENGTH: Final = 32
"""A base and its marks, as many as are kept: Unicode Annex 15, section 13, finds 30 marks enough for any language, and
sorting marks takes time that grows with the square of their number."""

# Unicode 15, section 3.12: the Hangul jamo that NFKC composes to syllables.
_LEADING_JAMO: Final = frozenset(map(chr, range(0x1100, 0x1113)))
_VOWEL_JAMO: Final = frozenset(map(chr, range(0x1161, 0x1176)))
_TRAILING_JAMO: Final = frozenset(map(chr, range(0x11A8, 0x11C3)))


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """A normalised text and, for each of its code points, the half-open range of the original that it stands for.

    Attributes:
        text: the normalised text.
        starts: (len(text),) starts in code points of the original, non-decreasing.
        ends: (len(text),) ends, non-decreasing; what one character expands to shares that character's range.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def normalize(text: str) -> NormalizedText:
    """Normalises a text; a normalised text comes back unchanged.

    Args:
        text: any Unicode text without lone surrogates.
    """
    if _NORMAL_PATTERN.fullmatch(text):
        return NormalizedText(text, tuple(range(len(text))), tuple(range(1, len(text) + 1)))
    characters: list[str] = []
    ranges: list[tuple[int, int]] = []
    for positions in _clusters(text):
        cluster = "".join(text[position] for position in positions)
        normalized = _normalize_cluster(cluster[:_MAX_CLUSTER_LENGTH])
        if normalized == " ":
            if characters and characters[-1] != " ":
                characters.append(" ")
                ranges.append((positions[0], positions[0] + 1))
            continue
        characters.extend(normalized)
        if normalized == cluster:
            ranges.extend((position, position + 1) for position in positions)
        else:
            ranges.extend([(positions[0], positions[-1] + 1)] * len(normalized))
    if characters and characters[-1] == " ":
        del characters[-1], ranges[-1]
    return NormalizedText(
        "".join(characters).translate(_REPLACEMENTS),
        tuple(start for start, _ in ranges),
        tuple(end for _, end in ranges),
    )


def _clusters(text: str) -> Iterator[list[int]]:
    """Yields the positions of visible characters, grouped so that NFKC never acts across two groups."""
    invisible = {match.start() for match in INVISIBLE_PATTERN.finditer(text)}
    cluster: list[int] = []
    for position, character in enumerate(text):
        if position in invisible:
            continue
        if cluster and not _joins(text[cluster[-1]], character):
            yield cluster
            cluster = []
        cluster.append(position)
    if cluster:
        yield cluster


def _joins(previous: str, character: str) -> bool:
    """Tells whether NFKC may compose `character` with, or reorder it against, what precedes it."""
    if character < "\u0300" or _WHITE_SPACE_PATTERN.match(previous):
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    if unicodedata.combining(first) or unicodedata.category(character).startswith("M"):
        return True
    last = unicodedata.normalize("NFKD", previous)[-1]
    return (first in _VOWEL_JAMO and last in _LEADING_JAMO) or (first in _TRAILING_JAMO and last in _VOWEL_JAMO)


@lru_cache(maxsize=4096)
def _normalize_cluster(cluster: str) -> str:
    """Applies NFKC to one cluster, except to a first character that has to stay."""
    first, rest = cluster[0], cluster[1:]
    if _WHITE_SPACE_PATTERN.match(first):
        return " "
    if _PICTOGRAPH_PATTERN.match(first) or " " in unicodedata.normalize("NFKC", first):
        normalized = first + unicodedata.normalize("NFKC", rest)
    else:
        normalized = unicodedata.normalize("NFKC", first + rest)
    return normalized[:_MAX_CLUSTER_LENGTH]  # a mark may have become two
