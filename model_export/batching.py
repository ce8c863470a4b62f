"""Batches of a few fixed shapes: pairs of like length together, rows by a token budget.

Compiled backends build one program per shape, so widths come from a short list of boundaries and every batch of a
bucket has the same number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from model_export.data import EncodedPairs
from service.domain import FloatArray, IntArray

BUCKET_BOUNDARIES: Final = (4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128)
"""Widths by the longer side; on Tatoeba's English-French pairs 13% of the positions are padding."""

_WIDTH_STEP_BEYOND: Final = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded pairs. Rows that only fill a batch up have the end-of-sentence token as source and no target.

    Attributes:
        source_ids: int32 (rows, width), each row ending with the end-of-sentence id before the padding.
        source_lengths: int32 (rows,), end of sentence included, at least 1.
        target_ids: int32 (rows, width + 1), start and end of sentence included.
        alignments: float32 (rows, width, width), per target token after the start its links as a distribution over the
            source tokens; all 0 for tokens without links; None if the pairs have none.
    """

    source_ids: IntArray
    source_lengths: IntArray
    target_ids: IntArray
    alignments: FloatArray | None = None


def bucket_width(length: int) -> int:
    """Returns the smallest width that holds `length` positions."""
    for boundary in BUCKET_BOUNDARIES:
        if length <= boundary:
            return boundary
    beyond = length - BUCKET_BOUNDARIES[-1]
    return BUCKET_BOUNDARIES[-1] + -(-beyond // _WIDTH_STEP_BEYOND) * _WIDTH_STEP_BEYOND


class PairSource(Protocol):
    """Encoded pairs that may differ from epoch to epoch, but depend on nothing else."""

    def epoch(self, number: int, /) -> EncodedPairs: ...


class BucketedBatches:
    """All pairs once per epoch, in batches whose order and make-up depend on the seed and the epoch alone.

    Args:
        pairs: encoded sentence pairs.
        token_budget: positions of one side in a batch, padding included; a batch has at least one row.
        seed: of the shuffling.
    """

    def __init__(self, pairs: PairSource, token_budget: int, seed: int) -> None:
        self._pairs = pairs
        self._seed = seed
        self._token_budget = token_budget
        first = pairs.epoch(0)
        self._tokens = sum(map(len, first.source_ids)) + sum(len(ids) - 1 for ids in first.target_ids)
        buckets = _sort_into_buckets(first)
        self._counts = {width: -(-len(members) // self._rows(width)) for width, members in buckets.items()}

    def _rows(self, width: int) -> int:
        return max(1, self._token_budget // width)

    def __len__(self) -> int:
        """How many batches the first epoch has; the others have as many, or, of pairs that vary, about as many."""
        return sum(self._counts.values())

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The (rows, width) that occur in the first epoch, by width."""
        return [(self._rows(width), width) for width in sorted(self._counts)]

    @property
    def padding_share(self) -> float:
        """Share of the first epoch's source and target positions that hold padding, filled-up rows included."""
        return 1.0 - self._tokens / sum(2 * n * self._rows(width) * width for width, n in self._counts.items())

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yields the batches of one epoch, counted from 0."""
        pairs = self._pairs.epoch(number)
        generator = np.random.default_rng((self._seed, number))
        chosen: list[tuple[int, IntArray]] = []
        for width, members in _sort_into_buckets(pairs).items():
            shuffled = generator.permutation(members)
            rows = self._rows(width)
            chosen.extend((width, shuffled[first : first + rows]) for first in range(0, len(shuffled), rows))
        for position in generator.permutation(len(chosen)):
            yield self._assemble(pairs, *chosen[position])

    def _assemble(self, pairs: EncodedPairs, width: int, members: IntArray) -> Batch:
        rows = self._rows(width)
        source_ids = np.full((rows, width), pairs.pad_id, dtype=np.int32)
        source_lengths = np.ones(rows, dtype=np.int32)
        target_ids = np.full((rows, width + 1), pairs.pad_id, dtype=np.int32)
        source_ids[len(members) :, 0] = pairs.eos_id
        for row, member in enumerate(members):
            source, target = pairs.source_ids[member], pairs.target_ids[member]
            source_ids[row, : len(source)] = source
            source_lengths[row] = len(source)
            target_ids[row, : len(target)] = target
        return Batch(source_ids, source_lengths, target_ids, self._align(pairs, width, members))

    def _align(self, pairs: EncodedPairs, width: int, members: IntArray) -> FloatArray | None:
        if not pairs.token_links:
            return None
        alignments = np.zeros((self._rows(width), width, width), dtype=np.float32)
        for row, member in enumerate(members):
            links = pairs.token_links[member]
            alignments[row, links[:, 0], links[:, 1]] = 1.0
        return alignments / np.maximum(alignments.sum(axis=-1, keepdims=True), 1.0)


def _sort_into_buckets(pairs: EncodedPairs) -> dict[int, IntArray]:
    """The indices of the pairs of each width, by width."""
    sides = zip(pairs.source_ids, pairs.target_ids, strict=True)
    widths = np.array([bucket_width(max(len(source), len(target) - 1)) for source, target in sides])
    return {int(width): np.flatnonzero(widths == width).astype(np.int32) for width in np.unique(widths)}
