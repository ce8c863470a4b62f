"""AttentionWrapper: a recurrent cell with attention, as tfa.seq2seq and tf.contrib.seq2seq had it.

The step itself is `AttentionStep`, over memories that are passed in. Here is the original's form on top of it:
`wrapper(inputs, state)` reads what each mechanism's `setup_memory` remembered.

Shapes: B batch, S source length, D memory depth, E input depth, H width of the cell's output, A width of the attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from model_export.attention import AttentionMechanism, Memory
from model_export.attention_step import (
    AttentionStep,
    AttentionWrapperState,
    as_tuple,
    inputs_then_attention,
    shaped_like,
    zero_cell_state,
)

__all__ = ["AttentionWrapper", "AttentionWrapperState"]


@keras.saving.register_keras_serializable("interlinear")
class AttentionWrapper(AttentionStep):
    """A recurrent cell with attention, usable as a cell of `keras.layers.RNN`; the step is that of `AttentionStep`.

    On JAX it cannot be one of `StackedRNNCells`, which return its state as a list where JAX wants the structure that
    came in. Put the stack into the wrapper instead, or a second `RNN` behind the first.

    Args:
        cell: any Keras RNN cell, also `StackedRNNCells`.
        attention_mechanism: one mechanism or a list of them, which must not be empty.
        attention_layer_size: width of the attention, one per mechanism (a list if mechanisms are one), by a Dense
            layer over `[h, context]` without bias and activation; None for the contexts themselves.
        alignment_history: whether the state keeps the weights of all steps. That field grows with every step, so
            `keras.layers.RNN` works without it only.
        cell_input_fn: `(inputs, attention) -> cell inputs`; None concatenates them. To be saved with the wrapper it
            must be registered with `keras.saving.register_keras_serializable`.
        output_attention: whether a step returns the attention; otherwise the cell's output.
        initial_cell_state: what `get_initial_state` starts the cell from, arrays (B, units) in the order of the cell's
            state, in lists or tuples nested in any way; None for zeros. This is state: it is not saved with the
            wrapper, and a wrapper made from a configuration starts from zeros.
        attention_layer: per mechanism a layer over `[h, context]`, instead of `attention_layer_size`.
        name: the layer's.

    Raises:
        ValueError: there is no mechanism; both `attention_layer_size` and `attention_layer` are given, or not one per
            mechanism.
        TypeError: `cell` is not an RNN cell, `attention_mechanism` or `attention_layer` holds something else, or
            `cell_input_fn` cannot be called.
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        attention_mechanism: AttentionMechanism | Sequence[AttentionMechanism],
        attention_layer_size: int | Sequence[int] | None = None,
        alignment_history: bool = False,
        cell_input_fn: Callable[[Any, Any], Any] | None = None,
        output_attention: bool = True,
        initial_cell_state: Any = None,
        attention_layer: keras.layers.Layer | Sequence[keras.layers.Layer] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not as_tuple(attention_mechanism):
            raise ValueError("attention_mechanism: the list is empty; give one mechanism or more")
        for mechanism in as_tuple(attention_mechanism):
            if not isinstance(mechanism, AttentionMechanism):
                raise TypeError(f"attention_mechanism: {type(mechanism).__name__} is not an AttentionMechanism")
        if cell_input_fn is not None and not callable(cell_input_fn):
            raise TypeError(f"cell_input_fn: {type(cell_input_fn).__name__} cannot be called")
        super().__init__(
            cell,
            attention_mechanism,
            _attention_layers(attention_layer_size, attention_layer, as_tuple(attention_mechanism)),
            cell_input_fn or inputs_then_attention,
            output_attention,
            alignment_history,
            name=name,
            **kwargs,
        )
        self.attention_layer_size = attention_layer_size
        self._initial_cell_state = initial_cell_state

    @property
    def memories(self) -> tuple[Memory, ...]:
        """What the mechanisms remember.

        Raises:
            ValueError: one has no memory.
        """
        return tuple(mechanism.memory for mechanism in self.mechanisms)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Keras calls this before the first `wrapper(inputs, state)`; the memories must be set up.

        Args:
            input_shape: (B, E).

        Raises:
            ValueError: E is unknown, or a mechanism has no memory.
        """
        input_depth = input_shape[-1]
        if input_depth is None:
            raise ValueError(f"{self.name}: the depth of the inputs must be known")
        self.build_for(input_depth, [memory.values.shape[-1] for memory in self.memories])

    def call(self, inputs: Any, state: Any, training: bool = False) -> tuple[Any, Any]:
        """One step over the remembered memories; see `step`.

        `keras.layers.RNN` passes the fields as a plain list or tuple, and gets them back as such.
        """
        output, next_state = self.step(inputs, AttentionWrapperState(*state), self.memories, training=training)
        return output, next_state if isinstance(state, AttentionWrapperState) else type(state)(next_state)

    def get_initial_state(self, inputs: Any = None, batch_size: Any = None, dtype: Any = None) -> AttentionWrapperState:
        """The state before the first step over the remembered memories.

        Args:
            inputs: (B, E), which give the batch size and dtype if they are not given.
            batch_size: B.
            dtype: of the state; None for the layer's.

        Raises:
            ValueError: B is not given, or differs from that of a memory or of `initial_cell_state`; or the latter does
                not hold what the cell's state holds, in number or width of its arrays.
        """
        if inputs is not None:
            batch_size = ops.shape(inputs)[0] if batch_size is None else batch_size
            dtype = dtype or inputs.dtype
        if batch_size is None:
            raise ValueError(f"{self.name}: get_initial_state needs inputs or batch_size")
        dtype = keras.backend.standardize_dtype(dtype or self.compute_dtype)
        alignments = [mechanism.initial_alignments(batch_size, dtype) for mechanism in self.mechanisms]
        cell_state = keras.tree.map_structure(lambda array: ops.cast(array, dtype), self._first_cell_state(batch_size))
        return self._first_state(cell_state, ops.zeros((batch_size, self.attention_width), dtype=dtype), alignments)

    def _first_cell_state(self, batch_size: Any) -> Any:
        """The cell's own initial state, or the one given, in the structure of the former."""
        cell_state = zero_cell_state(self.cell, batch_size)
        given = self._initial_cell_state
        if given is None:
            return cell_state
        for array in keras.tree.flatten(given):
            found = next(iter(array.shape), None)
            if isinstance(batch_size, int) and found is not None and found != batch_size:
                raise ValueError(
                    f"{self.name}: initial_cell_state has batch size {found}, not {batch_size}; with beam search, "
                    "repeat memory and state for every beam"
                )
        return shaped_like("initial_cell_state", cell_state, given)

    def zero_state(self, batch_size: Any, dtype: Any = None) -> AttentionWrapperState:
        """`get_initial_state` as tf.contrib.seq2seq named it."""
        return self.get_initial_state(batch_size=batch_size, dtype=dtype)

    @property
    def state_size(self) -> AttentionWrapperState:
        """Widths of the state's arrays; S, and A where it depends on the memories, are None while there are none."""
        try:
            width = self.attention_width
        except ValueError:
            width = None
        sizes = [each.state_size if each.memory_initialized else None for each in self.mechanisms]
        each = self._as_passed(sizes)
        history = each if self.alignment_history else ()
        return AttentionWrapperState(self.cell.state_size, width, each, history, each)

    @property
    def output_size(self) -> int:
        """Width of what a step returns: A or H.

        Raises:
            ValueError: it is A, and depends on memories that are not known yet.
        """
        return self.attention_width if self.output_attention else self.cell_output_size

    # --- saving ---

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments without `initial_cell_state`, which is state.

        Raises:
            ValueError: `cell_input_fn` is not registered with Keras.
        """
        serialize = keras.saving.serialize_keras_object
        custom = None if self.cell_input_fn is inputs_then_attention else self.cell_input_fn
        if custom is not None:
            registered = keras.saving.get_registered_object(keras.saving.get_registered_name(custom))
            if registered is not custom:
                raise ValueError(
                    f"{self.name}: cell_input_fn {custom!r} cannot be saved; register it with "
                    "keras.saving.register_keras_serializable"
                )
        layers = None
        if self.attention_layers is not None and self.attention_layer_size is None:
            layers = [serialize(layer) for layer in self.attention_layers]
        return {
            **super().get_config(),
            "cell": serialize(self.cell),
            "attention_mechanism": self._as_passed([serialize(each) for each in self.mechanisms]),
            "attention_layer_size": self.attention_layer_size,
            "alignment_history": self.alignment_history,
            "cell_input_fn": None if custom is None else serialize(custom),
            "output_attention": self.output_attention,
            "attention_layer": layers,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionWrapper:
        """A wrapper from what `get_config` returned."""
        nested = ("cell", "attention_mechanism", "cell_input_fn", "attention_layer")
        return cls(**{**config, **{name: keras.saving.deserialize_keras_object(config[name]) for name in nested}})

    def get_build_config(self) -> dict[str, Any]:
        """The depths that the weights were created for."""
        return dict(self._depths)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Creates the weights for the depths that `get_build_config` gave."""
        if config:
            self.build_for(**config)


def _attention_layers(
    sizes: Any, layers: Any, mechanisms: Sequence[AttentionMechanism]
) -> tuple[keras.layers.Layer, ...] | None:
    """One layer per mechanism, given or made for a given size; None for none."""
    if sizes is not None and layers is not None:
        raise ValueError("attention_layer_size, attention_layer: give one of them, not both")
    if sizes is None and layers is None:
        return None
    argument, given = ("attention_layer_size", sizes) if layers is None else ("attention_layer", layers)
    items = as_tuple(given)
    if len(items) != len(mechanisms):
        raise ValueError(f"{argument}: must hold one item per mechanism, {len(mechanisms)}, not {len(items)}")
    if layers is not None:
        for item in items:
            if not isinstance(item, keras.layers.Layer):
                raise TypeError(f"attention_layer: {type(item).__name__} is not a Keras layer")
        return items
    return tuple(
        keras.layers.Dense(size, use_bias=False, name="attention_layer", dtype=mechanism.dtype_policy)
        for size, mechanism in zip(items, mechanisms, strict=True)
    )
