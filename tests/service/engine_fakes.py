"""Backends that tests of the engine can hold up or make fail, and short ways to run an engine on them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from service.decoding.backend import DecoderRows, StepOutput
from service.domain import Hypothesis, IntArray
from service.engine.engine import Engine
from service.engine.limits import EngineLimits
from tests.service.scripted_backend import IDS, ScriptedBackend, copying, decode_letters

PATIENCE_S = 10.0


class GatedBackend(ScriptedBackend):
    """Copies its source, but takes a step only when one is allowed; notes the batches that were encoded."""

    def __init__(self) -> None:
        super().__init__(copying)
        self.reached = threading.Event()
        self.batches: list[int] = []
        self._permits = threading.Semaphore(0)

    def allow(self, steps: int = 10_000) -> None:
        self._permits.release(steps)

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        self.batches.append(len(source_ids))
        return super().encode(source_ids, source_lengths)

    def decode_step(self, *arguments: Any) -> StepOutput:
        self.reached.set()
        if not self._permits.acquire(timeout=PATIENCE_S):
            raise TimeoutError
        return super().decode_step(*arguments)

    async def is_reached(self) -> None:
        await asyncio.to_thread(self.reached.wait, PATIENCE_S)


class FailingBackend(ScriptedBackend):
    """Copies its source, but fails whenever the letter `x` is in the batch."""

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        if any("x" in decode_letters(tuple(row)) for row in source_ids.tolist()):
            raise ValueError("secret detail")
        return super().encode(source_ids, source_lengths)


@asynccontextmanager
async def running(backend: ScriptedBackend, limits: EngineLimits | None = None) -> AsyncIterator[Engine]:
    engine = Engine(backend, IDS, limits)
    engine.start()
    try:
        yield engine
    finally:
        if isinstance(backend, GatedBackend):
            backend.allow()
        await engine.stop(PATIENCE_S)
        assert not engine.is_running


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 4 * PATIENCE_S))


def best(hypotheses: tuple[Hypothesis, ...]) -> str:
    return decode_letters(hypotheses[0].target_ids)
