"""What attention reads: the encoder's output as one mechanism has prepared it."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Memory(NamedTuple):
    """What attention reads, prepared once per sentence.

    Shapes: B batch, S source length, D memory depth, U attention units.

    Attributes:
        keys: (B, S, U) float32, what queries are compared with; the values themselves if a mechanism projects none.
        values: (B, S, D) float32, the memory itself, zero at padding.
        mask: (B, S) bool, True = real token; at least one True per row.
    """

    keys: Any
    values: Any
    mask: Any


def mask_of_lengths(lengths: Any, source_len: Any) -> Any:
    """The mask (B, S) of `lengths` (B,) int32; a length above `source_len` counts as `source_len`."""
    return ops.arange(source_len, dtype="int32")[None, :] < ops.cast(lengths, "int32")[:, None]


def refuse_empty_sentences(mask: Any) -> None:
    """Refuses a mask (B, S) with a row that holds no token: there would be nothing to attend to.

    A tensor without a value yet, in a graph being traced, passes.

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
        raise ValueError(f"memory: sentence {int(np.argmin(tokens))} has length 0; attention needs at least one token")
