"""Every mechanism in the 16-bit formats, as a dtype of its own and as a mixed policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from model_export.attention import (
    AdditiveAttention,
    Attention,
    CustomAttention,
    KerasAdditiveAttentionMechanism,
    KerasAttentionMechanism,
    SequenceAttention,
)
from tests.model_export.attention.by_hand import DEPTH, HARD, KINDS, MASK, UNITS, Array, make, random_doubles
from tests.model_export.attention.own_layers import ProjectedAttention
from tests.model_export.tiny_models import as_numpy
from tests.model_export.tiny_wrappers import MASK as WRAPPER_MASK
from tests.model_export.tiny_wrappers import make_wrapper_of_two, run

DTYPES = ["bfloat16", "mixed_bfloat16", "mixed_float16"]
STEPS = 3
# Kinds of tfa.seq2seq, by which `build` makes them, and the others: Keras's need queries as deep as the memory.
OTHERS: dict[str, Any] = {
    "keras-dot-scale": lambda dtype: KerasAttentionMechanism(use_scale=True, dtype=dtype),
    "keras-concat-scale": lambda dtype: KerasAttentionMechanism(use_scale=True, score_mode="concat", dtype=dtype),
    "keras-additive": lambda dtype: KerasAdditiveAttentionMechanism(dtype=dtype),
    "own": lambda dtype: CustomAttention(ProjectedAttention(UNITS, dtype=dtype)),
}


def build(kind: str, dtype: str) -> Any:
    """A mechanism whose weights are numbers of the format, the same in every format."""
    mechanism = make(kind, dtype) if kind in KINDS else OTHERS[kind](dtype)
    mechanism.build_for(UNITS, UNITS)
    for seed, weight in enumerate(mechanism.weights):
        weight.assign(rounded(random_doubles(*weight.shape, seed=seed + 10)))
    return mechanism


def rounded(array: Array) -> Array:
    """To numbers that all formats here hold exactly: those of bfloat16 between 1/8 and 8 in size."""
    return (np.sign(array) * np.clip(np.abs(array), 0.125, 8)).astype(ml_dtypes.bfloat16).astype(np.float64)


def attend(mechanism: Any) -> tuple[Array, Array]:
    """Contexts (T, B, C) and alignments (T, B, S) in double precision; checks in which they came."""
    memory = mechanism.prepare(rounded(random_doubles(3, 5, UNITS)), ops.convert_to_tensor(MASK))
    previous, steps = mechanism.first_alignments(memory), []
    for query in rounded(random_doubles(STEPS, 3, UNITS, seed=1)):
        steps.append(mechanism.attend(ops.convert_to_tensor(query, mechanism.compute_dtype), memory, previous))
        previous = steps[-1].alignments
        assert {keras.backend.standardize_dtype(part.dtype) for part in steps[-1]} == {mechanism.compute_dtype}
    contexts, alignments = zip(*steps, strict=True)
    return doubles(contexts), doubles(alignments)


def doubles(tensors: Any) -> Array:
    return np.stack([as_numpy(ops.cast(tensor, "float64")) for tensor in tensors])


def step_of(layer: Any) -> float:
    """From 1 to the next number of the format in which a layer computes."""
    return float(ml_dtypes.finfo(layer.compute_dtype).eps)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_weights_sum_to_one_and_are_zero_at_padding(kind: str, dtype: str) -> None:
    mechanism = build(kind, dtype)
    contexts, alignments = attend(mechanism)
    step = step_of(mechanism)
    assert (alignments[:, ~MASK] == 0).all()
    assert (alignments >= 0).all()
    assert np.isfinite(contexts).all()
    sums = alignments.sum(axis=-1)
    assert (sums <= 1 + 2 * step).all()
    if mechanism.normalized:
        np.testing.assert_allclose(sums, 1, atol=2 * step)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [kind for kind in [*KINDS, *OTHERS] if kind not in HARD])
def test_answers_are_those_of_full_precision_but_for_rounding(kind: str, dtype: str) -> None:
    mechanism = build(kind, dtype)
    step = step_of(mechanism)
    for found, expected in zip(attend(mechanism), attend(build(kind, "float32")), strict=True):
        np.testing.assert_allclose(found, expected, atol=16 * step)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_a_sequence_of_queries_is_answered_alike(kind: str, dtype: str) -> None:
    mechanism = build(kind, dtype)
    queries = np.swapaxes(rounded(random_doubles(STEPS, 3, UNITS, seed=1)), 0, 1)
    values = rounded(random_doubles(3, 5, UNITS))
    found = SequenceAttention(mechanism)(queries, values, mask=ops.convert_to_tensor(MASK))
    assert {keras.backend.standardize_dtype(part.dtype) for part in found} == {mechanism.compute_dtype}
    for part, expected in zip(found, attend(mechanism), strict=True):
        np.testing.assert_allclose(np.swapaxes(doubles([part])[0], 0, 1), expected, atol=0.02)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [Attention, AdditiveAttention], ids=lambda layer: layer.__name__)
def test_keras_layers_give_padding_no_weight(layer: Any, dtype: str) -> None:
    attention = layer(use_scale=True, dtype=dtype)
    inputs = [ops.convert_to_tensor(random_doubles(3, 5, DEPTH, seed=seed), attention.compute_dtype) for seed in (0, 1)]
    _, weights = attention(inputs, mask=[None, ops.convert_to_tensor(MASK)], return_attention_scores=True)
    assert keras.backend.standardize_dtype(weights.dtype) == attention.compute_dtype
    weights = doubles([weights])[0]
    assert (np.swapaxes(weights, 1, 2)[~MASK] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=2 * step_of(attention))


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_bfloat16")
def test_a_wrapper_takes_the_policy_of_the_program() -> None:
    wrapper = make_wrapper_of_two("lstm", attention_layer_size=[3, 4])
    outputs, state = run(wrapper)
    arrays = keras.tree.flatten([*state])
    assert {keras.backend.standardize_dtype(array.dtype) for array in arrays} == {"bfloat16"}
    assert {weight.dtype for weight in wrapper.weights} == {"float32"}
    alignments = doubles([state.alignments[0]])[0]
    assert (alignments[~WRAPPER_MASK] == 0).all()
    np.testing.assert_allclose(alignments.sum(axis=-1), 1, atol=2 * step_of(wrapper))
    keras.config.set_dtype_policy("float32")
    expected, _ = run(make_wrapper_of_two("lstm", attention_layer_size=[3, 4]))
    np.testing.assert_allclose(outputs.astype(np.float64), expected, atol=16 * step_of(wrapper))
