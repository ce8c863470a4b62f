"""The naive loop over the same graphs, one sentence after the other. Options: `bundle`, `precision`, `threads`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.bundle.reader import read_bundle
from service.onnx_backend import BackendOptions, load_backend
from tests.benchmark.naive import translate_naively
from tests.benchmark.sides.cell import Cell, random_sources
from tests.benchmark.sides.worker import BatchSide, serve


class NaiveTranslator:
    """A `BatchTranslator` that knows no batches."""

    lanes = 1

    def __init__(self, options: Mapping[str, Any]) -> None:
        bundle = read_bundle(Path(options["bundle"]))
        self._ids = bundle.manifest.special_ids
        self._backend = load_backend(bundle, BackendOptions("cpu", options["precision"], options["threads"]))
        self._sources: list[list[int]] = []
        self._target_length = 0

    def set_cell(self, cell: Cell) -> None:
        """Makes the sentences."""
        self._sources = random_sources(cell, self._backend.vocabulary_size, self._ids).tolist()
        self._target_length = cell.target_length

    def translate(self, lane: int) -> Sequence[int]:
        """Translates sentence by sentence."""
        results = [
            translate_naively(self._backend, source, self._ids, self._target_length, stops=False)
            for source in self._sources
        ]
        return [len(result.target_ids) for result in results]

    def figures(self) -> dict[str, float]:
        """None."""
        return {}


if __name__ == "__main__":
    serve(lambda options: BatchSide(NaiveTranslator(options)))
