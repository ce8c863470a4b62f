"""Small AttentionWrappers with random weights, and inputs and memories for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from model_export.attention import BahdanauAttention, LuongMonotonicAttention
from model_export.attention_wrapper import AttentionWrapper, AttentionWrapperState
from tests.model_export.tiny_models import as_numpy, random_array, randomize

INPUTS = random_array(4, 2, 5)  # four steps, two sentences
MEMORY = random_array(2, 6, 3, seed=1)
LENGTHS = np.array([6, 2], dtype=np.int32)
MASK = np.arange(6) < LENGTHS[:, None]
OTHER_MEMORY = random_array(2, 4, 8, seed=2)
WIDTH = 7  # of the cells

CELLS: dict[str, Callable[[], Any]] = {
    "simple": lambda: keras.layers.SimpleRNNCell(WIDTH),
    "gru": lambda: keras.layers.GRUCell(WIDTH),
    "lstm": lambda: keras.layers.LSTMCell(WIDTH),
    "stacked": lambda: keras.layers.StackedRNNCells([keras.layers.LSTMCell(9), keras.layers.GRUCell(WIDTH)]),
    "stack of one": lambda: keras.layers.StackedRNNCells([keras.layers.GRUCell(WIDTH)]),
}


def make_wrapper(cell: str = "gru", **options: Any) -> AttentionWrapper:
    """One additive mechanism that remembers MEMORY."""
    return prepared(AttentionWrapper(CELLS[cell](), BahdanauAttention(4), **options))


def make_wrapper_of_two(cell: str = "gru", **options: Any) -> AttentionWrapper:
    """An additive mechanism over MEMORY and a monotonic one over OTHER_MEMORY."""
    mechanisms = [BahdanauAttention(4), LuongMonotonicAttention(WIDTH)]
    return prepared(AttentionWrapper(CELLS[cell](), mechanisms, **options))


def prepared(wrapper: AttentionWrapper) -> AttentionWrapper:
    """Draws the weights, and sets up the memories."""
    depths = [MEMORY.shape[-1], OTHER_MEMORY.shape[-1]][: len(wrapper.mechanisms)]
    wrapper.build_for(INPUTS.shape[-1], depths)
    randomize(wrapper.weights)
    set_up_memories(wrapper)
    return wrapper


def set_up_memories(wrapper: AttentionWrapper) -> None:
    wrapper.mechanisms[0].setup_memory(MEMORY, LENGTHS)
    for mechanism in wrapper.mechanisms[1:]:
        mechanism.setup_memory(OTHER_MEMORY)


def run(wrapper: AttentionWrapper) -> tuple[npt.NDArray[Any], AttentionWrapperState]:
    """Outputs (steps, batch, width) and the last state."""
    state = wrapper.get_initial_state(batch_size=2)
    outputs = []
    for inputs in INPUTS:
        output, state = wrapper(inputs, state)
        outputs.append(as_numpy(output))
    return np.stack(outputs), state


def close(found: Any, expected: Any) -> None:
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(as_numpy(one), as_numpy(other), atol=1e-5)
