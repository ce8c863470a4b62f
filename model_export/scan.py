"""A scan whose steps may draw random numbers, or update other state of their layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

Advance = Callable[[Any, Any], tuple[Any, Any]]


def scan_with_state(advance: Advance, carry: Any, inputs: Any, variables: Sequence[Any] = ()) -> tuple[Any, Any]:
    """`keras.ops.scan`, with layers' variables handed from step to step.

    A step that assigns to a variable, as a draw from a `keras.random.SeedGenerator` does, would leave there a value
    that exists inside the loop only: on JAX every later use of the variable fails. So the variables travel with the
    carry, and get their last values after the loop. Without variables this is `keras.ops.scan`.

    Args:
        advance: `(carry, inputs of one step) -> (next carry, outputs of the step)`; the outputs must have the
            structure, shapes and dtypes of the carry, which is what Keras can stack on TensorFlow.
        carry: arrays in any nesting, what the first step gets.
        inputs: arrays (steps, ...) in any nesting.
        variables: the Keras variables that steps assign to, such as `layer.non_trainable_variables`.

    Returns:
        The last carry, and the outputs of all steps stacked along axis 0.
    """
    if not variables:
        return ops.scan(advance, carry, inputs)

    def advance_all(both: tuple[Any, list[Any]], step_inputs: Any) -> tuple[Any, Any]:
        carry, values = both
        _assign(variables, values)
        carry, outputs = advance(carry, step_inputs)
        values = _read(variables)
        return (carry, values), (outputs, values)

    values = _read(variables)
    try:
        (carry, values), (outputs, _) = ops.scan(advance_all, (carry, values), inputs)
    finally:  # after an error too: the values from before the loop, then
        _assign(variables, values)
    return carry, outputs


def _read(variables: Sequence[Any]) -> list[Any]:
    # Copies: on TensorFlow and torch `value` is the variable itself and changes with it.
    return [ops.copy(variable.value) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
