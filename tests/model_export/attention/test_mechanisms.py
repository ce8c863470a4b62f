"""All mechanisms of tfa.seq2seq: against loops over positions, and what padding and extreme numbers may not do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from model_export.attention import (
    BahdanauAttention,
    BahdanauMonotonicAttention,
    LuongAttention,
    LuongMonotonicAttention,
)
from tests.model_export.attention.by_hand import (
    DEPTH,
    KINDS,
    LENGTHS,
    MASK,
    OTHERS,
    SCATTERED_MASK,
    UNITS,
    Array,
    attend,
    make,
    make_with_weights,
    random_doubles,
)
from tests.model_export.tiny_models import as_numpy

STEPS = 3


def run(mechanism: Any, queries: Array, memory: Array, mask: Array) -> tuple[Array, Array]:
    """Contexts (T, B, D) and alignments (T, B, S) of one step after the other."""
    prepared = mechanism.prepare(memory, ops.convert_to_tensor(mask))
    previous, steps = mechanism.first_alignments(prepared), []
    for query in queries:
        steps.append(mechanism.attend(ops.convert_to_tensor(query, mechanism.compute_dtype), prepared, previous))
        previous = steps[-1].alignments
    return np.stack([as_numpy(step.context) for step in steps]), np.stack([as_numpy(s.alignments) for s in steps])


def run_by_hand(mechanism: Any, queries: Array, memory: Array, mask: Array) -> tuple[Array, Array]:
    previous = np.zeros(mask.shape)
    previous[:, 0] = float(mechanism.carries_alignments)
    contexts, alignments = [], []
    for query in queries:
        context, previous = attend(mechanism, query, memory, mask, previous)
        contexts.append(context)
        alignments.append(previous)
    return np.stack(contexts), np.stack(alignments)


@pytest.mark.parametrize("mask", [MASK, SCATTERED_MASK], ids=["prefix", "scattered"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_follow_the_formula(kind: str, mask: Array) -> None:
    mechanism = make_with_weights(kind)
    queries, memory = random_doubles(STEPS, 3, UNITS), random_doubles(3, 5, DEPTH, seed=1)
    contexts, alignments = run(mechanism, queries, memory, mask)
    expected_contexts, expected_alignments = run_by_hand(mechanism, queries, memory, mask)
    np.testing.assert_allclose(alignments, expected_alignments, atol=1e-12)
    np.testing.assert_allclose(contexts, expected_contexts, atol=1e-12)
    assert np.abs(alignments).sum() > 0.5  # of all three sentences, so that there is something to compare


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_sum_to_one_or_less_and_are_zero_at_padding(kind: str, scale: float) -> None:
    mechanism = make_with_weights(kind, dtype=None)
    queries, memory = random_doubles(STEPS, 3, UNITS, scale=scale), random_doubles(3, 5, DEPTH, seed=1, scale=scale)
    _, alignments = run(mechanism, queries.astype(np.float32), memory, MASK)
    assert (alignments >= 0).all()
    assert (alignments[:, ~MASK] == 0).all()
    sums = alignments.sum(axis=-1)
    assert (sums <= 1 + 1e-5).all()
    if mechanism.normalized:
        np.testing.assert_allclose(sums, 1.0, atol=1e-6)
        assert (alignments[:, 2] == [1, 0, 0, 0, 0]).all()  # a sentence of one token


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    mechanism = make_with_weights(kind)
    queries, memory = random_doubles(STEPS, 1, UNITS), random_doubles(1, 7, DEPTH, seed=1)
    padded = run(mechanism, queries, memory, np.arange(7)[None, :] < 4)
    exact = run(mechanism, queries, memory[:, :4], np.ones((1, 4), dtype=bool))
    np.testing.assert_allclose(padded[0], exact[0], atol=1e-14)
    np.testing.assert_allclose(padded[1][:, :, :4], exact[1], atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_keys_are_zero_at_padding(kind: str) -> None:
    prepared = make_with_weights(kind).prepare(random_doubles(3, 5, DEPTH), ops.convert_to_tensor(MASK))
    assert (as_numpy(prepared.values)[~MASK] == 0).all()
    assert (as_numpy(prepared.keys)[~MASK] == 0).all()
    assert (as_numpy(prepared.values)[MASK] != 0).all()


@pytest.mark.parametrize("kind", OTHERS)
def test_previous_alignments_are_not_read(kind: str) -> None:
    mechanism = make_with_weights(kind)
    prepared = mechanism.prepare(random_doubles(3, 5, DEPTH), ops.convert_to_tensor(MASK))
    query = ops.convert_to_tensor(random_doubles(3, UNITS), "float64")
    answers = [as_numpy(mechanism.align(query, prepared, previous)) for previous in (None, random_doubles(3, 5))]
    assert not as_numpy(mechanism.first_alignments(prepared)).any()
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("kind", ["bahdanau-hardmax", "luong-hardmax"])
def test_hardmax_takes_the_first_of_equal_scores(kind: str) -> None:
    mechanism = make_with_weights(kind, dtype=None)
    memory = np.repeat(random_doubles(1, 1, DEPTH).astype(np.float32), 13, axis=1)
    _, alignments = run(mechanism, random_doubles(1, 1, UNITS).astype(np.float32), memory, np.arange(13)[None, :] > 1)
    assert np.flatnonzero(alignments).tolist() == [2]


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_finite(kind: str) -> None:
    mechanism = make_with_weights(kind, dtype="mixed_float16")
    contexts, alignments = run(mechanism, random_doubles(STEPS, 3, UNITS), random_doubles(3, 5, DEPTH, seed=1), MASK)
    assert (contexts.dtype, alignments.dtype) == (np.float16, np.float16)
    assert np.isfinite(contexts).all()
    assert (alignments[:, ~MASK] == 0).all()
    assert (alignments.sum(axis=-1) < 1.01).all()


# --- Weights, and bad arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mechanism", "expected"),
    [
        (BahdanauAttention(9), ["attention_v", "query_layer", "memory_layer"]),
        (
            BahdanauAttention(9, normalize=True),
            ["attention_v", "attention_g", "attention_b", "query_layer", "memory_layer"],
        ),
        (LuongAttention(9), ["memory_layer"]),
        (LuongAttention(9, scale=True), ["attention_g", "memory_layer"]),
        (BahdanauMonotonicAttention(9), ["attention_v", "attention_score_bias", "query_layer", "memory_layer"]),
        (
            BahdanauMonotonicAttention(9, normalize=True),
            ["attention_v", "attention_score_bias", "attention_g", "attention_b", "query_layer", "memory_layer"],
        ),
        (LuongMonotonicAttention(9), ["attention_score_bias", "memory_layer"]),
        (LuongMonotonicAttention(9, scale=True), ["attention_g", "attention_score_bias", "memory_layer"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else f"{value.name}-{len(value.weights)}",
)
def test_weights_stand_in_the_originals_order(mechanism: Any, expected: list[str]) -> None:
    mechanism.build_for(query_depth=9, memory_depth=DEPTH)
    names = [weight.path.removesuffix("/kernel").rpartition("/")[2] for weight in mechanism.weights]
    assert names == expected
    assert [weight.trainable for weight in mechanism.weights] == [True] * len(expected)


def test_weights_start_as_the_originals_did() -> None:
    additive = BahdanauMonotonicAttention(16, normalize=True, score_bias_init=-3.5, kernel_initializer="ones")
    assert float(as_numpy(additive.attention_g)) == 0.25  # sqrt(1 / units)
    assert as_numpy(additive.attention_b).tolist() == [0.0] * 16
    assert as_numpy(additive.attention_v).tolist() == [1.0] * 16
    assert float(as_numpy(additive.attention_score_bias)) == -3.5
    multiplicative = LuongMonotonicAttention(16, scale=True, score_bias_init=2.0)
    assert float(as_numpy(multiplicative.attention_g)) == 1.0
    assert float(as_numpy(multiplicative.attention_score_bias)) == 2.0


def test_the_default_initializer_of_v_is_glorot_uniform() -> None:
    vector = as_numpy(BahdanauAttention(600).attention_v)
    limit = np.sqrt(6 / (600 + 600))  # Keras takes a vector's length for both of its fans
    assert 0.95 * limit < np.abs(vector).max() <= limit


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="probability_fn: 'sigmoid' is unknown; known are softmax, hardmax"):
        BahdanauAttention(4, probability_fn="sigmoid")
    with pytest.raises(ValueError, match="probability_fn: 'sigmoid' is unknown"):
        LuongAttention(4, probability_fn="sigmoid")
    with pytest.raises(ValueError, match="mode: 'fast' is unknown; known are parallel, recursive, hard"):
        BahdanauMonotonicAttention(4, mode="fast")
    with pytest.raises(ValueError, match="mode: 'fast' is unknown"):
        LuongMonotonicAttention(4, mode="fast")


@pytest.mark.parametrize("mechanism_class", [BahdanauMonotonicAttention, LuongMonotonicAttention])
@pytest.mark.parametrize("noise", [-1.0, float("nan"), float("inf")])
def test_noise_that_is_no_standard_deviation_is_refused(mechanism_class: Any, noise: float) -> None:
    with pytest.raises(ValueError, match=f"sigmoid_noise: expected a standard deviation, .* not {noise}"):
        mechanism_class(4, sigmoid_noise=noise)


@pytest.mark.parametrize("kind", ["luong", "luong_monotonic-parallel"])
def test_luong_refuses_queries_of_another_depth(kind: str) -> None:
    message = r"the query depth \(6\) must equal units \(4\)"
    with pytest.raises(ValueError, match=message):
        make(kind).build_for(query_depth=6)
    mechanism = make_with_weights(kind, dtype=None)
    with pytest.raises(ValueError, match=message):
        mechanism.attend(ops.zeros((3, 6)), mechanism.prepare(ops.zeros((3, 5, DEPTH))), ops.zeros((3, 5)))
    mechanism.setup_memory(np.zeros((3, 5, DEPTH), dtype=np.float32), LENGTHS)
    with pytest.raises(ValueError, match=message):
        mechanism([ops.zeros((3, 6)), ops.zeros((3, 5))])
