"""The base of all attention mechanisms: a pure core, and the stateful form of tfa.seq2seq as a thin layer on it.

The core holds weights only: `prepare` projects the memory once per sentence, `attend` answers one query, and both get
everything they read as arguments. Decoder, wrapper and export use nothing else. The original's form remembers one
memory (`setup_memory`) and answers `mechanism([query, state])` from it; in models of Keras's functional style
`SequenceAttention` takes its place.

Shapes: B batch, S source length, D memory depth, Q query depth, U attention units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from model_export.attention.memory import Memory, check_shape, read_memory, refuse_empty_sentences

NOT_FUNCTIONAL = "cannot remember a symbolic memory; in a functional model use SequenceAttention"


class Attended(NamedTuple):
    """What one query got.

    Attributes:
        context: (B, D), the values summed under the weights.
        alignments: (B, S), the weights; exactly 0 at padding.
    """

    context: Any
    alignments: Any


class AttentionMechanism(keras.layers.Layer):
    """Base of all mechanisms; a subclass gives `align`, and `project_keys` if it has keys.

    Class attributes tell what a subclass is like:
        normalized: whether every row of alignments sums to 1.
        carries_alignments: whether a step reads the alignments of the step before.
        has_keys: whether `prepare` projects keys; otherwise the keys are the values.
        allow_loop: whether the exported step may hold a loop.

    Args:
        memory: (B, S, D), remembered as by `setup_memory`: the mechanisms here prepare it in their constructors, with
            the weights of that moment. A subclass calls `prepare_given_memory` when it has its weights; otherwise that
            waits for the first use. A memory is state: neither `get_config` nor a saved model holds it, and what is
            made from them has none until `setup_memory`.
        memory_sequence_length: (B,) int32, how many entries of each row of `memory` are real.

    Raises:
        ValueError: see `setup_memory`.
    """

    normalized = True
    carries_alignments = False
    has_keys = True
    allow_loop = False

    def __init__(self, memory: Any = None, memory_sequence_length: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True  # `call` takes the mask that a Keras tensor carries
        # A subclass has no weights to prepare a memory with before its own constructor has run.
        self._unprepared = None if memory is None else self._read(memory, memory_sequence_length)
        self._memory: Memory | None = None
        self._depths: dict[str, int] = {}

    # --- the pure core ---

    def build_for(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        """Creates those weights whose shapes depend on Q or D; None leaves them to the first use."""
        depths = {"query_depth": query_depth, "memory_depth": memory_depth}
        self._depths.update({name: int(depth) for name, depth in depths.items() if depth is not None})
        self.built = True

    def prepare(self, memory: Any, mask: Any = None) -> Memory:
        """Prepares a memory for queries.

        Args:
            memory: (B, S, D), finite also at padding. A Keras mask that it carries is not read.
            mask: (B, S) bool, True = real, at least one per row; None if all of it is real.

        Raises:
            ValueError: the mask has another shape, or a sentence has no real entry. The latter is seen only where
                values are known; in a graph, as in `fit` and `predict`, such a sentence gets no weight at all.
        """
        memory = ops.convert_to_tensor(memory, dtype=self.compute_dtype)
        if mask is None:
            mask = ops.ones(ops.shape(memory)[:2], dtype="bool")
        check_shape(f"{self.name}: mask", mask, memory.shape[:2])
        refuse_empty_sentences(mask, f"{self.name}: memory")
        values = memory * ops.cast(mask, memory.dtype)[:, :, None]
        return Memory(self.project_keys(values), values, mask)

    def project_keys(self, values: Any) -> Any:
        """The keys (B, S, U) of `values` (B, S, D); without `has_keys`, the values themselves."""
        return values

    def first_alignments(self, memory: Memory) -> Any:
        """What the first step takes for the alignments before it, (B, S)."""
        return ops.zeros_like(memory.values[:, :, 0])

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        """Compares a query with the memory.

        Args:
            query: (B, Q).
            memory: as `prepare` returned it.
            previous: (B, S), the alignments of the step before; read only if `carries_alignments`.
            training: whether random noise acts.

        Returns:
            Alignments (B, S), exactly 0 at padding.
        """
        raise NotImplementedError

    def attend(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Attended:
        """Attends once; arguments as `align`."""
        alignments = self.align(query, memory, previous, training=training)
        context = ops.squeeze(ops.matmul(alignments[:, None, :], memory.values), axis=1)
        return Attended(context, alignments)

    def context_depth(self, memory_depth: int) -> int:
        """Depth of the context over a memory of depth D."""
        return memory_depth

    # --- the original's form ---

    def setup_memory(self, memory: Any, memory_sequence_length: Any = None, memory_mask: Any = None) -> None:
        """Remembers `memory` (B, S, D) for the queries that follow; forgets the one before with its mask.

        What a Keras mask on `memory` calls padding stays padding, whatever lengths or mask are given besides.

        Args:
            memory: the encoder's output.
            memory_sequence_length: (B,) int32, at least 1 each; real entries come first.
            memory_mask: (B, S) bool instead, True = real.

        Raises:
            ValueError: both are given, a shape is another, a sentence has no real entry (seen only where values are
                known, not while a graph is traced), or the memory is a symbolic tensor of the functional style.
        """
        self._remember(*self._read(memory, memory_sequence_length, memory_mask))

    def prepare_given_memory(self) -> None:
        """Prepares the memory that the constructor was given, if there is one; needs the weights for keys."""
        if self._unprepared is not None:
            self._remember(*self._unprepared)

    def _read(self, memory: Any, lengths: Any, mask: Any = None) -> tuple[Any, Any]:
        """The memory and its mask, None for none; raises what `setup_memory` says."""
        if lengths is not None and mask is not None:
            raise ValueError(f"{self.name}: give memory_sequence_length or memory_mask, not both")
        if isinstance(memory, keras.KerasTensor):
            raise ValueError(f"{self.name}: {NOT_FUNCTIONAL}")
        try:
            return read_memory(memory, lengths, mask)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def _remember(self, memory: Any, mask: Any) -> None:
        self.build_for(memory_depth=memory.shape[-1])
        self._memory = self.prepare(memory, mask)
        self._unprepared = None

    @property
    def memory_initialized(self) -> bool:
        """Whether there is a memory to query."""
        return self._memory is not None or self._unprepared is not None

    @property
    def memory(self) -> Memory:
        """The remembered memory.

        Raises:
            ValueError: there is none.
        """
        self.prepare_given_memory()
        if self._memory is None:
            raise ValueError(f"{self.name}: has no memory to query; call setup_memory first")
        return self._memory

    @property
    def keys(self) -> Any:
        """Keys (B, S, U) of the remembered memory."""
        return self.memory.keys

    @property
    def values(self) -> Any:
        """Values (B, S, D) of the remembered memory, zero at padding."""
        return self.memory.values

    @property
    def alignments_size(self) -> Any:
        """S of the remembered memory."""
        return ops.shape(self.values)[1]

    @property
    def state_size(self) -> Any:
        """Width of the state, which always is the alignments of the step before: S."""
        return self.alignments_size

    def initial_alignments(self, batch_size: int, dtype: str = "float32") -> Any:
        """The alignments before the first step, (batch_size, S).

        Raises:
            ValueError: the memory has another batch size.
        """
        remembered = self.values.shape[0]
        if isinstance(batch_size, int) and remembered is not None and remembered != batch_size:
            raise ValueError(f"{self.name}: the memory has batch size {remembered}, not {batch_size}")
        return ops.cast(self.first_alignments(self.memory), dtype)

    def initial_state(self, batch_size: int, dtype: str = "float32") -> Any:
        """The state before the first step: `initial_alignments`."""
        return self.initial_alignments(batch_size, dtype)

    def build(self, input_shape: Any = None) -> None:
        """Creates nothing yet: `call` knows which depth it was given."""

    def call(self, inputs: Any, mask: Any = None, setup_memory: bool = False, training: bool = False) -> Any:
        """Queries the remembered memory, or sets it up.

        Args:
            inputs: `[query (B, Q), state (B, S)]`; with `setup_memory`, the memory (B, S, D) or
                `[memory, memory_sequence_length]`.
            mask: with `setup_memory`, the memory's mask (B, S) bool; Keras fills in the one that the memory carries.
            setup_memory: which of the two.
            training: whether random noise acts.

        Returns:
            `(alignments, next_state)`, both (B, S) and equal; with `setup_memory`, the values (B, S, D).

        Raises:
            ValueError: there is no memory, `inputs` holds another number of tensors, query or state does not fit the
                memory, or see `setup_memory`.
        """
        tensors = inputs if isinstance(inputs, list | tuple) else [inputs]
        if setup_memory:
            if len(tensors) > 2:
                raise ValueError(f"{self.name}: setup_memory takes memory or [memory, memory_sequence_length]")
            lengths = tensors[1] if len(tensors) == 2 else None
            if isinstance(mask, list | tuple):  # Keras's, one per tensor: carried, as `setup_memory` sees for itself
                mask = mask[0] if lengths is None else None
            self.setup_memory(tensors[0], lengths, mask)
            return self.values
        if len(tensors) != 2:
            raise ValueError(f"{self.name}: takes [query, state]")
        query, state = tensors
        memory = self.memory
        batch_size, source_len, _ = memory.values.shape
        check_shape(f"{self.name}: query", query, (batch_size, query.shape[-1]))
        if state is not None:  # mechanisms that do not read it do without
            check_shape(f"{self.name}: state", state, (batch_size, source_len))
        self.build_for(query_depth=query.shape[-1])
        alignments = self.align(query, memory, state, training=training)
        return alignments, alignments

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Alignments carry no mask."""

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Refuses symbolic tensors: a functional model does not keep what a layer remembers.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.name}: {NOT_FUNCTIONAL}")

    # --- saving ---

    def get_build_config(self) -> dict[str, int]:
        """The depths that the weights were created for."""
        return dict(self._depths)

    def build_from_config(self, config: dict[str, int]) -> None:
        """Creates the weights for the depths that `get_build_config` gave."""
        self.build_for(**config)
