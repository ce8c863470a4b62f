"""The decoder: one step of recurrent cells and attention, and the loop that training runs over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from model_export.attention import MECHANISMS, Memory
from model_export.config import ModelConfig

CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}
STATES_PER_CELL = {"gru": 1, "lstm": 2}


class DecoderState(NamedTuple):
    """What one step hands to the next.

    Attributes:
        cells: per decoder layer its state arrays (batch, units): GRU h; LSTM h, c.
        attention: (batch, attention_vector_dim), the last attention vector: the step's output, fed to the next step.
        alignments: (batch, source_len), the attention weights of the last step.
        mechanism: the attention mechanism's own state arrays.
    """

    cells: tuple[tuple[Any, ...], ...]
    attention: Any
    alignments: Any
    mechanism: tuple[Any, ...]


def state_names(config: ModelConfig) -> list[str]:
    """Names of the arrays that one step hands to the next, in the order of `flatten_state`."""
    parts = ("hidden",) if config.cell == "gru" else ("hidden", "cell")
    names = [f"{part}_{layer}" for layer in range(config.decoder_layers) for part in parts]
    return [*names, "attention_vector"]


def flatten_state(state: DecoderState) -> list[Any]:
    """The arrays that the next step needs; alignments are an output only."""
    return [*(array for cell in state.cells for array in cell), state.attention, *state.mechanism]


def unflatten_state(config: ModelConfig, arrays: Sequence[Any]) -> DecoderState:
    """Undoes `flatten_state`; `alignments` is None then, which `Decoder.step` does not read."""
    per_cell = STATES_PER_CELL[config.cell]
    count = per_cell * config.decoder_layers
    cells = tuple(tuple(arrays[start : start + per_cell]) for start in range(0, count, per_cell))
    return DecoderState(cells, arrays[count], None, tuple(arrays[count + 1 :]))


class Decoder(keras.layers.Layer):
    """Recurrent cells with attention, in the order of tfa's AttentionWrapper.

    The new cell output queries the memory; cell output and context make the attention vector, which predicts the
    token and is fed back as input of the next step.

    Source: Luong et al. 2015 (arXiv:1508.04025), equation 5 for the attention vector, section 3.3 ("input feeding").

    Args:
        config: the architecture; uses cell, units, decoder_layers, attention and the widths.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.cells = [CELLS[config.cell](config.units, name=f"cell_{i}") for i in range(config.decoder_layers)]
        self.mechanism = MECHANISMS[config.attention](config.key_dim, name="attention_mechanism")
        self.attention_layer = keras.layers.Dense(
            config.attention_vector_dim, use_bias=False, activation="tanh", name="attention_layer"
        )
        self.bridges = [
            keras.layers.Dense(config.units, activation="tanh", name=f"bridge_{i}") for i in range(len(self.cells))
        ]

    def build(self) -> None:
        """Creates the weights."""
        config = self.config
        depth = config.embedding_dim + config.attention_vector_dim
        for cell, bridge in zip(self.cells, self.bridges, strict=True):
            cell.build((None, depth))
            bridge.build((None, config.units))
            depth = config.units
        self.mechanism.build(config.units, config.units)
        self.attention_layer.build((None, 2 * config.units))
        self.built = True

    def prepare(self, encoded: Any, mask: Any) -> tuple[Memory, DecoderState]:
        """Projects the memory and derives the first state from the mean of the encoder's outputs.

        Args:
            encoded: (batch, source_len, units), zero at padding.
            mask: (batch, source_len) bool.
        """
        memory = self.mechanism.project_memory(encoded, mask)
        lengths = ops.sum(ops.cast(mask, encoded.dtype), axis=1, keepdims=True)
        mean = ops.sum(encoded, axis=1) / lengths  # (batch, units)
        cells = []
        for bridge in self.bridges:
            hidden = bridge(mean)
            rest = [ops.zeros_like(hidden)] * (STATES_PER_CELL[self.config.cell] - 1)
            cells.append((hidden, *rest))
        attention = ops.zeros((ops.shape(mean)[0], self.config.attention_vector_dim), dtype=mean.dtype)
        alignments = ops.zeros_like(memory.values[:, :, 0])
        return memory, DecoderState(tuple(cells), attention, alignments, self.mechanism.initial_state(memory))

    def step(self, embedded: Any, state: DecoderState, memory: Memory) -> DecoderState:
        """Advances every row by one token; training and the exported graph both run this.

        Args:
            embedded: (batch, embedding_dim), the embedding of the token produced last.
            state: as `prepare` or the step before returned it.
            memory: as `prepare` returned it.
        """
        # 1. New cell states from the last token and the last attention vector.
        hidden = ops.concatenate([embedded, state.attention], axis=-1)
        cells = []
        for cell, cell_state in zip(self.cells, state.cells, strict=True):
            hidden, new_state = cell(hidden, list(cell_state))
            cells.append(tuple(new_state))
        # 2. Attend with the new output as the query.
        context, alignments, mechanism = self.mechanism(hidden, memory, state.mechanism)
        # 3. Attention vector from output and context.
        attention = self.attention_layer(ops.concatenate([hidden, context], axis=-1))
        return DecoderState(tuple(cells), attention, alignments, mechanism)

    def call(self, embedded: Any, state: DecoderState, memory: Memory) -> DecoderState:
        """Runs `step` over a whole target sequence (teacher forcing).

        Args:
            embedded: (batch, target_len, embedding_dim).

        Returns:
            The states of all steps, stacked along axis 1: attention (batch, target_len, attention_vector_dim),
            alignments (batch, target_len, source_len), and so on.
        """

        def advance(carry: DecoderState, inputs: Any) -> tuple[DecoderState, DecoderState]:
            next_state = self.step(inputs, carry, memory)
            return next_state, next_state  # Keras on TensorFlow stacks only what is shaped like the carry

        _, states = ops.scan(advance, state, ops.swapaxes(embedded, 0, 1))
        return keras.tree.map_structure(lambda array: ops.swapaxes(array, 0, 1), states)
