"""The engine's own search on the service's backend: batches of token ids in, hypotheses with attention out.

Options: `bundle`, `precision`, `threads` of each lane's sessions, and `lanes`, how many batches are decoded at the same
time, each by a thread with sessions of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.bundle.reader import read_bundle
from service.decoding.search import decode
from service.domain import DecodingJob
from service.onnx_backend import BackendOptions, load_backend
from tests.benchmark.sides.cell import Cell, make_jobs
from tests.benchmark.sides.runtime_clock import RuntimeClock
from tests.benchmark.sides.worker import BatchSide, serve


class InterlinearTranslator:
    """A `BatchTranslator`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        bundle = read_bundle(Path(options["bundle"]))
        backend_options = BackendOptions("cpu", options["precision"], options["threads"])
        self._clock = RuntimeClock()
        self._ids = bundle.manifest.special_ids
        self._backends = [load_backend(bundle, backend_options) for _ in range(options["lanes"])]
        self._jobs: list[DecodingJob] = []

    @property
    def lanes(self) -> int:
        """One for each backend."""
        return len(self._backends)

    def set_cell(self, cell: Cell) -> None:
        """Makes the jobs."""
        self._jobs = make_jobs(cell, self._backends[0].vocabulary_size, self._ids)

    def translate(self, lane: int) -> Sequence[int]:
        """Decodes the batch."""
        results = decode(self._backends[lane], self._jobs, self._ids)
        return [len(hypotheses[0].target_ids) for hypotheses in results]

    def figures(self) -> dict[str, float]:
        """Seconds inside onnxruntime."""
        if not self._clock.calls:
            raise RuntimeError("the backend runs its graphs by a method that the clock does not know")
        figures = {"encoder_s": self._clock.encoder_s, "step_s": self._clock.step_s}
        self._clock.reset()
        return figures


if __name__ == "__main__":
    serve(lambda options: BatchSide(InterlinearTranslator(options)))
