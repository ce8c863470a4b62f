"""Scans whose steps change variables."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from model_export.scan import scan_with_state
from tests.model_export.tiny_models import as_numpy


def add(carry: Any, inputs: Any) -> tuple[Any, Any]:
    return carry + inputs, carry + inputs


def test_without_variables_it_is_a_scan() -> None:
    carry, outputs = scan_with_state(add, ops.zeros(2), ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert as_numpy(carry).tolist() == [4, 6]
    assert as_numpy(outputs).tolist() == [[1, 2], [4, 6]]


def test_a_step_finds_the_variables_as_the_step_before_left_them() -> None:
    counter = keras.Variable(10.0, trainable=False)

    def count(carry: Any, inputs: Any) -> tuple[Any, Any]:
        counter.assign(counter + 1.0)
        return add(carry, inputs * counter.value)

    carry, outputs = scan_with_state(count, ops.zeros(()), ops.ones(3), [counter])
    assert as_numpy(outputs).tolist() == [11, 11 + 12, 11 + 12 + 13]
    assert float(carry) == 36
    assert float(counter.value) == 13


def draw(carry: Any, inputs: Any, seed: Any) -> tuple[Any, Any]:
    return add(carry * 0.0, inputs + keras.random.normal((), seed=seed))


def test_every_step_of_every_scan_draws_anew() -> None:
    seed, same = keras.random.SeedGenerator(1), keras.random.SeedGenerator(1)
    expected = [float(keras.random.normal((), seed=same)) for _ in range(6)]

    @tf.function(autograph=False)
    def draw_three() -> Any:
        return scan_with_state(lambda *args: draw(*args, seed), ops.zeros(()), ops.zeros(3), [seed.state])[1]

    drawn = [as_numpy(draw_three()) for _ in range(2)]
    np.testing.assert_allclose(np.concatenate(drawn), expected, atol=1e-6)
    assert len(set(expected)) == 6


def test_structures_and_gradients_pass_through() -> None:
    counter, factor = keras.Variable(0.0, trainable=False), keras.Variable(2.0)

    def advance(carry: dict[str, Any], inputs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        counter.assign(counter + 1.0)
        after = {"sum": carry["sum"] + factor * inputs, "last": inputs}
        return after, after

    with tf.GradientTape() as tape:
        carry, _ = scan_with_state(
            advance, {"sum": ops.zeros(()), "last": ops.zeros(())}, ops.convert_to_tensor([3.0, 4.0]), [counter]
        )
    assert {name: float(value) for name, value in carry.items()} == {"sum": 14, "last": 4}
    assert float(tape.gradient(carry["sum"], factor.value)) == 7


def test_an_error_leaves_the_variables_as_they_were() -> None:
    counter = keras.Variable(5.0, trainable=False)

    def fail(carry: Any, inputs: Any) -> tuple[Any, Any]:
        counter.assign(99.0)
        raise RuntimeError("in a step")

    with pytest.raises(RuntimeError, match="in a step"):
        scan_with_state(fail, ops.zeros(()), ops.ones(3), [counter])
    assert float(counter.value) == 5
