"""A tokenizer and decoders whose answers can be read off, and short ways to translate with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.alignment import AlignmentDetail
from service.bundle.tokenizer import DecodedText
from service.bundle.words import find_words
from service.domain import DecodingJob, DecodingOptions, Hypothesis, Mechanism, Token, TranslatedText
from service.errors import OverloadedError
from service.translator import Translator, TranslatorLimits

EOS, UNK = 2, 3
GREEDY = DecodingOptions(beam_size=1)
ONE_MECHANISM = (Mechanism("luong", normalized=True),)
WITH_ALIGNER = (Mechanism("bahdanau_aligner", normalized=True, row_offset=1), *ONE_MECHANISM)
TWO_MECHANISMS = (*ONE_MECHANISM, Mechanism("luong_monotonic", normalized=False))


class WordTokenizer:
    """One token per visible word; ids are given out as words turn up; `☃` is unknown, controls are no text."""

    eos_id, unk_id = EOS, UNK

    def __init__(self) -> None:
        self.pieces = ["<pad>", "<s>", "</s>", "<unk>"]

    def id_of(self, word: str) -> int:
        if word == "☃":
            return UNK
        if word not in self.pieces:
            self.pieces.append(word)
        return self.pieces.index(word)

    def encode(self, text: str) -> tuple[Token, ...]:
        words = [word for word in find_words(text) if word.text.isprintable()]
        return tuple(Token(self.id_of(word.text), word.text, word.start, word.end) for word in words)

    def find_piece(self, piece: str) -> int | None:
        return self.pieces.index(piece) if piece in self.pieces else None

    def piece(self, token_id: int) -> str:
        return self.pieces[token_id]

    def is_special(self, token_id: int) -> bool:
        return token_id < UNK

    def surface(self, token_id: int) -> str:
        return "" if self.is_special(token_id) else f" {self.pieces[token_id]}"

    def decode(self, ids: Sequence[int], replacements: Mapping[int, str] | None = None) -> DecodedText:
        words = {index: self.pieces[i] for index, i in enumerate(ids) if i != EOS} | dict(replacements or {})
        text = " ".join(words.values())
        tokens, start = [], 0
        for index, token_id in enumerate(ids):
            if token_id == EOS:
                tokens.append(Token(EOS, "</s>", len(text), len(text), special=True))
            else:
                tokens.append(Token(token_id, self.pieces[token_id], start, start + len(words[index])))
                start += len(words[index]) + 1
        return DecodedText(text, tuple(tokens))


class LetterTokenizer(WordTokenizer):
    """One token per letter of words in capitals, but for those it is told that it knows; else as a `WordTokenizer`."""

    def __init__(self, *known: str) -> None:
        super().__init__()
        self._known = known

    def encode(self, text: str) -> tuple[Token, ...]:
        return tuple(piece for token in super().encode(text) for piece in self._pieces(token))

    def _pieces(self, token: Token) -> list[Token]:
        if not token.text.isupper() or token.text in self._known:
            return [token]
        places = enumerate(token.text, start=token.start)
        return [Token(self.id_of(letter), letter, start, start + 1) for start, letter in places]


class RoomyDecoder:
    """Has room for any number of sentences."""

    def reserve(self, sentences: int) -> AbstractContextManager[None]:
        return nullcontext()


class FullDecoder:
    """Has no room for any."""

    def reserve(self, sentences: int) -> AbstractContextManager[None]:
        raise OverloadedError(f"no room for {sentences}")


class UnusedTokenizer:
    """Fails a test in which any text is taken apart."""

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"the tokenizer's {name} was asked for")


class EchoDecoder(RoomyDecoder):
    """Repeats the source word by word (as many hypotheses as asked for, each one token shorter), attending to it."""

    def __init__(self) -> None:
        self.calls: list[tuple[DecodingJob, ...]] = []

    async def decode(self, jobs: Sequence[DecodingJob]) -> list[tuple[Hypothesis, ...]]:
        self.calls.append(tuple(jobs))
        return [
            tuple(self.echo(job, k) for k in range(min(job.options.num_hypotheses, len(job.source_ids))))
            for job in jobs
        ]

    @staticmethod
    def echo(job: DecodingJob, dropped: int) -> Hypothesis:
        ids = (*job.prefix_ids, *job.source_ids[dropped:])
        length, limit = len(ids), job.options.max_decoding_length or 0
        attention = np.eye(len(job.source_ids), dtype=np.float32)[np.arange(length) % len(job.source_ids)]
        finished = length <= limit
        return hypothesis(ids[:limit], attention[:limit], log_prob=-1.0 * len(ids[:limit]), finished=finished)


class MirrorDecoder(EchoDecoder):
    """An `EchoDecoder` with a second mechanism, which attends to the sentence from its end and by half."""

    @staticmethod
    def echo(job: DecodingJob, dropped: int) -> Hypothesis:
        echoed = EchoDecoder.echo(job, dropped)
        return replace(echoed, other_attentions=(echoed.attention[:, ::-1] / 2,))


def hypothesis(
    ids: Sequence[int], attention: Any, log_prob: float = -1.0, score: float | None = None, finished: bool = True
) -> Hypothesis:
    token_log_probs = np.full(len(ids), log_prob / len(ids), np.float32)
    score = log_prob / len(ids) if score is None else score
    return Hypothesis(tuple(ids), token_log_probs, log_prob, score, np.asarray(attention, np.float32), finished)


class ScriptedDecoder(RoomyDecoder):
    """Answers the jobs with prepared hypotheses, in order."""

    def __init__(self, *answers: tuple[Hypothesis, ...]) -> None:
        self.answers = answers

    async def decode(self, jobs: Sequence[DecodingJob]) -> list[tuple[Hypothesis, ...]]:
        assert len(jobs) == len(self.answers)
        return list(self.answers)


def make_translator(
    decoder: Any,
    tokenizer: Any = None,
    max_source: int = 20,
    max_target: int = 60,
    mechanisms: tuple[Mechanism, ...] = ONE_MECHANISM,
    preferred_source: int | None = None,
) -> Translator:
    limits = TranslatorLimits(max_source, max_target, preferred_source)
    return Translator(tokenizer or WordTokenizer(), decoder, limits, mechanisms)


def translate(
    texts: Sequence[str],
    options: DecodingOptions = GREEDY,
    prefix: str | None = None,
    alignment: AlignmentDetail = "soft",
    decoder: Any = None,
    tokenizer: Any = None,
) -> list[TranslatedText]:
    translator = make_translator(decoder or EchoDecoder(), tokenizer)
    return asyncio.run(translator.translate(texts, options, prefix, alignment))


def translate_with(decoder: Any, text: str, alignment: AlignmentDetail = "soft") -> TranslatedText:
    [result] = translate([text], alignment=alignment, decoder=decoder)
    return result
