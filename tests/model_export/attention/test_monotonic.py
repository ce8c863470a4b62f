"""Monotonic attention: the recurrences on numbers worked out by hand, what follows from them, and the noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from model_export.attention.monotonic_alignments import MODES
from tests.model_export.attention import by_hand
from tests.model_export.attention.by_hand import (
    DEPTH,
    LENGTHS,
    MASK,
    MONOTONIC,
    UNITS,
    Array,
    make_with_weights,
    random_doubles,
)
from tests.model_export.tiny_models import as_numpy

SOFT_MODES = ["parallel", "recursive"]


def alignments(mode: str, probabilities: Any, previous: Any, dtype: str = "float32") -> Array:
    """For probabilities (S,) or (B, S) of choosing a position."""
    chances = np.atleast_2d(probabilities).astype(dtype)
    with np.errstate(divide="ignore"):
        scores = np.clip(np.log(chances) - np.log1p(-chances), np.finfo(dtype).min, 1000.0)
    return as_numpy(
        MODES[mode](ops.convert_to_tensor(scores, dtype), ops.convert_to_tensor(np.atleast_2d(previous), dtype))
    )


# --- The recurrences ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", SOFT_MODES)
def test_expected_alignments_of_the_first_step(mode: str) -> None:
    # From the first position on: stop there, or go on and stop at the next, and so on.
    expected = [0.5, 0.5 * 0.25, 0.5 * 0.75 * 0.8]
    np.testing.assert_allclose(alignments(mode, [0.5, 0.25, 0.8], [1, 0, 0]), [expected], atol=1e-7)


@pytest.mark.parametrize("mode", SOFT_MODES)
def test_expected_alignments_of_a_later_step(mode: str) -> None:
    # With 0.25 from the first position, with 0.5 from the second; with 0.25 the last step had stopped nowhere.
    from_first = [0.5, 0.5 * 0.25, 0.5 * 0.75 * 0.8]
    from_second = [0, 0.25, 0.75 * 0.8]
    expected = 0.25 * np.array(from_first) + 0.5 * np.array(from_second)
    np.testing.assert_allclose(alignments(mode, [0.5, 0.25, 0.8], [0.25, 0.5, 0]), [expected], atol=1e-7)


@pytest.mark.parametrize(
    ("chosen", "previous", "expected"),
    [
        ([1, 1, 0, 1], [1, 0, 0, 0], [1, 0, 0, 0]),  # may stay where it was
        ([0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 1, 0]),  # the first chosen one
        ([1, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]),  # never back
        ([1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]),  # nothing left
        ([1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]),  # and nothing ever after
        ([1, 0, 1, 1], [0.25, 0.5, 0.25, 0], [0.25, 0, 0.75, 0]),  # of soft ones each part on its own
    ],
)
def test_hard_alignments(chosen: list[float], previous: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(alignments("hard", chosen, previous), [expected], atol=1e-7)


@pytest.mark.parametrize("mode", SOFT_MODES)
def test_soft_modes_follow_the_loops(mode: str) -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.uniform(size=(6, 9))
    probabilities[0, 4], probabilities[1, 2:4] = 1.0, 0.0
    previous = generator.dirichlet(np.ones(9), size=6)
    previous[2] = 0.0
    found = alignments(mode, probabilities, previous, "float64")
    for row, (chances, before) in enumerate(zip(probabilities, previous, strict=True)):
        loop = by_hand.recursive if mode == "recursive" else by_hand.parallel
        np.testing.assert_allclose(found[row], loop(chances, before), atol=1e-12)
    assert (found[2] == 0).all()


def test_recursive_and_parallel_differ_by_the_clipping_of_small_divisors_only() -> None:
    probabilities = np.full(12, 0.99)  # the chance to pass all positions falls by 100 each time: 1e-10 after five
    previous = np.full(12, 1 / 12)
    recursive = alignments("recursive", probabilities, previous)[0]
    parallel = alignments("parallel", probabilities, previous)[0]
    np.testing.assert_allclose(recursive, by_hand.recursive(probabilities, previous), rtol=1e-5)
    np.testing.assert_allclose(parallel, by_hand.parallel(probabilities, previous), rtol=1e-4)
    np.testing.assert_allclose(parallel[:5], recursive[:5], rtol=1e-4)
    assert (parallel[6:] < 0.1 * recursive[6:]).all()


# --- What follows -------------------------------------------------------------------------------------------------


def run(mechanism: Any, steps: int, seed: int = 0) -> Array:
    """Alignments (T, B, S) over three sentences."""
    memory = mechanism.prepare(random_doubles(3, 5, DEPTH, seed=seed), ops.convert_to_tensor(MASK))
    previous, rows = mechanism.first_alignments(memory), []
    for query in random_doubles(steps, 3, UNITS, seed=seed + 1):
        previous = mechanism.align(ops.convert_to_tensor(query, "float64"), memory, previous)
        rows.append(as_numpy(previous))
    return np.stack(rows)


@pytest.mark.parametrize("kind", MONOTONIC)
def test_alignments_start_on_the_first_position(kind: str) -> None:
    mechanism = make_with_weights(kind)
    mechanism.setup_memory(random_doubles(3, 5, DEPTH), LENGTHS)
    assert as_numpy(mechanism.initial_state(3, "float32")).tolist() == [by_hand.one_hot(0, 5)] * 3


@pytest.mark.parametrize("kind", MONOTONIC)
def test_weight_moves_forward_and_may_be_lost_for_good(kind: str) -> None:
    rows = run(make_with_weights(kind), steps=8)
    reached = np.cumsum(rows, axis=-1)  # the share that lies at a position or before it
    assert (np.diff(reached, axis=0) <= 1e-12).all()
    sums = rows.sum(axis=-1)
    assert (sums <= 1 + 1e-12).all()
    assert (np.diff(sums, axis=0) <= 1e-12).all()


@pytest.mark.parametrize("kind", ["bahdanau_monotonic-hard", "luong_monotonic-hard"])
def test_hard_rows_hold_a_single_one_or_nothing(kind: str) -> None:
    rows = np.concatenate([run(make_with_weights(kind), steps=4, seed=seed) for seed in range(5)])
    assert set(np.unique(rows)) == {0.0, 1.0}
    assert set(rows.sum(axis=-1).flat) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", MONOTONIC)
def test_rows_without_weight_stay_without(kind: str) -> None:
    mechanism = make_with_weights(kind)
    memory = mechanism.prepare(random_doubles(3, 5, DEPTH), ops.convert_to_tensor(MASK))
    query = ops.convert_to_tensor(random_doubles(3, UNITS), "float64")
    context, rows = mechanism.attend(query, memory, ops.zeros((3, 5), "float64"))
    assert not as_numpy(rows).any()
    assert not as_numpy(context).any()


def test_a_score_of_exactly_zero_does_not_choose() -> None:
    mechanism = make_with_weights("luong_monotonic-hard")
    mechanism.attention_score_bias.assign(0.0)
    memory = mechanism.prepare(random_doubles(1, 5, DEPTH))
    zeros = ops.zeros((1, UNITS), "float64")
    assert not as_numpy(mechanism.align(zeros, memory, mechanism.first_alignments(memory))).any()


# --- Noise --------------------------------------------------------------------------------------------------------


def noisy(kind: str, seed: int | None, noise: float = 2.0) -> Any:
    return make_with_weights(kind, sigmoid_noise=noise, sigmoid_noise_seed=seed)


def align(mechanism: Any, training: bool) -> Array:
    memory = mechanism.prepare(random_doubles(3, 5, DEPTH), ops.convert_to_tensor(MASK))
    query = ops.convert_to_tensor(random_doubles(3, UNITS), "float64")
    return as_numpy(mechanism.align(query, memory, mechanism.first_alignments(memory), training=training))


@pytest.mark.parametrize("kind", MONOTONIC)
def test_noise_acts_in_training_only(kind: str) -> None:
    quiet, mechanism = align(make_with_weights(kind), training=True), noisy(kind, seed=1)
    np.testing.assert_array_equal(align(mechanism, training=False), quiet)
    drawn = [align(mechanism, training=True) for _ in range(5)]
    assert any((rows != quiet).any() for rows in drawn)
    assert all((rows[~MASK] == 0).all() for rows in drawn)


@pytest.mark.parametrize("kind", MONOTONIC)
def test_a_seed_makes_noise_reproducible(kind: str) -> None:
    first, again, other = noisy(kind, seed=1), noisy(kind, seed=1), noisy(kind, seed=2)
    drawn = [[align(mechanism, training=True) for _ in range(5)] for mechanism in (first, again, other)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (np.array(drawn[0]) != drawn[2]).any()
    assert any((rows != drawn[0][0]).any() for rows in drawn[0])  # another draw at every call


def test_noise_has_the_given_standard_deviation() -> None:
    mechanism = noisy("luong_monotonic-parallel", seed=1, noise=0.5)
    memory = mechanism.prepare(np.zeros((4000, 1, DEPTH)))  # every score is the bias
    mechanism.attention_score_bias.assign(0.25)
    query = ops.zeros((4000, UNITS), "float64")
    chances = as_numpy(mechanism.align(query, memory, mechanism.first_alignments(memory), training=True))
    scores = np.log(chances / (1 - chances))
    assert abs(scores.mean() - 0.25) < 0.04
    assert abs(scores.std() - 0.5) < 0.03


@pytest.mark.parametrize("kind", MONOTONIC)
def test_without_noise_there_is_no_random_state(kind: str) -> None:
    assert make_with_weights(kind).non_trainable_variables == []
    assert len(noisy(kind, seed=None).non_trainable_variables) == 1
