"""The arrays that one decoder step hands to the next, as a flat list: their names, order, dimensions and bounds.

Training keeps them in nested structures; graphs, manifests and search know a list of named arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_export.activation_bounds import ATTENTION_OUTPUT
from model_export.attention import Memory
from model_export.attention_config import CustomAttentionConfig
from model_export.decoder import STATES_PER_CELL, Decoder, DecoderState

VALUES = "memory_values"
CELL_STATE_NAMES = {"gru": ("hidden",), "lstm": ("hidden", "cell")}


class DecoderTensors:
    """Names the decoder's arrays and takes them apart and together.

    Args:
        decoder: built or not.

    Attributes:
        memory_names: per mechanism its keys, where it has any, and the values, which all mechanisms share.
        state_names: of the cells' states, the attention vector, and the alignments of mechanisms that read them.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._config = decoder.config
        self._has_keys = [mechanism.has_keys for mechanism in decoder.mechanisms]
        self._carries = [mechanism.carries_alignments for mechanism in decoder.mechanisms]
        self._proven = not any(isinstance(each, CustomAttentionConfig) for each in self._config.attention)
        indices = range(len(decoder.mechanisms))
        self._key_names = [_numbered("memory_keys", index) for index in indices if self._has_keys[index]]
        self._alignment_names = [_numbered("alignments", index) for index in indices if self._carries[index]]
        self.memory_names = (*self._key_names, VALUES)
        self.state_names = (*self._cell_names(), "attention_vector", *self._alignment_names)

    def _cell_names(self) -> list[str]:
        parts = CELL_STATE_NAMES[self._config.cell]
        return [f"{part}_{layer}" for layer in range(self._config.decoder_layers) for part in parts]

    @property
    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """Names of the dimensions that vary, per array, from the first on."""
        return {
            **dict.fromkeys(self.memory_names, ("batch", "source_len")),
            **dict.fromkeys(self.state_names, ("batch",)),
            **dict.fromkeys(self._alignment_names, ("batch", "source_len")),
        }

    @property
    def bounds(self) -> dict[str, float]:
        """Absolute bounds of the arrays.

        A GRU's state is an average of earlier states and tanh outputs, an LSTM's output a product of a sigmoid and a
        tanh, the attention vector a tanh; memory values are outputs of such layers, or sums of them; alignments are
        shares, if this package computes them. An LSTM's cell state has no bound, nor have keys.
        """
        bounded = [name for name in self.state_names if not name.startswith("cell")]
        if self._proven:
            bounded.append(ATTENTION_OUTPUT)
        else:
            bounded = [name for name in bounded if name not in self._alignment_names]
        return {VALUES: self._config.memory_bound, **dict.fromkeys(bounded, 1.0)}

    def flatten_memories(self, memories: Sequence[Memory]) -> list[Any]:
        """The arrays of `memory_names`."""
        keys = [memory.keys for memory, has_keys in zip(memories, self._has_keys, strict=True) if has_keys]
        return [*keys, memories[0].values]

    def unflatten_memories(self, arrays: Sequence[Any], mask: Any) -> tuple[Memory, ...]:
        """Undoes `flatten_memories`; `mask` is (batch, source_len) bool."""
        *keys, values = arrays
        remaining = iter(keys)
        return tuple(Memory(next(remaining) if has_keys else values, values, mask) for has_keys in self._has_keys)

    def flatten_state(self, state: DecoderState) -> list[Any]:
        """The arrays of `state_names`; alignments that no step reads are an output only."""
        carried = [array for array, carries in zip(state.alignments, self._carries, strict=True) if carries]
        return [*state.cells, state.attention, *carried]

    def unflatten_state(self, arrays: Sequence[Any]) -> DecoderState:
        """Undoes `flatten_state`; alignments that no step reads are None then."""
        count = STATES_PER_CELL[self._config.cell] * self._config.decoder_layers
        remaining = iter(arrays[count + 1 :])
        alignments = tuple(next(remaining) if carries else None for carries in self._carries)
        return DecoderState(tuple(arrays[:count]), arrays[count], alignments)


def _numbered(name: str, index: int) -> str:
    """The primary mechanism's arrays carry the plain name."""
    return f"{name}_{index}" if index else name
