"""Attention of a whole sequence of queries, for models in Keras's functional style."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from model_export.attention.mechanism import Attended, AttentionMechanism
from model_export.attention.memory import Memory, carried_mask
from model_export.scan import scan_with_state

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("interlinear")
class SequenceAttention(keras.layers.Layer):
    """Lets a mechanism attend once per query, in order, over one memory.

        contexts, alignments = SequenceAttention(BahdanauAttention(64))(queries, values)

    Shapes: B batch, T number of queries, Q query depth, S source length, D memory depth, D' context depth.

    Args:
        mechanism: what attends; its weights become those of this layer.
        dtype: of computation; None for the mechanism's.
        **kwargs: Keras's: name, trainable.

    Raises:
        TypeError: `mechanism` is no attention mechanism.
    """

    def __init__(self, mechanism: AttentionMechanism, dtype: Any = None, **kwargs: Any) -> None:
        if not isinstance(mechanism, AttentionMechanism):
            raise TypeError(f"SequenceAttention: {type(mechanism).__name__} is not an AttentionMechanism")
        super().__init__(dtype=dtype or mechanism.dtype_policy, **kwargs)
        self.mechanism = mechanism
        self.supports_masking = True
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA takes no gradients of Keras's scan there

    def build(self, queries_shape: Shape, values_shape: Shape) -> None:
        """Creates the mechanism's weights."""
        self.mechanism.build_for(queries_shape[-1], values_shape[-1])

    def call(
        self, queries: Any, values: Any, mask: Any = None, values_mask: Any = None, training: bool = False
    ) -> tuple[Any, Any]:
        """Attends with every query.

        Args:
            queries: (B, T, Q). Their own Keras mask, if any, passes to the contexts; it changes no number.
            values: (B, S, D), the memory, finite also at padding.
            mask: (B, S) bool, True = real, at least one per row. Where `values` carry a mask, real is what both say.
            values_mask: the mask that `values` carry; Keras fills it in.
            training: whether random noise in the mechanism acts.

        Returns:
            Contexts (B, T, D') and alignments (B, T, S).

        Raises:
            ValueError: `mask` is a list, as keras.layers.Attention takes it, or has another shape; or one of its rows
                is all False. The latter is seen only where values are known; in a graph, as in `fit` and `predict`,
                such a row has no weights, and its contexts are 0.
        """
        self._check_mask(mask)
        masks = [ops.cast(each, "bool") for each in (mask, values_mask) if each is not None]
        memory = self.mechanism.prepare(values, functools.reduce(ops.logical_and, masks) if masks else None)

        def advance(before: Attended, query: Any) -> tuple[Attended, Attended]:
            attended = self.mechanism.attend(query, memory, before.alignments, training=training)
            return attended, attended

        _, attended = scan_with_state(
            advance, self._first(memory), ops.swapaxes(queries, 0, 1), self.mechanism.non_trainable_variables
        )
        return ops.swapaxes(attended.context, 0, 1), ops.swapaxes(attended.alignments, 0, 1)

    def _first(self, memory: Memory) -> Attended:
        """What is before the first query; the context is read by no one, but a scan carries what it returns."""
        batch_size, _, depth = ops.shape(memory.values)
        context = ops.zeros((batch_size, self.mechanism.context_depth(depth)), dtype=memory.values.dtype)
        return Attended(context, self.mechanism.first_alignments(memory))

    def _check_mask(self, mask: Any) -> None:
        if isinstance(mask, list | tuple):
            raise ValueError(
                f"{self.name}: mask: expected one tensor (batch, source_len), the mask of the values, not a list of "
                f"{len(mask)}; the queries need none beside the one that they carry"
            )

    def compute_output_spec(
        self, queries: Any, values: Any, mask: Any = None, values_mask: Any = None, training: bool = False
    ) -> tuple[Any, Any]:
        """Shapes and dtypes of the results; refuses a list of masks where the model is made.

        Raises:
            ValueError: `mask` is a list.
        """
        self._check_mask(mask)
        return super().compute_output_spec(queries, values, mask=mask, values_mask=values_mask, training=training)

    def compute_output_shape(self, queries_shape: Shape, values_shape: Shape) -> tuple[Shape, Shape]:
        """Shapes of contexts and alignments."""
        batch_and_steps = (queries_shape[0] or values_shape[0], queries_shape[1])
        depth = self.mechanism.context_depth(values_shape[2] or 0)
        return (*batch_and_steps, depth), (*batch_and_steps, values_shape[1])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> tuple[Any, None]:
        """The queries' mask for the contexts; `previous_mask` is the memory's where one was passed."""
        return carried_mask(inputs), None

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "mechanism": keras.saving.serialize_keras_object(self.mechanism)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SequenceAttention:
        """A layer from what `get_config` returned."""
        return cls(**{**config, "mechanism": keras.saving.deserialize_keras_object(config["mechanism"])})
