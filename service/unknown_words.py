"""What stands in a translation for words that the model does not know: the text in the source that they attend to."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from service.alignment import word_of_each_token
from service.analysis import is_wide
from service.domain import AnalysedText, FloatArray

MAJORITY: Final = 0.5
"""Attention from which on a target token is taken to stand for a source word."""


class Vocabulary(Protocol):
    """What is asked of a tokenizer."""

    @property
    def unk_id(self) -> int: ...

    def is_special(self, token_id: int) -> bool:
        """Whether a token is no text."""
        ...

    def surface(self, token_id: int) -> str:
        """What a token adds to a text."""
        ...


class UnknownWords:
    """Finds replacements for the tokens of one target sentence, from its first to its last, in one go or several.

    1. An unknown token stands for characters that the model cannot write, mostly of a name. Where it attends to
       characters that are unknown in the source as well, it stands for just these, so that the rest of a word that is
       known in part is not written twice. Otherwise it stands for the whole word.
    2. Models whose vocabulary covers all characters of their training text have never met an unknown token there, and
       invent a word where the source has one. So, if asked, tokens that give most of their attention to a source word
       with unknown characters give way to that word, and so do letters behind it that belong nowhere else. Marks give
       way to marks only.

    Source: Luong et al. 2015, "Addressing the Rare Word Problem in Neural Machine Translation", arXiv:1410.8206; with
    attention in place of their aligner, as Jean et al. 2015, arXiv:1412.2007, section 4.2. The second rule is ours.

    Args:
        source: the source sentence, ranges beginning at 0.
        vocabulary: the model's.
        copies: whether the second rule holds.
    """

    def __init__(self, source: AnalysedText, vocabulary: Vocabulary, copies: bool = False) -> None:
        self._source = source
        self._vocabulary = vocabulary
        self._copies = copies
        self._ends_in_letter = False  # the text so far
        self._copied: int | None = None  # the source word that the token before gave way to
        self._spelled: int | None = None  # the source word that unknown tokens before stand for, in part perhaps

    @cached_property  # as all of these: most sentences hold nothing unknown
    def _words(self) -> list[int]:
        """The word of each source token."""
        words: list[int] = word_of_each_token(self._source.tokens, self._source.words).tolist()
        return words

    @cached_property
    def _texts(self) -> list[str]:
        """What an unknown token stands for that attends to each source token."""
        unk_id = self._vocabulary.unk_id
        return [_text_of(self._source, token, word, unk_id) for token, word in enumerate(self._words)]

    @cached_property
    def _unknown(self) -> set[int]:
        """The source words with unknown characters, if they are to be copied."""
        unk_id = self._vocabulary.unk_id
        if not self._copies or all(token.id != unk_id for token in self._source.tokens):
            return set()
        pairs = zip(self._source.tokens, self._words, strict=True)
        return {word for token, word in pairs if token.id == unk_id and word >= 0}

    @cached_property
    def _members(self) -> FloatArray:
        """(source tokens, source words) float32, 1 where a token is the word's."""
        words = np.arange(len(self._source.words))
        members: FloatArray = (np.array(self._words)[:, None] == words).astype(np.float32)
        return members

    def replace(self, target_ids: Sequence[int], attention: FloatArray) -> Mapping[int, str]:
        """Finds the replacements among the next tokens.

        Args:
            target_ids: tokens that search produced.
            attention: (target tokens, source tokens), theirs.

        Returns:
            By index of `target_ids` the text that is to stand there; no characters where the source has no visible
            token, or where the source word stands already.
        """
        if not self._unknown and self._vocabulary.unk_id not in target_ids:
            return {}
        found: dict[int, str] = {}
        attended = self._attended_words(attention)
        for index, token_id in enumerate(target_ids):
            surface = self._vocabulary.surface(token_id)
            text: str | None = None
            if token_id == self._vocabulary.unk_id:
                text = self._stand_for(attention[index])
            elif self._unknown and not self._vocabulary.is_special(token_id):
                text = self._give_way(surface, attended[index])
            if text is not None:
                found[index] = text
            if stands := surface if text is None else text:
                self._ends_in_letter = _joins_words(stands[-1])
        return found

    def _attended_words(self, attention: FloatArray) -> list[int | None]:
        """The source word that has most of each token's attention, if there is one."""
        if not self._unknown:
            return [None] * len(attention)
        weights = attention @ self._members
        best = weights.argmax(axis=1).tolist()
        return [word if row[word] > MAJORITY else None for word, row in zip(best, weights, strict=True)]

    def _stand_for(self, row: FloatArray) -> str:
        """The text for an unknown token."""
        visible = [bool(text) for text in self._texts]
        token = int(np.where(visible, row, -1.0).argmax())
        if self._copied is not None and self._words[token] == self._copied:
            return ""
        self._copied, self._spelled = None, self._words[token]
        return self._texts[token]

    def _give_way(self, surface: str, word: int | None) -> str | None:
        """The text for a known token that attends to a word; None where the token stays."""
        if word != self._spelled and word is not None:
            self._spelled = None
        is_space, has_letter = surface.isspace(), any(map(_is_letter, surface))
        if self._copied is not None:
            goes_on = word is None and _joins_words(surface[:1])
            if goes_on or (word == self._copied and (has_letter or is_space)):
                return ""
            if word != self._copied:
                self._copied = None
        if word is None or word not in self._unknown or word in (self._spelled, self._copied) or is_space:
            return None
        text = self._source.words[word].text
        if not has_letter and any(map(_is_letter, text)):
            return None
        self._copied = word
        return f" {text}" if surface.startswith(" ") or self._ends_in_letter else text


def _is_letter(character: str) -> bool:
    """Whether it is a letter, a digit or a combining mark."""
    return unicodedata.category(character)[0] in "LNM"


def _joins_words(character: str) -> bool:
    """Whether it makes one word of what stands on both sides; nothing does in scripts without spaces."""
    return character != "" and _is_letter(character) and not is_wide(character)


def _text_of(source: AnalysedText, index: int, word: int, unk_id: int) -> str:
    """The text of a source token if it is unknown, otherwise of its word; nothing for tokens outside of words."""
    token = source.tokens[index]
    if token.special:
        return ""
    if token.id == unk_id or word < 0:
        return source.text[token.start : token.end]
    return source.words[word].text
