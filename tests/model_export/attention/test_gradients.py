"""Automatic gradients of two steps of every mechanism, against central differences in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.model_export.attention.by_hand import (
    DEPTH,
    HARD,
    MASK,
    SOFT,
    UNITS,
    Array,
    make_with_weights,
    random_doubles,
)

STEP = 1e-6  # of the differences: their error is near 1e-10, as rounding over STEP and as STEP squared
DIRECTIONS = 3  # random ones, per tensor


class Tried:
    """A scalar of two steps of a mechanism, as a function of queries, memory, previous alignments and weights."""

    def __init__(self, kind: str) -> None:
        self.mechanism = make_with_weights(kind)
        self.queries = tf.Variable(random_doubles(2, 3, UNITS))
        self.memory = tf.Variable(random_doubles(3, 5, DEPTH, seed=1))
        self.previous = tf.Variable(np.random.default_rng(2).dirichlet(np.ones(5), size=3))
        self._context_factors = random_doubles(2, 3, DEPTH, seed=3)
        self._alignment_factors = random_doubles(2, 3, 5, seed=4)

    @property
    def weights(self) -> list[Any]:
        return [weight.value for weight in self.mechanism.weights]

    def value(self) -> Any:
        memory = self.mechanism.prepare(self.memory, ops.convert_to_tensor(MASK))
        alignments, total = tf.convert_to_tensor(self.previous), 0.0
        for step, query in enumerate(tf.unstack(self.queries)):
            context, alignments = self.mechanism.attend(query, memory, alignments)
            total += tf.reduce_sum(context * self._context_factors[step])
            total += tf.reduce_sum(alignments * self._alignment_factors[step])
        return total

    def gradients(self, variables: list[Any]) -> list[Any]:
        with tf.GradientTape() as tape:
            total = self.value()
        return list(tape.gradient(total, variables))


def check(value: Callable[[], Any], variable: Any, gradient: Any) -> None:
    """Compares a gradient with central differences along random directions."""
    start = variable.numpy()
    for seed in range(DIRECTIONS):
        direction = random_doubles(*start.shape, seed=seed + 100)
        beside = []
        for sign in (1.0, -1.0):
            variable.assign(start + sign * STEP * direction)
            beside.append(float(value()))
        variable.assign(start)
        numerical = (beside[0] - beside[1]) / (2 * STEP)
        assert float(np.sum(gradient * direction)) == pytest.approx(numerical, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("kind", SOFT)
def test_gradients_agree_with_differences(kind: str) -> None:
    tried = Tried(kind)
    variables = [tried.queries, tried.memory, *tried.weights]
    variables += [tried.previous] if tried.mechanism.carries_alignments else []
    for variable, gradient in zip(variables, tried.gradients(variables), strict=True):
        assert np.abs(gradient).max() > 1e-3
        check(tried.value, variable, gradient)


@pytest.mark.parametrize("kind", HARD)
def test_of_a_choice_only_what_was_chosen_gets_a_gradient(kind: str) -> None:
    tried = Tried(kind)
    variables = [tried.queries, tried.memory, *tried.weights]
    queries, memory, *weights = tried.gradients(variables)
    assert queries is None
    assert weights == [None] * len(weights)
    check(tried.value, tried.memory, memory)
    check(tried.value, tried.queries, np.zeros(tried.queries.shape))


@pytest.mark.parametrize("kind", ["bahdanau_monotonic-hard", "luong_monotonic-hard"])
def test_hard_steps_pass_gradients_to_the_alignments_before(kind: str) -> None:
    tried = Tried(kind)
    [gradient] = tried.gradients([tried.previous])
    assert np.abs(gradient).max() > 1e-3
    check(tried.value, tried.previous, gradient)


@pytest.mark.parametrize("kind", SOFT | HARD)
def test_padding_gets_no_gradient(kind: str) -> None:
    tried = Tried(kind)
    [gradient] = tried.gradients([tried.memory])
    padding: Array = np.asarray(gradient)[~MASK]
    assert (padding == 0).all()


@pytest.mark.parametrize("kind", SOFT)
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_gradients_stay_finite_at_extreme_scores(kind: str, scale: float) -> None:
    tried = Tried(kind)
    tried.queries.assign(scale * tried.queries)
    tried.memory.assign(scale * tried.memory)
    variables = [tried.queries, tried.memory, tried.previous, *tried.weights]
    gradients = [gradient for gradient in tried.gradients(variables) if gradient is not None]
    assert len(gradients) >= len(variables) - 1
    assert all(np.isfinite(gradient).all() for gradient in gradients)
