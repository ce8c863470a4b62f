"""The decoder: one step of recurrent cells and attention, and the loop that training runs over it."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from model_export.attention import Memory
from model_export.attention.custom import check_mechanism
from model_export.attention.registry import make_mechanism
from model_export.attention_config import CustomAttentionConfig
from model_export.attention_wrapper import AttentionWrapper, AttentionWrapperState
from model_export.config import ModelConfig
from model_export.scan import scan_with_state

CELLS = {"gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}
STATES_PER_CELL = {"gru": 1, "lstm": 2}


class DecoderState(NamedTuple):
    """What one step hands to the next.

    Attributes:
        cells: state arrays (batch, units) of the recurrent cells, lowest layer first: GRU h; LSTM h, c.
        attention: (batch, attention_vector_dim), the last attention vector: the step's output, fed to the next step.
        alignments: per attention mechanism (batch, source_len), its weights of the last step, the aligner's first.
    """

    cells: tuple[Any, ...]
    attention: Any
    alignments: tuple[Any, ...]


class Decoder(keras.layers.Layer):
    """Recurrent cells behind an `AttentionWrapper`, started from the mean of the encoder's outputs.

    The new cell output queries the memory; cell output and context make the attention vector, which predicts the
    token and is fed back as input of the next step. Each of several mechanisms gives its own part of that vector. An
    aligner, which gives none, is queried with the same cell output.

    Source: Luong et al. 2015 (arXiv:1508.04025), equation 5 for the attention vector, section 3.3 ("input feeding").

    Args:
        config: the architecture; uses cell, units, decoder_layers, attention, aligner and the widths.

    Attributes:
        mechanisms: all of them in the order of their alignments: the aligner, if there is one, and then those that
            give contexts.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA, which Keras would take on a GPU, has no gradients of Keras's scan there
        self.config = config
        cells = [CELLS[config.cell](config.units, name=f"cell_{index}") for index in range(config.decoder_layers)]
        self._cell = cells[0] if len(cells) == 1 else keras.layers.StackedRNNCells(cells, name="cells")
        self._aligners = [make_mechanism(config.aligner, config.key_dim, name="aligner")] if config.aligner else []
        contexts = [
            make_mechanism(attention, config.key_dim, name=f"mechanism_{index}")
            for index, attention in enumerate(config.attention)
        ]
        self.mechanisms = [*self._aligners, *contexts]
        self.wrapper = AttentionWrapper(
            self._cell,
            contexts,
            attention_layer=[
                keras.layers.Dense(size, use_bias=False, activation="tanh", name=f"attention_layer_{index}")
                for index, size in enumerate(config.attention_layer_sizes)
            ],
            name="attention_wrapper",
        )
        self.bridges = [
            keras.layers.Dense(config.units, activation="tanh", name=f"bridge_{index}") for index in range(len(cells))
        ]

    def build(self) -> None:
        """Creates the weights.

        Raises:
            ConfigError: an attention class of the user's own does not keep the protocol.
        """
        config = self.config
        self.wrapper.build_for(config.embedding_dim, memory_depths=(config.units,) * len(config.attention))
        for aligner in self._aligners:
            aligner.build_for(config.units, config.units)
        self.check_own_attention()
        for bridge in self.bridges:
            bridge.build((None, config.units))
        self.built = True

    def check_own_attention(self) -> None:
        """Checks that attention classes of the user's own keep the protocol, with the weights that they have now.

        Raises:
            ConfigError: one does not.
        """
        units = self.config.units
        for mechanism, attention in zip(self.wrapper.mechanisms, self.config.attention, strict=True):
            if isinstance(attention, CustomAttentionConfig):
                check_mechanism(mechanism, query_depth=units, memory_depth=units)

    def prepare(self, encoded: Any, mask: Any) -> tuple[tuple[Memory, ...], DecoderState]:
        """Projects the memory for each mechanism and derives the first state from the mean of the encoder's outputs.

        Args:
            encoded: (batch, source_len, units), zero at padding.
            mask: (batch, source_len) bool, at least one True per row.
        """
        memories = tuple(mechanism.prepare(encoded, mask) for mechanism in self.mechanisms)
        lengths = ops.sum(ops.cast(mask, encoded.dtype), axis=1, keepdims=True)
        mean = ops.sum(encoded, axis=1) / lengths  # (batch, units)
        cells: list[Any] = []
        for bridge in self.bridges:
            hidden = bridge(mean)
            cells += [hidden, *[ops.zeros_like(hidden)] * (STATES_PER_CELL[self.config.cell] - 1)]
        attention = ops.zeros((ops.shape(mean)[0], self.config.attention_vector_dim), dtype=mean.dtype)
        alignments = tuple(
            mechanism.first_alignments(memory) for mechanism, memory in zip(self.mechanisms, memories, strict=True)
        )
        return memories, DecoderState(tuple(cells), attention, alignments)

    def step(
        self, embedded: Any, state: DecoderState, memories: tuple[Memory, ...], training: bool = False
    ) -> DecoderState:
        """Advances every row by one token; training and the exported graph both run this.

        Args:
            embedded: (batch, embedding_dim), the embedding of the token produced last.
            state: as `prepare` or the step before returned it.
            memories: as `prepare` returned them.
            training: whether random noise in the mechanisms acts.
        """
        count = len(self._aligners)
        after = self._advance(embedded, state._replace(alignments=state.alignments[count:]), memories[count:], training)
        aligned = [self._align(after, memory) for memory in memories[:count]]
        return after._replace(alignments=(*aligned, *after.alignments))

    def _advance(
        self, embedded: Any, state: DecoderState, memories: tuple[Memory, ...], training: bool
    ) -> DecoderState:
        """A step without aligner: `memories` and alignments of the state are those of the other mechanisms."""
        before = AttentionWrapperState(
            cell_state=keras.tree.pack_sequence_as(self._cell.state_size, list(state.cells)),
            attention=state.attention,
            alignments=state.alignments,
            alignment_history=(),
            attention_state=state.alignments,
        )
        _, after = self.wrapper.step(embedded, before, memories, training=training)
        return DecoderState(tuple(keras.tree.flatten(after.cell_state)), after.attention, tuple(after.alignments))

    def _align(self, state: DecoderState, memory: Memory) -> Any:
        """The aligner's weights (batch, source_len) after a step, whose cell output is its query."""
        query = state.cells[-STATES_PER_CELL[self.config.cell]]
        return self._aligners[0].attend(query, memory, None).alignments

    def call(
        self, embedded: Any, state: DecoderState, memories: tuple[Memory, ...], training: bool = False
    ) -> DecoderState:
        """Runs `step` over a whole target sequence (teacher forcing).

        Args:
            embedded: (batch, target_len, embedding_dim).
            state, memories, training: as for `step`.

        Returns:
            The states of all steps, stacked along axis 1: attention (batch, target_len, attention_vector_dim),
            alignments (batch, target_len, source_len), and so on.
        """

        def advance(carry: DecoderState, inputs: Any) -> tuple[DecoderState, DecoderState]:
            next_state = self.step(inputs, carry, memories, training)
            return next_state, next_state  # Keras on TensorFlow stacks only what is shaped like the carry

        variables = [variable for mechanism in self.mechanisms for variable in mechanism.non_trainable_variables]
        _, states = scan_with_state(advance, state, ops.swapaxes(embedded, 0, 1), variables)
        return keras.tree.map_structure(lambda array: ops.swapaxes(array, 0, 1), states)
