"""Batches: every pair once, few shapes, padding where it belongs, the same order from the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.batching import Batch, BucketedBatches, bucket_width
from model_export.data import EncodedPairs

PAD, BOS, EOS = 0, 1, 2


def pairs_of(lengths: list[tuple[int, int]]) -> EncodedPairs:
    """Pairs with so many tokens a side; the source's first token is the pair's number + 10."""
    pairs = EncodedPairs(PAD, EOS)
    for number, (source, target) in enumerate(lengths):
        pairs.source_ids.append(np.array([number + 10] + [7] * (source - 1) + [EOS], dtype=np.int32))
        pairs.target_ids.append(np.array([BOS] + [8] * target + [EOS], dtype=np.int32))
    return pairs


def numbers(batch: Batch) -> list[int]:
    return [int(first) - 10 for first in batch.source_ids[:, 0] if first != EOS]


@pytest.mark.parametrize(("length", "width"), [(1, 4), (4, 4), (5, 6), (17, 20), (128, 128), (129, 192), (193, 256)])
def test_bucket_widths(length: int, width: int) -> None:
    assert bucket_width(length) == width


def test_a_batch_is_padded_and_filled_up() -> None:
    batches = BucketedBatches(pairs_of([(2, 4)]), token_budget=14, seed=1)
    (batch,) = batches.epoch(0)
    assert batch.source_ids.tolist() == [[10, 7, EOS, PAD, PAD, PAD], [EOS, PAD, PAD, PAD, PAD, PAD]]
    assert batch.source_lengths.tolist() == [3, 1]
    assert batch.target_ids.tolist() == [[BOS, 8, 8, 8, 8, EOS, PAD], [PAD] * 7]
    assert {array.dtype for array in (batch.source_ids, batch.source_lengths, batch.target_ids)} == {np.dtype(np.int32)}
    assert batches.shapes == [(2, 6)]
    assert batches.padding_share == pytest.approx(1 - (3 + 5) / (2 * 2 * 6))


def test_a_pair_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert BucketedBatches(pairs_of([(30, 2)]), token_budget=10, seed=1).shapes == [(1, 32)]


lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=60)


@given(lengths, st.integers(1, 100), st.integers(0, 3))
def test_an_epoch_holds_every_pair_once_in_the_announced_shapes(
    lengths: list[tuple[int, int]], token_budget: int, epoch: int
) -> None:
    batches = BucketedBatches(pairs_of(lengths), token_budget, seed=5)
    epoch_batches = list(batches.epoch(epoch))
    assert len(epoch_batches) == len(batches)
    assert Counter(number for batch in epoch_batches for number in numbers(batch)) == Counter(range(len(lengths)))
    for batch in epoch_batches:
        rows, width = batch.source_ids.shape
        assert (rows, width) in batches.shapes
        assert batch.target_ids.shape == (rows, width + 1)
        assert ((batch.source_ids != PAD).sum(axis=1) == batch.source_lengths).all()


def test_order_follows_from_seed_and_epoch() -> None:
    pairs = pairs_of([(3, 3)] * 50)

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [numbers(batch) for batch in BucketedBatches(pairs, 20, seed).epoch(epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
