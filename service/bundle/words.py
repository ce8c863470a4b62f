"""What a word is: one rule for every language, on which tokens, alignments and links all stand.

A word is a maximal run of letters, digits and combining marks; any other visible character is a word of its own, an
emoji sequence counting as one character. An English clitic begins, and a French elided word ends, at its apostrophe
(`do|n't`, `Tom|'s`, `l'|eau`, `jusqu'|ici`); any other apostrophe between letters stays inside (`aujourd'hui`,
`o'clock`). Scripts written without spaces give one word per run of the script. Invisible characters are looked
through: they separate nothing, and no word begins or ends with one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import regex

from service.domain import Word

APOSTROPHES: Final = "'\u2019\u2018\u201b\u02bc\u00b4\uff07"
"""Characters that people type for an apostrophe; normalisation makes them all the first."""

WHITE_SPACE: Final = r"[\s\x1c-\x1f]"
"""Unicode's White_Space and the four ASCII separators that `str.isspace` counts as well."""

_SYNTAX: Final = regex.VERSION1 | regex.IGNORECASE | regex.VERBOSE

# The halfwidth kana voicing marks are letters to Unicode but combine under NFKC.
_MARK: Final = r"[\p{M}\uff9e\uff9f]"
_SPACELESS_SCRIPTS: Final = (
    r"\p{Han}",
    r"\p{Hiragana}\p{Katakana}\u30fc",
    r"\p{Thai}",
    r"\p{Lao}",
    r"\p{Khmer}",
    r"\p{Myanmar}",
)

_PICTOGRAPH: Final = rf"\p{{Extended_Pictographic}}(?:{_MARK}|\p{{Emoji_Modifier}})*"
_EMOJI: Final = rf"(?:\p{{Regional_Indicator}}{{2}}|{_PICTOGRAPH}(?:\u200d{_PICTOGRAPH})*[\U000e0020-\U000e007f]*)"

# Controls and format characters, but for white space and the few format characters that are drawn (U+0600 ...).
_INVISIBLE: Final = rf"[[\p{{Cc}}\p{{Cf}}]--{WHITE_SPACE}--[\u0600-\u0605\u06dd\u0890\u0891\u08e2\U000110bd\U000110cd]]"

INVISIBLE_PATTERN: Final = regex.compile(rf"{_EMOJI}(*SKIP)(*FAIL)|{_INVISIBLE}", _SYNTAX)
"""One invisible character; joiners and tags inside an emoji sequence are part of it and do not match."""


def _word_pattern() -> str:
    apostrophe = f"[{APOSTROPHES}]"
    letter = rf"[[[\p{{L}}\p{{N}}]--[{''.join(_SPACELESS_SCRIPTS)}]--{apostrophe}]{_MARK}]"
    clitics = "(?:s|m|d|re|ve|ll)"
    # A clitic ends its word, unless another one follows it ("shouldn't've").
    end = rf"(?!{letter}) (?: (?! {apostrophe}{letter} ) | (?= {apostrophe}{clitics}(?!{letter}) ) )"
    negation = rf"n{apostrophe}t {end}"
    elided = rf"(?:[cçdjlmnst]|(?:jus|lors|puis|quoi)?qu){apostrophe}"
    alternatives = (
        *(rf"(?:[[{script}]&&[\p{{L}}\p{{N}}\p{{M}}]]{_MARK}*)+" for script in _SPACELESS_SCRIPTS),
        # "l'eau", but not the English "L's" or "n't"
        rf'{elided} (?=[{letter}"«“]) (?! (?:{clitics}|t) {end} )',
        # the detached "l' eau" of tokenised text, but not a quoted 'l'
        rf"(?<!{apostrophe}) {elided} $",
        negation,
        rf"(?<={letter}) {apostrophe}{clitics} {end}",
        rf"{letter} (?: (?!{negation}){letter} | {apostrophe}(?!{clitics} {end})(?={letter}) )*",
        _EMOJI,
        rf"[^\s\x1c-\x1f]{_MARK}*",
    )
    return "|".join(alternatives)


_WORD_PATTERN: Final = regex.compile(_word_pattern(), _SYNTAX)
_NON_SPACE_PATTERN: Final = re.compile(r"\S+")  # to `re`, the separators of `WHITE_SPACE` are white space as well
_CACHED_STRETCHES: Final = 1 << 16
_MAX_CACHED_LENGTH: Final = 64


def find_words(text: str) -> list[Word]:
    """Splits a text into words.

    Args:
        text: any text, as the caller gave it or normalised.

    Returns:
        The words in order, with ranges in code points of `text`; they do not overlap and hold no white space.
    """
    return [Word(text[start:end], start, end) for start, end in find_word_ranges(text)]


def find_word_ranges(text: str) -> list[tuple[int, int]]:
    """The ranges of the words that `find_words` gives."""
    ranges: list[tuple[int, int]] = []
    for match in _NON_SPACE_PATTERN.finditer(text):
        stretch, offset = match[0], match.start()
        found = _find_cached(stretch) if len(stretch) <= _MAX_CACHED_LENGTH else _find_in_stretch(stretch)
        ranges += [(offset + start, offset + end) for start, end in found]
    return ranges


def _find_in_stretch(stretch: str) -> tuple[tuple[int, int], ...]:
    """Returns the words' ranges in a stretch of text without white space; what is beside it never matters."""
    invisible = {match.start() for match in INVISIBLE_PATTERN.finditer(stretch)}
    if not invisible:
        return tuple(match.span() for match in _WORD_PATTERN.finditer(stretch))
    positions = [position for position in range(len(stretch)) if position not in invisible]
    visible = "".join(stretch[position] for position in positions)
    spans = (match.span() for match in _WORD_PATTERN.finditer(visible))
    return tuple((positions[start], positions[end - 1] + 1) for start, end in spans)


_find_cached = lru_cache(maxsize=_CACHED_STRETCHES)(_find_in_stretch)
