"""What attention reads: the encoder's output as one mechanism has prepared it."""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Memory(NamedTuple):
    """What attention reads, prepared once per sentence.

    Shapes: B batch, S source length, D memory depth, U attention units.

    Attributes:
        keys: (B, S, U) float32, what queries are compared with; the values themselves if a mechanism projects none.
        values: (B, S, D) float32, the memory itself, zero at padding.
        mask: (B, S) bool, True = real token; at least one True per row (a row without one gets no weight).
    """

    keys: Any
    values: Any
    mask: Any


class _CarriedMask(keras.layers.Layer):
    """Returns the mask that its input carries, which Keras hands to a layer's `call`, and on JAX to nothing else."""

    def __init__(self) -> None:
        super().__init__(name="carried_mask", autocast=False)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return mask

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """A mask carries no mask."""


def carried_mask(tensor: Any) -> Any:
    """The Keras mask that a tensor (B, S, ...) carries, as `Masking` or an `Embedding` gave it; None for none."""
    if not ops.is_tensor(tensor):  # an array, or a symbolic tensor, which has it as its attribute on every backend
        return getattr(tensor, "_keras_mask", None)
    return _CarriedMask()(tensor)


def read_memory(memory: Any, lengths: Any = None, mask: Any = None) -> tuple[Any, Any]:
    """Reads what a user calls a memory, with everything that says which of it is real.

    Args:
        memory: (B, S, D), which may carry a Keras mask.
        lengths: (B,) int32, how many entries of each row are real.
        mask: (B, S) bool, True = real.

    Returns:
        The memory (B, S, D) as a tensor and its mask (B, S) bool: real is what `lengths`, `mask` and the Keras mask all
        say to be real. None as mask if there is none of them.

    Raises:
        ValueError: a shape is another; an unknown dimension agrees with any.
    """
    masks = [carried_mask(memory), mask]
    memory = ops.convert_to_tensor(memory)
    if len(memory.shape) != 3 or memory.shape[-1] is None:
        raise ValueError(f"memory: expected (batch, source_len, depth) with a known depth, not {tuple(memory.shape)}")
    if lengths is not None:
        lengths = ops.convert_to_tensor(lengths)
        check_shape("memory_sequence_length", lengths, memory.shape[:1])
        masks.append(mask_of_lengths(lengths, ops.shape(memory)[1]))
    given = [ops.cast(ops.convert_to_tensor(each), "bool") for each in masks if each is not None]
    for each in given:
        check_shape("memory_mask", each, memory.shape[:2])
    return memory, functools.reduce(ops.logical_and, given) if given else None


def check_shape(name: str, tensor: Any, expected: Any) -> None:
    """Compares a tensor's shape with what the memory leads to expect; an unknown dimension agrees with any.

    Raises:
        ValueError: they differ.
    """
    found, expected = tuple(tensor.shape), tuple(expected)
    agree = (None in pair or pair[0] == pair[1] for pair in zip(found, expected, strict=False))
    if len(found) != len(expected) or not all(agree):
        raise ValueError(f"{name}: expected shape {expected}, as the memory has it, not {found}")


def mask_of_lengths(lengths: Any, source_len: Any) -> Any:
    """The mask (B, S) of `lengths` (B,) int32; a length above `source_len` counts as `source_len`."""
    return ops.arange(source_len, dtype="int32")[None, :] < ops.cast(lengths, "int32")[:, None]


def refuse_empty_sentences(mask: Any, given_as: str = "memory") -> None:
    """Refuses a mask (B, S) with a row that holds no token: there would be nothing to attend to.

    A tensor without a value yet, in a graph being traced, passes. `given_as` names in the error what the mask is of.

    Raises:
        ValueError: a row is all False.
    """
    try:
        with warnings.catch_warnings():  # numpy finds fault with the way TensorFlow's tensors without a value refuse
            warnings.simplefilter("ignore", DeprecationWarning)
            tokens = ops.convert_to_numpy(mask).sum(axis=-1)
    except (TypeError, ValueError, NotImplementedError):  # how the backends say that there is no value yet
        return
    if not tokens.all():
        empty = int(np.argmin(tokens))
        raise ValueError(f"{given_as}: sentence {empty} has length 0; attention needs at least one token")
