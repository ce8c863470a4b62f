"""From scores to weights: hardmax is the one-hot of the first maximum, in every precision."""

from __future__ import annotations

from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from model_export.attention import BahdanauAttention, LuongAttention
from model_export.attention.probability import hardmax, mask_scores
from tests.model_export.attention.by_hand import DEPTH, MASK, UNITS, Array, random_doubles
from tests.model_export.tiny_models import as_numpy

DTYPES = ["float64", "float32", "float16", "bfloat16"]


def chosen(scores: Any, dtype: str = "float32") -> list[int]:
    """The position with all weight in each row of scores (B, S)."""
    weights = as_numpy(hardmax(ops.convert_to_tensor(np.asarray(scores), dtype))).astype(np.float32)
    assert ((weights == 0) | (weights == 1)).all()
    assert (weights.sum(axis=1) == 1).all()
    return weights.argmax(axis=1).tolist()


def first_maxima(scores: Array, dtype: str) -> list[int]:
    """tf.contrib's `one_hot(argmax(scores))`, of the scores as that format holds them."""
    return (
        scores.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype).astype(np.float64).argmax(axis=1).tolist()
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_the_maximum_is_chosen_in_every_precision(dtype: str, scale: float) -> None:
    scores = random_doubles(200, 7, scale=scale)
    assert chosen(scores, dtype) == first_maxima(scores, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_neighbours_of_a_16_bit_format_are_not_equal(dtype: str) -> None:
    numpy_type = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    for highest in (0.01, 1.0, 100.0):
        top = np.asarray(highest, dtype=numpy_type)
        below = np.nextafter(top, np.asarray(0, dtype=numpy_type))
        assert below < top
        assert chosen([[below, top, below]], dtype) == [1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_equal_scores_the_first_is_chosen(dtype: str) -> None:
    assert chosen([[0, 3, 3, 1, 3], [2, 2, 2, 2, 2], [-1, -4, -1, -4, -1]], dtype) == [1, 0, 0]


def test_what_rounding_has_parted_counts_as_equal() -> None:
    step = np.spacing(np.float32(5.0))
    assert chosen(np.array([[1.0, 5.0 - 10 * step, 5.0, 5.0 - step]], dtype=np.float32)) == [1]
    assert chosen(np.array([[1.0, 5.0 - 200 * step, 5.0, 5.0 - step]], dtype=np.float32)) == [2]


def test_small_scores_are_told_apart() -> None:
    assert chosen([[1e-6, 2e-6, 3e-6], [-3e-6, -2e-6, -1e-6]]) == [2, 2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_and_extreme_scores_leave_one_choice(dtype: str) -> None:
    highest = float(ml_dtypes.finfo(dtype).max)
    scores = [[0, np.inf, np.inf], [-np.inf, -np.inf, 0], [-highest, -highest, -1], [highest, 0, highest]]
    assert chosen(scores, dtype) == [1, 2, 2, 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_is_never_chosen(dtype: str) -> None:
    scores = ops.convert_to_tensor(random_doubles(3, 5) - 100 * MASK, dtype)
    weights = as_numpy(hardmax(mask_scores(scores, ops.convert_to_tensor(MASK)))).astype(np.float32)
    assert (weights[~MASK] == 0).all()
    assert (weights.sum(axis=1) == 1).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16", "float16", "mixed_float16"])
@pytest.mark.parametrize("mechanism_class", [BahdanauAttention, LuongAttention])
def test_a_mechanism_chooses_its_highest_score(mechanism_class: Any, dtype: str) -> None:
    mechanism = mechanism_class(UNITS, probability_fn="hardmax", dtype=dtype)
    memory = mechanism.prepare(random_doubles(3, 5, DEPTH), ops.convert_to_tensor(MASK))
    query = ops.convert_to_tensor(random_doubles(3, UNITS), mechanism.compute_dtype)
    alignments = mechanism.align(query, memory, None)
    assert keras.backend.standardize_dtype(alignments.dtype) == mechanism.compute_dtype
    scores = np.where(MASK, as_numpy(mechanism.score(query, memory.keys)).astype(np.float32), -np.inf)
    found = as_numpy(alignments).astype(np.float32)
    np.testing.assert_array_equal(found, np.eye(5)[scores.argmax(axis=1)])
