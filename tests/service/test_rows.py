"""The store of decoder rows against a list of rows that are moved by hand."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from service.decoding.backend import DecoderRows
from service.decoding.rows import DecoderRowStore
from tests.service.scripted_backend import read_only

UNITS = 3


@pytest.fixture(autouse=True)
def _no_empty_array_holds_zeros_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(*args: Any, **kwargs: Any) -> np.ndarray:
        return np.full(*args, np.nan, **kwargs)  # True in an array of truth values

    monkeypatch.setattr(np, "empty", poisoned)


@dataclass(frozen=True)
class Row:
    """What a row must hold: a sentence of `length` tokens, and a state that says where it came from."""

    sentence: int
    length: int
    state: float


def encode(rows: list[Row]) -> DecoderRows:
    """Memory and state in which every row can be told from the others; the second state has a source dimension."""
    width = max(row.length for row in rows)
    mask = np.arange(width) < np.array([row.length for row in rows])[:, np.newaxis]
    sentences = np.array([row.sentence for row in rows], dtype=np.float32)
    memory = np.where(mask, sentences[:, np.newaxis], 0).astype(np.float32)[:, :, np.newaxis]
    state = np.array([[row.state] * UNITS for row in rows], dtype=np.float32)
    alignments = np.where(mask, state[:, :1], 0).astype(np.float32)
    return DecoderRows((read_only(memory),), read_only(mask), (read_only(state), read_only(alignments)))


def lengths_of(rows: list[Row]) -> np.ndarray:
    return np.array([row.length for row in rows], dtype=np.int32)


def check(store: DecoderRowStore, expected: dict[int, Row]) -> None:
    """Checks that the store holds just these rows at these numbers."""
    assert sorted(expected) == list(range(len(store)))
    rows = store.decoder_rows
    [memory] = rows.memory
    state, alignments = rows.state
    width = rows.source_mask.shape[1]
    assert memory.flags.c_contiguous
    assert memory.shape == (len(store), width, 1)
    assert alignments.shape == (len(store), width)
    for number, row in expected.items():
        mask = np.arange(width) < row.length
        np.testing.assert_array_equal(rows.source_mask[number], mask)
        np.testing.assert_array_equal(memory[number, :, 0], np.where(mask, row.sentence, 0))
        np.testing.assert_array_equal(state[number], [row.state] * UNITS)
        np.testing.assert_array_equal(alignments[number], np.where(mask, row.state, 0))
        assert store.input_ids[number] == row.sentence


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_where_the_store_says(seed: int) -> None:
    chance = random.Random(seed)
    store, rows = DecoderRowStore(), dict[int, Row]()
    given: list[tuple[np.ndarray, np.ndarray]] = []
    sentence = 0
    for _ in range(40):
        if not rows or chance.random() < 0.4:
            new = [Row(sentence + index, chance.randint(1, 12), 0.0) for index in range(chance.randint(1, 4))]
            sentence += len(new)
            numbers = store.add(encode(new), lengths_of(new), 0).tolist()
            rows.update(zip(numbers, new, strict=True))
            store.input_ids[numbers] = [row.sentence for row in new]
        check(store, rows)
        check_unchanged(store.decoder_rows, given)
        rows = take_step(store, rows, chance)
    check(store, rows)


def check_unchanged(rows: DecoderRows, given: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """An array that is given again holds what it held; `given` has all arrays so far, and what they held."""
    for array in (*rows.memory, rows.source_mask):
        held = [content for before, content in given if before is array]
        if held:
            np.testing.assert_array_equal(array, held[0])
        else:
            given.append((array, array.copy()))


def take_step(store: DecoderRowStore, rows: dict[int, Row], chance: random.Random) -> dict[int, Row]:
    """Lets rows follow others of their sentence, end, and fork, as a beam search does."""
    before = {number: replace(row, state=row.state + chance.random()) for number, row in rows.items()}
    before = {number: replace(row, state=float(np.float32(row.state))) for number, row in before.items()}
    output = encode_step(before, store.width)
    after = dict(before)
    gone = [number for number in before if chance.random() < 0.3]
    for number in before:
        others = [other for other, row in before.items() if row.sentence == before[number].sentence]
        if number not in gone and chance.random() < 0.5:
            parent = chance.choice(others)
            store.follow(np.array([number]), np.array([parent]))
            after[number] = before[parent]
    parents = [number for number in before if number not in gone and chance.random() < 0.3]
    if parents:
        forked = store.fork(np.array(parents))
        after.update(zip(forked.tolist(), (before[parent] for parent in parents), strict=True))
        store.input_ids[forked] = [before[parent].sentence for parent in parents]
    store.free(np.array(gone, dtype=np.int64))
    places = store.finish(output)
    left = {number: row for number, row in after.items() if number not in gone}
    if places is None:
        return left
    return {int(places[number]): row for number, row in left.items()}


def encode_step(rows: dict[int, Row], width: int) -> tuple[np.ndarray, ...]:
    """The state that a decoder step returns for the rows in their order."""
    ordered = [rows[number] for number in sorted(rows)]
    state = np.array([[row.state] * UNITS for row in ordered], dtype=np.float32)
    mask = np.arange(width) < lengths_of(ordered)[:, np.newaxis]
    return read_only(state), read_only(np.where(mask, state[:, :1], 0).astype(np.float32))


def test_the_first_sentences_arrays_are_used_as_they_are() -> None:
    store = DecoderRowStore()
    encoded = encode([Row(1, 5, 0.0), Row(2, 3, 0.0)])
    store.add(encoded, np.array([5, 3]), 1)
    assert np.shares_memory(store.decoder_rows.memory[0], encoded.memory[0])


def test_rows_that_follow_each_other_leave_the_memory_alone() -> None:
    store = DecoderRowStore()
    rows = [Row(1, 4, 0.0), Row(1, 4, 1.0)]
    store.add(encode(rows), lengths_of(rows), 1)
    before = store.decoder_rows.memory[0]
    store.follow(np.array([0, 1]), np.array([1, 0]))
    assert store.finish(store.state) is None
    assert np.shares_memory(store.decoder_rows.memory[0], before)
    assert store.state[0][:, 0].tolist() == [1.0, 0.0]


def test_sentences_that_stay_are_given_as_the_same_arrays() -> None:
    store = DecoderRowStore()
    rows = [Row(1, 4, 0.0), Row(2, 4, 1.0), Row(3, 4, 2.0)]
    store.add(encode(rows), lengths_of(rows), 1)
    store.free(np.array([0]))
    store.finish(store.state)
    before = store.decoder_rows
    store.follow(np.array([0, 1]), np.array([1, 0]))
    store.finish(store.state)
    assert store.decoder_rows.memory[0] is before.memory[0]
    assert store.decoder_rows.source_mask is before.source_mask
    store.fork(np.array([1]))
    store.finish(store.state)
    assert store.decoder_rows.memory[0] is not before.memory[0]


def test_full_arrays_that_were_written_to_are_given_as_others() -> None:
    store = DecoderRowStore()
    rows = [Row(1, 4, 0.0), Row(2, 4, 1.0)]
    store.add(encode(rows), lengths_of(rows), 1)
    store.fork(np.array([0, 1]))
    store.finish(store.state)
    full = store.decoder_rows.memory[0]
    np.testing.assert_array_equal(full[:, 0, 0], [1, 2, 1, 2])
    store.free(np.array([0]))
    store.finish(store.state)
    store.fork(np.array([1]))
    store.finish(store.state)
    np.testing.assert_array_equal(store.decoder_rows.memory[0][:, 0, 0], [2, 2, 1, 2])
    assert store.decoder_rows.memory[0] is not full


def test_a_step_without_changes_keeps_the_state_that_the_backend_returned() -> None:
    store = DecoderRowStore()
    rows = [Row(1, 4, 0.0)]
    store.add(encode(rows), lengths_of(rows), 1)
    state = (np.ones((1, UNITS), np.float32), np.ones((1, 4), np.float32))
    store.finish(state)
    assert store.state[0] is state[0]


def test_attention_sums_follow_their_rows_and_padding_costs_nothing() -> None:
    store = DecoderRowStore()
    rows = [Row(1, 2, 0.0), Row(2, 3, 0.0)]
    store.add(encode(rows), lengths_of(rows), 1)
    two_mechanisms = np.array([[[0.5, 0.5, 0], [1, 0, 0]], [[0.2, 0.2, 0.6], [0, 0, 1]]], dtype=np.float32)
    store.sum_attention(two_mechanisms)
    store.free(np.array([0]))
    assert store.finish(store.state) is not None
    store.sum_attention(two_mechanisms[1:])
    np.testing.assert_allclose(store.coverage_rows(np.array([0])), [[0.2, 0.2, 1.6]], rtol=1e-6)
    more = [Row(3, 1, 0.0)]
    store.add(encode(more), lengths_of(more), 1)
    np.testing.assert_allclose(store.coverage_rows(np.array([1])), [[0, 1, 1]])


def test_arrays_grow_one_after_the_other() -> None:
    rows, width, units, tensors = 64, 8, 128, 4
    size = rows * width * units * 4  # bytes of a tensor
    mask, state = np.ones((rows, width), dtype=np.bool_), np.zeros((rows, UNITS), dtype=np.float32)

    def encoded() -> DecoderRows:
        memory = tuple(np.ones((rows, width, units), dtype=np.float32) for _ in range(tensors))
        return DecoderRows(memory, mask, (state,))

    store, lengths = DecoderRowStore(), np.full(rows, width, dtype=np.int32)
    tracemalloc.start()
    try:
        store.add(encoded(), lengths, 0)
        more = encoded()
        before, _ = tracemalloc.get_traced_memory()
        store.add(more, lengths, 0)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before >= tensors * size  # twice the rows
    assert peak - after <= 1.1 * size  # of the old ones only the last was still there
