"""Automatic gradients of two steps of every mechanism, and of Keras's layers, against central differences in double."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from model_export.attention import (
    AdditiveAttention,
    Attention,
    CustomAttention,
    KerasAdditiveAttentionMechanism,
    KerasAttentionMechanism,
)
from tests.model_export.attention.by_hand import (
    DEPTH,
    HARD,
    KINDS,
    MASK,
    SOFT,
    UNITS,
    Array,
    make_with_weights,
    random_doubles,
)
from tests.model_export.attention.own_layers import ProjectedAttention

STEP = 1e-6  # of the differences: their error is near 1e-10, as rounding over STEP and as STEP squared
DIRECTIONS = 3  # random ones, per tensor


# Of Keras's mechanisms queries are as deep as the memory; the layer of one's own gives contexts of another depth.
OF_LAYERS: dict[str, Callable[[], Any]] = {
    "keras-dot": lambda: KerasAttentionMechanism(dtype="float64"),
    "keras-dot-scale": lambda: KerasAttentionMechanism(use_scale=True, dtype="float64"),
    "keras-concat": lambda: KerasAttentionMechanism(score_mode="concat", dtype="float64"),
    "keras-concat-scale": lambda: KerasAttentionMechanism(use_scale=True, score_mode="concat", dtype="float64"),
    "keras-additive": lambda: KerasAdditiveAttentionMechanism(use_scale=False, dtype="float64"),
    "keras-additive-scale": lambda: KerasAdditiveAttentionMechanism(dtype="float64"),
    "own": lambda: CustomAttention(ProjectedAttention(UNITS, dtype="float64")),
}
DIFFERENTIABLE = [*SOFT, *OF_LAYERS]


def make_mechanism(kind: str, query_depth: int) -> Any:
    """Any mechanism, with random weights."""
    if kind in KINDS:
        return make_with_weights(kind)
    mechanism = OF_LAYERS[kind]()
    mechanism.build_for(query_depth, DEPTH)
    for seed, weight in enumerate(mechanism.weights):
        weight.assign(random_doubles(*weight.shape, seed=seed + 22))
    return mechanism


class Tried:
    """A scalar of two steps of a mechanism, as a function of queries, memory, previous alignments and weights."""

    def __init__(self, kind: str) -> None:
        query_depth = DEPTH if kind.startswith("keras") else UNITS
        self.mechanism = make_mechanism(kind, query_depth)
        self.queries = tf.Variable(random_doubles(2, 3, query_depth))
        self.memory = tf.Variable(random_doubles(3, 5, DEPTH, seed=1))
        self.previous = tf.Variable(np.random.default_rng(2).dirichlet(np.ones(5), size=3))
        self._context_factors = random_doubles(2, 3, self.mechanism.context_depth(DEPTH), seed=3)
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


@pytest.mark.parametrize("kind", DIFFERENTIABLE)
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


@pytest.mark.parametrize("kind", [*DIFFERENTIABLE, *HARD])
def test_padding_gets_no_gradient(kind: str) -> None:
    tried = Tried(kind)
    [gradient] = tried.gradients([tried.memory])
    padding: Array = np.asarray(gradient)[~MASK]
    assert (padding == 0).all()


@pytest.mark.parametrize("kind", DIFFERENTIABLE)
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_gradients_stay_finite_at_extreme_scores(kind: str, scale: float) -> None:
    tried = Tried(kind)
    tried.queries.assign(scale * tried.queries)
    tried.memory.assign(scale * tried.memory)
    variables = [tried.queries, tried.memory, tried.previous, *tried.weights]
    gradients = [gradient for gradient in tried.gradients(variables) if gradient is not None]
    assert len(gradients) >= len(variables) - 1
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("layer_class", "arguments"),
    [
        (Attention, {"use_scale": True}),
        (Attention, {"use_scale": True, "score_mode": "concat"}),
        (AdditiveAttention, {}),
    ],
)
def test_gradients_of_keras_layers_agree_with_differences(
    layer_class: Any, arguments: dict[str, Any], causal: bool
) -> None:
    layer = layer_class(**arguments, causal=causal, dtype="float64")
    query, value, key = (
        tf.Variable(random_doubles(3, length, depth, seed=seed))
        for seed, (length, depth) in enumerate([(4, 3), (5, 2), (5, 3)])
    )
    layer.build([query.shape, value.shape, key.shape])
    for seed, weight in enumerate(layer.weights):
        weight.assign(random_doubles(*weight.shape, seed=seed + 22))
    factors = random_doubles(3, 4, 2, seed=5), random_doubles(3, 4, 5, seed=6)

    def total() -> Any:
        inputs = [tf.convert_to_tensor(variable) for variable in (query, value, key)]
        parts = layer(inputs, mask=[None, tf.constant(MASK)], return_attention_scores=True)
        return sum(tf.reduce_sum(part * factor) for part, factor in zip(parts, factors, strict=True))

    variables = [query, value, key, *(weight.value for weight in layer.weights)]
    with tf.GradientTape() as tape:
        result = total()
    gradients = tape.gradient(result, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        assert np.abs(gradient).max() > 1e-3
        check(total, variable, gradient)
    for gradient in gradients[1:3]:
        assert (np.asarray(gradient)[~MASK] == 0).all()
