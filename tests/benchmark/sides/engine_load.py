"""The engine without HTTP under the load that the service gets: clients that each send a request when the last is done.

Tokenized sentences in, hypotheses out; no text handling, no alignment of words, no JSON. Options: `bundle`, `threads`
of each batch, and `workers`, how many batches are decoded at the same time.
A cell has `clients` (of this process), `sentences` of each request and `beam_size`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.bundle.reader import read_bundle
from service.domain import DecodingJob, DecodingOptions
from service.engine.engine import Engine
from service.engine.limits import EngineLimits
from service.onnx_backend import BackendOptions, load_backend
from tests.benchmark.requests import group_sentences
from tests.benchmark.sides.worker import serve

WARM_UP_S = 0.5
NO_REFUSALS = EngineLimits(max_queue=1_000_000, max_queue_wait_s=None)


class EngineLoad:
    """A `Side`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        bundle = read_bundle(Path(options["bundle"]))
        backend = load_backend(bundle, BackendOptions("cpu", None, options["threads"]))
        self._tokenizer = bundle.tokenizer
        self._engine = Engine(backend, bundle.manifest.special_ids, NO_REFUSALS, options["workers"])
        self._engine.start()
        self._runner = asyncio.Runner()
        self._requests: list[list[DecodingJob]] = []
        self._clients = 0

    def prepare(self, cell: Mapping[str, Any]) -> None:
        """Tokenizes the requests and warms up."""
        options = DecodingOptions(beam_size=cell["beam_size"])
        self._requests = [
            [DecodingJob((*self._tokenizer.encode_ids(text), self._tokenizer.eos_id), options) for text in texts]
            for texts in group_sentences(cell["sentences"])
        ]
        self._clients = cell["clients"]
        self.run(WARM_UP_S, time.perf_counter())

    def run(self, seconds: float, start_at: float) -> dict[str, Any]:
        """See `Side`; counts what is done when the time is over."""
        time.sleep(max(0.0, start_at - time.perf_counter()))
        durations = self._runner.run(self._load(seconds))
        return {"sentences_per_s": len(durations) * len(self._requests[0]) / seconds, "durations_s": durations}

    def close(self) -> None:
        """Stops the engine."""
        self._runner.run(self._engine.stop(timeout_s=5))
        self._runner.close()

    async def _load(self, seconds: float) -> list[float]:
        durations: list[float] = []
        clients = [asyncio.create_task(self._send(place, durations)) for place in range(self._clients)]
        await asyncio.wait(clients, timeout=seconds)
        for client in clients:
            client.cancel()
        outcomes = await asyncio.gather(*clients, return_exceptions=True)
        for outcome in outcomes:
            if not isinstance(outcome, asyncio.CancelledError):
                raise RuntimeError("a client of the engine failed") from outcome
        return durations

    async def _send(self, place: int, durations: list[float]) -> None:
        """One client: starts at its own place among the requests."""
        while True:
            jobs = self._requests[place % len(self._requests)]
            place += self._clients
            start = time.perf_counter()
            await self._engine.decode(jobs)
            durations.append(time.perf_counter() - start)


if __name__ == "__main__":
    serve(EngineLoad)
