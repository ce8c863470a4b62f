"""Translation as it comes: tokens with the engine's steps, sentences as they are done, the whole answer at the end.

What is given out stays: tokens in the order in which they stand in the best hypothesis of their sentence, each when
neither it nor its characters can change any more. What search tells of before a sentence's end is that already, except
that a space waits for the visible character after it, because a text ends without one. The tokens that are left come
with the sentence's end; all of them where several samples are drawn, of which the best is known only then, and in the
search of TensorFlow Addons, which reads its tokens back from the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeAlias

from service.alignment import choose_rows
from service.analysis import join_sentences
from service.bundle.tokenizer import GrowingText
from service.capitals import to_capitals
from service.decoding.lane import Hypotheses
from service.decoding.progress import Progress
from service.domain import (
    Alternative,
    AnalysedText,
    DecodingJob,
    DecodingOptions,
    FloatArray,
    SettledTokens,
    Token,
    TranslatedText,
)
from service.row_chooser import RowChooser
from service.threads import run_aside
from service.translator import Decoder, Source, Translator, count_texts
from service.unknown_words import UnknownWords
from service.whole_text import Decoded, Wanted


@dataclass(frozen=True, slots=True)
class SourceRead:
    """A source text, before anything is known of its translation."""

    text_index: int
    source: AnalysedText


@dataclass(frozen=True, slots=True)
class TokenProduced:
    """A token of a sentence's best hypothesis.

    Attributes:
        text_index: of its text.
        sentence_index: of its sentence in the text.
        token_index: its own in the sentence.
        token: itself; ranges begin at 0 in the sentence's translation.
        added: the characters that it adds to the sentence's translation, the space before it included.
        log_prob: natural.
        attentions: float32 (source_len,) of each mechanism, the primary first; none unless rows are asked for.
        alternatives: what else the model held likely, if it is asked for.
    """

    text_index: int
    sentence_index: int
    token_index: int
    token: Token
    added: str
    log_prob: float
    attentions: tuple[FloatArray, ...]
    alternatives: tuple[Alternative, ...] | None


@dataclass(frozen=True, slots=True)
class SentenceDone:
    """A sentence that is done, as though it were the whole text."""

    text_index: int
    sentence_index: int
    translated: TranslatedText


@dataclass(frozen=True, slots=True)
class AllDone:
    """What `Translator.translate` returns."""

    translated: list[TranslatedText]


EVERY_ALIGNMENT = Wanted()

StreamEvent: TypeAlias = SourceRead | TokenProduced | SentenceDone | AllDone


async def stream_translation(
    translator: Translator,
    texts: Sequence[str],
    options: DecodingOptions,
    target_prefix: str | None = None,
    wanted: Wanted = EVERY_ALIGNMENT,
) -> AsyncGenerator[list[StreamEvent], None]:
    """Translates every text; arguments and errors are those of `Translator.translate`, whose last two `wanted` holds.

    Closing the iterator gives up what is not done; its rows are free at the engine's next step. A reader that is slow
    keeps nobody waiting: what it has not read yet is kept, at most as much as the whole answer holds.

    Yields:
        What is new, whenever something is. The first time, when decoding has begun: every source text.
    """
    wanted = replace(wanted, copied_unknowns=options.replace_unknowns and not target_prefix)
    length = sum(map(len, texts)) + len(target_prefix or "")
    with translator.decoder.reserve(count_texts(texts)):
        sources, jobs = await run_aside(length, lambda: translator.prepare(texts, options, target_prefix))
    sentences = [
        _GrowingSentence(translator, (text_index, sentence_index), sentence, wanted)
        for text_index, source in enumerate(sources)
        for sentence_index, sentence in enumerate(source.sentences)
    ]
    events: list[StreamEvent] = [
        SourceRead(index, join_sentences(source.sentences, source.separators)) for index, source in enumerate(sources)
    ]
    async with aclosing(_progress(translator.decoder, jobs)) as progress:
        async for news in progress:
            for each in news:
                events += await sentences[each.index].advance(each)
            if events:
                yield events
                events = []
    decoded = iter(sentences)
    whole = await run_aside(
        length * options.num_hypotheses,
        lambda: [
            translator.put_together(source, [next(decoded).decoded for _ in source.sentences], wanted)
            for source in sources
        ],
    )
    yield [*events, AllDone(whole)]


async def _progress(decoder: Decoder, jobs: Sequence[DecodingJob]) -> AsyncGenerator[Sequence[Progress], None]:
    """What is new of the jobs, every result once among it; raises what the decoder raises."""
    if not jobs:
        return
    news: asyncio.Queue[Sequence[Progress] | None] = asyncio.Queue()  # as large as the jobs' results can be
    decoding = asyncio.ensure_future(decoder.decode(jobs, news.put_nowait))
    decoding.add_done_callback(lambda _: news.put_nowait(None))
    told: set[int] = set()
    try:
        while (some := await news.get()) is not None:
            told.update(each.index for each in some if each.hypotheses is not None)
            yield some
        results = enumerate(await decoding)
        yield [Progress(index, hypotheses=result) for index, result in results if index not in told]
    finally:
        decoding.cancel()
        await asyncio.gather(decoding, return_exceptions=True)


class _GrowingSentence:
    """A sentence under way: which of its tokens were given out, and which wait for what follows them.

    Args:
        translator: whose it is.
        place: indices of its text and of itself in it.
        source: the source sentence, ranges beginning at 0.
        wanted: what the answer is to hold.
    """

    def __init__(self, translator: Translator, place: tuple[int, int], source: AnalysedText, wanted: Wanted) -> None:
        self.decoded: list[Decoded] = []
        self._translator = translator
        self._place = place
        self._source = source
        self._wanted = wanted
        self._text = GrowingText()
        self._rows = RowChooser(translator.mechanisms)
        self._unknown = UnknownWords(source, translator.tokenizer, wanted.copied_unknowns)
        self._waiting: list[_Waiting] = []
        self._given = 0  # tokens that were given out
        self._covered = 0  # characters that these have added

    async def advance(self, progress: Progress) -> list[StreamEvent]:
        """What can be given out now."""
        if progress.tokens is not None:
            return self._add(self._rows.choose(progress.tokens))
        if progress.hypotheses is not None:
            return await self._end(progress.hypotheses)
        return []

    def _add(self, tokens: SettledTokens) -> list[StreamEvent]:
        tokenizer = self._translator.tokenizer
        replacements = self._unknown.replace(tokens.target_ids, tokens.attentions[0])
        rows = _Rows(tokens.token_log_probs, tokens.attentions, self._translator.alternatives(tokens.alternatives))
        for index, token_id in enumerate(tokens.target_ids):
            surface = replacements.get(index, tokenizer.surface(token_id))
            start, end = self._text.add(to_capitals(surface) if self._source.in_capitals else surface)
            token = Token(token_id, tokenizer.piece(token_id), start, end, tokenizer.is_special(token_id))
            self._waiting.append(_Waiting(token, index, rows))
        return list(self._release())

    def _release(self) -> Iterator[TokenProduced]:
        """Gives out the tokens that wait, up to one that must go on waiting."""
        while self._waiting:
            first = self._waiting[0]
            token = first.token
            if token.special or token.end > self._text.settled_length:  # its range depends on the text's end
                return
            del self._waiting[0]
            yield self._produced(token, self._text.characters(self._covered, token.end), first.index, first.rows)

    async def _end(self, hypotheses: Hypotheses) -> list[StreamEvent]:
        """Gives out the tokens that are left, and the sentence."""
        translator, wanted = self._translator, self._wanted
        alone = Source("text", [self._source], ["", ""])
        self.decoded, translated = await run_aside(
            len(self._source.text) * len(hypotheses),
            lambda: (
                decoded := translator.read(self._source, hypotheses, wanted),
                translator.put_together(alone, [decoded], wanted),
            ),
        )
        best, target = hypotheses[0], self.decoded[0].target
        attentions = choose_rows((best.attention, *best.other_attentions), translator.mechanisms)
        rows = _Rows(best.token_log_probs, attentions, translator.alternatives(best.alternatives))
        left = enumerate(target.tokens[self._given :], start=self._given)
        events: list[StreamEvent] = [
            self._produced(token, target.text[self._covered : token.end], index, rows) for index, token in left
        ]
        return [*events, SentenceDone(*self._place, translated)]

    def _produced(self, token: Token, added: str, index: int, rows: _Rows) -> TokenProduced:
        """The next token; `index` is its own in `rows`."""
        produced = TokenProduced(
            *self._place,
            token_index=self._given,
            token=token,
            added=added,
            log_prob=float(rows.log_probs[index]),
            attentions=tuple(each[index] for each in rows.attentions) if self._wanted.alignment == "soft" else (),
            alternatives=rows.alternatives[index] if rows.alternatives else None,
        )
        self._given += 1
        self._covered = max(self._covered, token.end)
        return produced


@dataclass(frozen=True, slots=True)
class _Rows:
    """What belongs to tokens besides themselves: log-probabilities, each mechanism's attention, alternatives."""

    log_probs: FloatArray  # (tokens,)
    attentions: tuple[FloatArray, ...]  # (tokens, source_len) each
    alternatives: list[tuple[Alternative, ...]]  # one for each token, or none at all


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A token that has not been given out; `index` is its own in `rows`."""

    token: Token
    index: int
    rows: _Rows
