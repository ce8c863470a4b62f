"""A random Transformer in CTranslate2. Options: `model`, `vocabulary_size`, `threads` of each worker, and `workers`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

sys.modules["torch"] = None  # type: ignore[assignment]  # CTranslate2 imports it where it is installed, and needs it not

import ctranslate2  # noqa: E402

from service.domain import SpecialIds  # noqa: E402
from tests.benchmark.models.random_transformer import token_name  # noqa: E402
from tests.benchmark.sides.cell import Cell, random_sources  # noqa: E402
from tests.benchmark.sides.worker import BatchSide, serve  # noqa: E402

IDS = SpecialIds(pad=0, bos=1, eos=2, unk=3)


class TransformerTranslator:
    """A `BatchTranslator`: each worker has a lane."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._workers: int = options["workers"]
        self._vocabulary_size: int = options["vocabulary_size"]
        with ThreadPoolExecutor(1) as pool:
            # Made in a thread that then ends: otherwise its OpenMP threads sleep at every barrier on few cores.
            self._translator = pool.submit(
                ctranslate2.Translator,
                options["model"],
                compute_type="int8",
                inter_threads=self._workers,
                intra_threads=options["threads"],
            ).result()
        self._sources: list[list[str]] = []
        self._cell = Cell(1, 1, 1, 1)

    @property
    def lanes(self) -> int:
        """One for each worker."""
        return self._workers

    def set_cell(self, cell: Cell) -> None:
        """Names the tokens."""
        self._cell = cell
        sources = random_sources(cell, self._vocabulary_size, IDS).tolist()
        self._sources = [[token_name(token_id) for token_id in source] for source in sources]

    def translate(self, lane: int) -> Sequence[int]:
        """Translates the batch; a worker that is free takes it."""
        results = self._translator.translate_batch(
            self._sources,
            beam_size=self._cell.beam_size,
            min_decoding_length=self._cell.target_length,
            max_decoding_length=self._cell.target_length,
        )
        return [len(result.hypotheses[0]) for result in results]

    def figures(self) -> dict[str, float]:
        """None."""
        return {}


if __name__ == "__main__":
    serve(lambda options: BatchSide(TransformerTranslator(options)))
