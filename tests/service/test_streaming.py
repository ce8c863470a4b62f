"""Tokens that are given out while a sentence grows are, one by one, those of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.decoding.progress import Listener, Progress
from service.domain import DecodingJob, DecodingOptions, Hypothesis, SettledTokens
from service.engine.engine import Engine
from service.errors import DecodingError, OverloadedError
from service.streaming import AllDone, SentenceDone, SourceRead, StreamEvent, TokenProduced, stream_translation
from service.translator import Translator
from tests.service.engine_fakes import GatedBackend
from tests.service.scripted_backend import IDS
from tests.service.test_translator_ranges import real_tokenizer
from tests.service.translation_fakes import (
    EOS,
    GREEDY,
    ONE_MECHANISM,
    UNK,
    WITH_ALIGNER,
    EchoDecoder,
    FullDecoder,
    RoomyDecoder,
    UnusedTokenizer,
    hypothesis,
    make_translator,
)

TEXTS = ["I like tea. « Oh! »", "", "Łukasz", "TOM'S TEA, NO TEA"]


class TellingDecoder(EchoDecoder):
    """Answers every job with these tokens, and tells of them in parts that end at `cuts`."""

    def __init__(self, ids: Sequence[int], cuts: Sequence[int], mechanisms: int = 1) -> None:
        super().__init__()
        self._mechanisms = mechanisms
        self._ids = ids
        self._cuts = cuts

    async def decode(
        self, jobs: Sequence[DecodingJob], listener: Listener | None = None
    ) -> list[tuple[Hypothesis, ...]]:
        found = [(self.found(job),) for job in jobs]
        assert listener is not None
        listener([Progress(index) for index in range(len(jobs))])
        for first, end in zip((0, *self._cuts), self._cuts, strict=False):
            listener([Progress(index, tokens_of(best, first, end)) for index, [best] in enumerate(found)])
            await asyncio.sleep(0)
        listener([Progress(len(jobs) - 1, hypotheses=found[-1])])  # of the others nothing more is told
        return found

    def found(self, job: DecodingJob) -> Hypothesis:
        generator = np.random.default_rng(len(job.source_ids))
        size = (self._mechanisms, len(self._ids))
        attention, *others = generator.dirichlet(np.ones(len(job.source_ids)), size=size)
        return replace(hypothesis(self._ids, attention, log_prob=-2.0), other_attentions=tuple(others))


def tokens_of(best: Hypothesis, first: int, end: int) -> SettledTokens:
    part = slice(first, end)
    attentions = tuple(attention[part] for attention in (best.attention, *best.other_attentions))
    return SettledTokens(first, best.target_ids[part], best.token_log_probs[part], attentions)


async def collect(translator: Translator, texts: Sequence[str], **options: Any) -> list[list[StreamEvent]]:
    return [events async for events in stream_translation(translator, texts, replace(GREEDY, **options))]


def check_events(events: Sequence[StreamEvent]) -> None:
    """Checks that sources, tokens and sentences are what the whole answer, the last event, says."""
    *others, whole = events
    assert isinstance(whole, AllDone)
    sources = [event.source for event in others if isinstance(event, SourceRead)]
    assert others[: len(sources)] == [SourceRead(index, source) for index, source in enumerate(sources)]
    assert sources == [each.source for each in whole.translated]
    for text_index, translated in enumerate(whole.translated):
        best = translated.hypotheses[0]
        for sentence_index, sentence in enumerate(best.sentences):
            place = (text_index, sentence_index)
            tokens = [e for e in others if isinstance(e, TokenProduced) and (e.text_index, e.sentence_index) == place]
            [done] = [e for e in others if isinstance(e, SentenceDone) and (e.text_index, e.sentence_index) == place]
            alone = done.translated.hypotheses[0]
            start, end = sentence.target.start, sentence.target.end
            assert "".join(token.added for token in tokens) == alone.target.text == best.target.text[start:end]
            assert [token.token_index for token in tokens] == list(range(len(tokens)))
            assert [token.token for token in tokens] == list(alone.target.tokens)
            moved = [replace(each.token, start=each.token.start + start, end=each.token.end + start) for each in tokens]
            assert moved == list(best.target.tokens[slice(*sentence.target.tokens)])
            assert [token.log_prob for token in tokens] == alone.token_log_probs.tolist()
            for mechanism, alignment in enumerate(alone.alignments):
                np.testing.assert_array_equal([token.attentions[mechanism] for token in tokens], alignment.tokens)


@given(st.data())
def test_whatever_is_told_in_whatever_parts_adds_up_to_the_answer(data: st.DataObject) -> None:
    tokenizer = real_tokenizer()
    space, known = tokenizer.find_piece("▁"), st.integers(UNK + 1, tokenizer.vocabulary_size - 1)
    ids = data.draw(st.lists(st.one_of(known, st.sampled_from((space, space, UNK))), max_size=12))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(ids))))))
    mechanisms = data.draw(st.sampled_from((ONE_MECHANISM, WITH_ALIGNER)))
    decoder = TellingDecoder((*ids, EOS), cuts, len(mechanisms))
    events = asyncio.run(
        collect(make_translator(decoder, tokenizer, mechanisms=mechanisms), TEXTS, replace_unknowns=True)
    )
    check_events([event for some in events for event in some])


def test_a_space_waits_for_what_follows_it() -> None:
    tokenizer = real_tokenizer()
    space, letter = tokenizer.find_piece("▁"), tokenizer.find_piece("e")
    translator = make_translator(TellingDecoder((letter, space, letter, space, EOS), range(1, 5)), tokenizer)
    events = asyncio.run(collect(translator, ["tea"]))
    added = [[event.added for event in some if isinstance(event, TokenProduced)] for some in events]
    assert added == [[], ["e"], [" ", "e"], ["", ""], []]


def test_a_stream_without_room_is_refused_before_any_text_is_taken_apart() -> None:
    with pytest.raises(OverloadedError, match="no room for 2"):
        asyncio.run(collect(make_translator(FullDecoder(), UnusedTokenizer()), ["a", " ", "b"]))


def test_texts_without_sentences_need_no_model() -> None:
    [[*sources, done]] = asyncio.run(collect(make_translator(RoomyDecoder()), ["", " "]))
    assert [type(source) for source in sources] == [SourceRead] * 2
    assert isinstance(done, AllDone)
    assert [each.hypotheses[0].target.text for each in done.translated] == ["", " "]


def test_closing_a_stream_frees_its_rows_at_the_next_step() -> None:
    async def test() -> None:
        backend = GatedBackend()
        backend.vocabulary_size = real_tokenizer().vocabulary_size
        engine = Engine(backend, IDS)
        engine.start()
        backend.allow(2)
        stream = stream_translation(make_translator(engine, real_tokenizer()), ["I like tea"], GREEDY)
        await anext(stream)
        await stream.aclose()
        assert engine.queue_length == 0
        backend.allow()
        await engine.stop(10)
        assert engine.work_done.live_rows == 0
        assert engine.work_done.sentences == 0
        assert len(backend.rows_per_step) <= 3

    asyncio.run(test())


def test_an_error_comes_out_of_the_stream_after_what_was_told_before() -> None:
    class BreakingDecoder(RoomyDecoder):
        async def decode(
            self, jobs: Sequence[DecodingJob], listener: Listener | None = None
        ) -> list[tuple[Hypothesis, ...]]:
            assert listener is not None
            listener([Progress(0)])
            raise DecodingError("broken")

    async def test() -> None:
        stream = stream_translation(make_translator(BreakingDecoder()), ["a"], DecodingOptions())
        assert [type(event) for event in await anext(stream)] == [SourceRead]
        with pytest.raises(DecodingError, match="broken"):
            await anext(stream)

    asyncio.run(test())
