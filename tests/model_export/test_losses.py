"""Losses against their definitions, with every probability written out."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model_export.losses import LabelSmoothedCrossEntropy, negative_log_likelihood
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array

LOGITS = 3 * random_array(2, 3, 5)
LABELS = np.array([[4, 0, 2], [1, 3, 0]], dtype=np.int32)
WEIGHTS = np.array([[1, 1, 1], [1, 1, 0]], dtype=np.float32)
JAX_PROBE = """
import sys, jax, numpy
from model_export.losses import LabelSmoothedCrossEntropy
given = numpy.load(sys.argv[1])
def loss(logits):
    return LabelSmoothedCrossEntropy(0.1)(given["labels"], logits, sample_weight=given["weights"])
numpy.save(sys.argv[2], jax.jit(jax.grad(loss))(given["logits"]))
"""


def smoothed_by_hand(smoothing: float) -> FloatArray:
    """-sum of target probability times log-probability, over the whole vocabulary."""
    log_probs = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True))
    targets = (1 - smoothing) * np.eye(5)[LABELS] + smoothing / 5
    return np.asarray(-(targets * log_probs).sum(axis=-1), dtype=np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_closed_form_equals_the_explicit_one(smoothing: float) -> None:
    losses = as_numpy(LabelSmoothedCrossEntropy(smoothing).call(LABELS, LOGITS))
    np.testing.assert_allclose(losses, smoothed_by_hand(smoothing), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weights_take_padding_out_of_the_mean(smoothing: float) -> None:
    loss = float(LabelSmoothedCrossEntropy(smoothing)(LABELS, LOGITS, sample_weight=WEIGHTS))
    assert loss == pytest.approx(smoothed_by_hand(smoothing).ravel()[:5].mean(), rel=1e-5)


def gradient_by_hand(smoothing: float) -> FloatArray:
    """What the probabilities lack of their targets, weighted."""
    probabilities = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
    targets = (1 - smoothing) * np.eye(5)[LABELS] + smoothing / 5
    return np.asarray((probabilities - targets) * WEIGHTS[..., None] / WEIGHTS.sum(), dtype=np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_equals_that_of_the_explicit_form(smoothing: float) -> None:
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = LabelSmoothedCrossEntropy(smoothing)(LABELS, logits, sample_weight=WEIGHTS)
    np.testing.assert_allclose(as_numpy(tape.gradient(loss, logits)), gradient_by_hand(smoothing), atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_dtypes_have_a_gradient_of_their_own(dtype: str) -> None:
    logits = tf.cast(LOGITS, dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(LabelSmoothedCrossEntropy(0.1).call(LABELS, logits) * tf.cast(WEIGHTS, dtype))
    gradient = tape.gradient(loss, logits)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(tf.cast(gradient / WEIGHTS.sum(), "float32"), gradient_by_hand(0.1), atol=4e-3)


def test_the_gradient_on_jax_is_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", logits=LOGITS, labels=LABELS, weights=WEIGHTS)
    subprocess.run(
        [sys.executable, "-c", JAX_PROBE, tmp_path / "given.npz", tmp_path / "gradient.npy"],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    np.testing.assert_allclose(np.load(tmp_path / "gradient.npy"), gradient_by_hand(0.1), atol=1e-6)


def test_even_odds_cost_the_logarithm_of_the_vocabulary() -> None:
    even = np.zeros((1, 2, 5), dtype=np.float32)
    losses = as_numpy(LabelSmoothedCrossEntropy(0.1).call(LABELS[:1, :2], even))
    np.testing.assert_allclose(losses, math.log(5), rtol=1e-6)


def test_the_likelihood_is_not_smoothed() -> None:
    np.testing.assert_allclose(as_numpy(negative_log_likelihood(LABELS, LOGITS)), smoothed_by_hand(0.0), rtol=1e-5)


def test_extreme_logits_stay_finite() -> None:
    extreme = np.array([[[1e4, -1e4, 0, 0, 0]]], dtype=np.float32)
    assert float(LabelSmoothedCrossEntropy(0.0)(np.array([[0]]), extreme)) == pytest.approx(0.0, abs=1e-3)
    assert float(LabelSmoothedCrossEntropy(0.0)(np.array([[1]]), extreme)) == pytest.approx(2e4)
