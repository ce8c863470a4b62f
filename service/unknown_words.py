"""What stands in a translation for words that the model does not know: the text in the source that they attend to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from service.alignment import word_of_each_token
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
       with unknown characters give way to that word, and so do the letters that go on with a word that has.

    Source: Luong et al. 2015, "Addressing the Rare Word Problem in Neural Machine Translation", arXiv:1410.8206; with
    attention in place of their aligner, as Jean et al. 2015, arXiv:1412.2007, section 4.2. The second rule is ours.

    Args:
        source: the source sentence, ranges beginning at 0.
        vocabulary: the model's.
        copies: whether the second rule holds.
    """

    def __init__(self, source: AnalysedText, vocabulary: Vocabulary, copies: bool = False) -> None:
        self._vocabulary = vocabulary
        self._words: list[int] = word_of_each_token(source.tokens, source.words).tolist()
        unk_id = vocabulary.unk_id
        self._texts = [_text_of(source, token, word, unk_id) for token, word in enumerate(self._words)]
        pairs = zip(source.tokens, self._words, strict=True)
        self._unknown = sorted({word for token, word in pairs if token.id == unk_id and word >= 0}) if copies else []
        self._copies: list[str] = [source.words[word].text for word in self._unknown]
        self._letter_before = False  # whether the text so far ends in one, or in a digit
        self._copied: int | None = None  # the source word that the token before gave way to
        self._spelled: int | None = None  # the source word that an unknown token before stands for, in part perhaps

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
        for index, token_id in enumerate(target_ids):
            surface = self._vocabulary.surface(token_id)
            text: str | None = None
            if token_id == self._vocabulary.unk_id:
                text = self._stand_for(attention[index])
            elif self._unknown and not self._vocabulary.is_special(token_id):
                text = self._give_way(surface, attention[index])
            if text is not None:
                found[index] = text
            if stands := surface if text is None else text:
                self._letter_before = stands[-1].isalnum()
        return found

    def _stand_for(self, row: FloatArray) -> str:
        """The text for an unknown token."""
        visible = [bool(text) for text in self._texts]
        token = int(np.where(visible, row, -1.0).argmax())
        self._copied, self._spelled = None, self._words[token]
        return self._texts[token]

    def _give_way(self, surface: str, row: FloatArray) -> str | None:
        """The text for a known token; None where it stays."""
        goes_on, word = surface[:1].isalnum(), self._attended(row)
        if self._copied is not None and (goes_on or word == self._copied):
            return ""
        self._copied = None
        if word is None or word == self._spelled:
            return None
        self._copied, self._spelled = word, None
        space = " " if surface.startswith(" ") or self._letter_before else ""
        return space + self._copies[self._unknown.index(word)]

    def _attended(self, row: FloatArray) -> int | None:
        """The source word with unknown characters that has most of a token's attention."""
        words = np.array(self._words)
        return next((word for word in self._unknown if float(row[words == word].sum()) > MAJORITY), None)


def _text_of(source: AnalysedText, index: int, word: int, unk_id: int) -> str:
    """The text of a source token if it is unknown, otherwise of its word; nothing for tokens outside of words."""
    token = source.tokens[index]
    if token.special:
        return ""
    if token.id == unk_id or word < 0:
        return source.text[token.start : token.end]
    return source.words[word].text
