"""Subwords with character ranges: a SentencePiece model applied word by word.

The text is normalised, cut into words, and every word is encoded by itself, together with the space before it if
there is one. So no subword can cross a word boundary, and how a word is cut does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

import sentencepiece

from service.bundle.normalization import NormalizedText, normalize
from service.bundle.words import find_word_ranges
from service.domain import Token
from service.errors import BundleError

SPACE_SIGN: Final = "\u2581"
"""SentencePiece's sign for a space inside a piece."""

_PROBE: Final = "\u00bd  x"
"""Text that a SentencePiece model with normalisation of its own would change."""

_UNKNOWN_SURFACE: Final = "\ufffd"
_CACHED_CHUNKS: Final = 1 << 16
_MAX_CACHED_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Target text made from ids: plain spaces, none at the ends; tokens have ranges in `text`."""

    text: str
    tokens: tuple[Token, ...]


class _Piece(NamedTuple):
    """A subword of a chunk, with its range in the chunk, which leaves out the space that it begins with."""

    id: int
    text: str
    start: int
    end: int


class GrowingText:
    """A text to which one token after the other is added; spaces at its start and repeated ones are left out."""

    def __init__(self) -> None:
        self._characters: list[str] = []

    def add(self, surface: str) -> tuple[int, int]:
        """Adds what a token stands for.

        Returns:
            The token's range, without the space that it begins with. It holds if visible characters follow; at the end
            of the text, where spaces go, it is cut to what remains.
        """
        characters = self._characters
        start = len(characters)
        while "  " in surface:
            surface = surface.replace("  ", " ")
        spaced = surface.startswith(" ")
        if spaced and (not characters or characters[-1] == " "):
            surface, spaced = surface[1:], False
        characters += surface
        return start + spaced, len(characters)

    @property
    def text(self) -> str:
        """The text so far, without a space at its end."""
        return "".join(self._characters).rstrip(" ")

    @property
    def settled_length(self) -> int:
        """How many characters stay, whatever follows: all but a space at the end."""
        return len(self._characters) - (self._characters[-1:] == [" "])

    def characters(self, start: int, end: int) -> str:
        """The characters from index `start` to before `end`."""
        return "".join(self._characters[start:end])


def split_into_chunks(text: str) -> tuple[NormalizedText, list[tuple[int, int]]]:
    """Cuts a text into what is encoded at a time: one word with the space before it.

    A chunk ends wherever the original text or its normalised form has a word boundary.

    Args:
        text: any text without lone surrogates.

    Returns:
        The normalised text, and the chunks' half-open ranges in it; they cover it without gaps.
    """
    normalized = normalize(text)
    starts = {start for start, _ in find_word_ranges(normalized.text)}
    if normalized.text != text:
        original_starts = {start for start, _ in find_word_ranges(text)}
        starts.update(
            position
            for position, original in enumerate(normalized.starts)
            if original in original_starts and (position == 0 or normalized.starts[position - 1] != original)
        )
    cuts = [start - 1 if normalized.text[start - 1 : start] == " " else start for start in sorted(starts)]
    if not cuts:
        return normalized, []
    return normalized, list(zip(cuts, [*cuts[1:], len(normalized.text)], strict=True))


def prepare_chunks(text: str) -> list[str]:
    """Returns the chunks of a text as strings; a word that starts the text has a space before it, too."""
    normalized, ranges = split_into_chunks(text)
    return [_with_space(normalized.text, start, end) for start, end in ranges]


def _with_space(text: str, start: int, end: int) -> str:
    return " " + text[start:end] if start == 0 else text[start:end]


class Tokenizer:
    """Text to subword ids and back, with ranges in code points of the text."""

    def __init__(self, processor: sentencepiece.SentencePieceProcessor) -> None:
        self._processor = processor
        self._pieces: tuple[str, ...] = tuple(processor.id_to_piece(list(range(processor.get_piece_size()))))
        self.pad_id: int = processor.pad_id()
        self.bos_id: int = processor.bos_id()
        self.eos_id: int = processor.eos_id()
        self.unk_id: int = processor.unk_id()
        self._special_ids = frozenset((self.pad_id, self.bos_id, self.eos_id))
        self._ids: dict[str, int] = {piece: token_id for token_id, piece in enumerate(self._pieces)}
        self._surfaces = tuple(self._surface(token_id) for token_id in range(len(self._pieces)))
        self._encode_cached = lru_cache(maxsize=_CACHED_CHUNKS)(self._encode_uncached)

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Loads a SentencePiece model.

        Raises:
            BundleError: the file cannot be read, is no SentencePiece model, or is one that normalises text itself.
        """
        try:
            model = path.read_bytes()
        except OSError as error:
            raise BundleError(path.name, "tokenizer", f"cannot be read: {error.strerror}") from error
        return cls.from_bytes(model, path.name)

    @classmethod
    def from_bytes(cls, model: bytes, name: str = "tokenizer.model") -> Tokenizer:
        """Loads a SentencePiece model from memory; `name` is what errors call it.

        Raises:
            BundleError: as `from_file`.
        """
        processor = sentencepiece.SentencePieceProcessor()
        try:
            loaded = bool(model) and processor.load_from_serialized_proto(model)
        except RuntimeError:
            loaded = False
        if not loaded:
            raise BundleError(name, "tokenizer", "is no SentencePiece model")
        if "".join(processor.encode(_PROBE, out_type=str)) != _PROBE.replace(" ", SPACE_SIGN):
            raise BundleError(name, "tokenizer", "changes text by itself; train it with `interlinear-export`")
        return cls(processor)

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are, special tokens included."""
        return len(self._pieces)

    def find_piece(self, piece: str) -> int | None:
        """The id of a token by its piece, as `Token.text` has it; None if there is no such token."""
        return self._ids.get(piece)

    def piece(self, token_id: int) -> str:
        """The piece of a token."""
        return self._pieces[token_id]

    def is_special(self, token_id: int) -> bool:
        """Whether a token contributes no text."""
        return token_id in self._special_ids

    def encode(self, text: str) -> tuple[Token, ...]:
        """Encodes a text; no special tokens are added.

        Returns:
            The tokens in order, with ranges in `text` that leave leading white space out. A token that stands for a
            space alone has an empty range where the next word starts.
        """
        normalized, chunks = split_into_chunks(text)
        starts, ends = normalized.starts, normalized.ends
        tokens: list[Token] = []
        for chunk_start, chunk_end in chunks:
            offset = -1 if chunk_start == 0 else chunk_start  # the first chunk's space is not in the text
            for piece in self._encode_chunk(_with_space(normalized.text, chunk_start, chunk_end)):
                start = starts[offset + piece.start]
                end = ends[offset + piece.end - 1] if piece.start < piece.end else start
                tokens.append(Token(piece.id, piece.text, start, end))
        return tuple(tokens)

    def encode_ids(self, text: str) -> list[int]:
        """Encodes a text to the ids that `encode` gives."""
        return [piece.id for chunk in prepare_chunks(text) for piece in self._encode_chunk(chunk)]

    def decode(self, ids: Sequence[int], replacements: Mapping[int, str] | None = None) -> DecodedText:
        """Joins subwords to a text.

        Args:
            ids: (target_len,), each in [0, vocabulary_size); special tokens contribute no text.
            replacements: text that stands for the token at an index of `ids`, in place of its own.

        Returns:
            The text and one token per id; special tokens have an empty range at the text's end.
        """
        surfaces = [self._surfaces[token_id] for token_id in ids]
        for index, replacement in (replacements or {}).items():
            surfaces[index] = replacement
        growing = GrowingText()
        ranges = [growing.add(surface) for surface in surfaces]
        text = growing.text
        text_end = len(text)
        tokens: list[Token] = []
        for token_id, (start, end) in zip(ids, ranges, strict=True):
            special = token_id in self._special_ids
            if special:
                start = end = text_end
            elif end > text_end:
                start, end = min(start, text_end), text_end
            tokens.append(Token(token_id, self._pieces[token_id], start, end, special))
        return DecodedText(text, tuple(tokens))

    def surface(self, token_id: int) -> str:
        """What a token adds to a text (see `GrowingText`); special tokens add nothing."""
        return self._surfaces[token_id]

    def _surface(self, token_id: int) -> str:
        if token_id in self._special_ids:
            return ""
        return _UNKNOWN_SURFACE if token_id == self.unk_id else self._pieces[token_id].replace(SPACE_SIGN, " ")

    def _encode_chunk(self, chunk: str) -> tuple[_Piece, ...]:
        return self._encode_cached(chunk) if len(chunk) <= _MAX_CACHED_LENGTH else self._encode_uncached(chunk)

    def _encode_uncached(self, chunk: str) -> tuple[_Piece, ...]:
        """Encodes one chunk to pieces that together are as long as the chunk."""
        ids = self._processor.encode(chunk, out_type=int)
        texts = self._processor.encode(chunk, out_type=str)
        ends = accumulate(map(len, texts))
        return tuple(
            _Piece(token_id, text, end - len(text.removeprefix(SPACE_SIGN)), end)
            for token_id, text, end in zip(ids, texts, ends, strict=True)
        )
