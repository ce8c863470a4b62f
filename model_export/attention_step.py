"""One step of a recurrent cell with attention, and the state that it hands to the next: the core of AttentionWrapper.

Nothing is kept between steps: memories and state are passed in and returned. Decoder and export use nothing else.

Shapes: B batch, S source length, D memory depth, E input depth, H width of the cell's output, A width of the attention.

Source: Luong et al. 2015 (arXiv:1508.04025), section 3.3 ("input feeding") and equation 5, in tfa.seq2seq's form.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from model_export.attention import AttentionMechanism, Memory


class AttentionWrapperState(NamedTuple):
    """What one step hands to the next.

    The last three fields hold a tuple, one item per mechanism, if the wrapper was given a list of mechanisms.

    Attributes:
        cell_state: the cell's own state, structured as the cell returns it; arrays (B, units).
        attention: (B, A), the attention of the last step; fed to the next.
        alignments: (B, S), the weights of the last step.
        alignment_history: (steps, B, S), the weights of all steps so far; `()` unless enabled.
        attention_state: (B, S), the mechanism's own state.
    """

    cell_state: Any
    attention: Any
    alignments: Any
    alignment_history: Any
    attention_state: Any

    def clone(self, **fields: Any) -> AttentionWrapperState:
        """This state with some fields replaced.

        Raises:
            ValueError: there is no such field, or the new arrays differ from the old in number or shape.
        """
        for name in fields:
            if name not in self._fields:
                raise ValueError(f"AttentionWrapperState has no field {name}; it has {', '.join(self._fields)}")
        return self._replace(**{name: shaped_like(name, getattr(self, name), new) for name, new in fields.items()})


def shaped_like(name: str, old: Any, new: Any) -> Any:
    """Returns `new` in the structure of `old`; an unknown dimension agrees with any.

    Raises:
        ValueError: they differ in the number or shape of their arrays.
    """
    old_arrays, new_arrays = keras.tree.flatten(old), keras.tree.flatten(new)
    if len(old_arrays) != len(new_arrays):
        raise ValueError(f"{name}: expected {len(old_arrays)} arrays, not {len(new_arrays)}")
    first = 1 if name == "alignment_history" else 0  # histories may differ in steps
    for before, after in zip(old_arrays, new_arrays, strict=True):
        expected, found = tuple(before.shape)[first:], tuple(after.shape)[first:]
        agree = (a is None or b is None or a == b for a, b in zip(expected, found, strict=False))
        if len(expected) != len(found) or not all(agree):
            raise ValueError(f"{name}: expected shape {tuple(before.shape)}, not {tuple(after.shape)}")
    return keras.tree.pack_sequence_as(old, new_arrays)


def as_tuple(items: Any) -> tuple[Any, ...]:
    """The items of a list or tuple; a single item as the only one."""
    return tuple(items) if isinstance(items, list | tuple) else (items,)


def zero_cell_state(cell: keras.layers.Layer, batch_size: Any) -> Any:
    """What a cell starts from, arrays (B, units): its own initial state, or zeros if it has no method for one."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    # Keras's RNN makes it like this, and hands even a single state to the cell in a list.
    return [ops.zeros((batch_size, size), dtype=cell.compute_dtype) for size in as_tuple(cell.state_size)]


def inputs_then_attention(inputs: Any, attention: Any) -> Any:
    """The usual inputs of the cell: (B, E) and (B, A), side by side."""
    return ops.concatenate([inputs, attention], axis=-1)


def _check_cell(cell: Any) -> None:
    name = type(cell).__name__
    if isinstance(cell, keras.layers.RNN):  # has a state_size too
        raise TypeError(f"cell: {name} is a layer, not a cell; use {type(cell.cell).__name__}")
    if not hasattr(cell, "state_size"):
        raise TypeError(f"cell: {name} is not an RNN cell")


class AttentionStep(keras.layers.Layer):
    """A recurrent cell whose output queries memories and whose input holds what the last query found.

    One step: `h, cell_state = cell(cell_input_fn(inputs, attention), cell_state)`; each mechanism attends with h as
    the query; attention is `attention_layer([h, context])` per mechanism (or the contexts themselves), concatenated.

    Attributes:
        mechanisms: as a tuple, the first of several being the primary one.
        is_multi: whether they were given as a list; the state holds tuples then.

    Args:
        cell: any Keras RNN cell, also `StackedRNNCells`.
        mechanisms: one, or a list of them.
        attention_layers: one per mechanism; None for none.
        cell_input_fn: `(inputs, attention) -> cell inputs`.
        output_attention: whether a step returns the attention; otherwise the cell's output.
        alignment_history: whether the state keeps the weights of all steps.

    Raises:
        TypeError: `cell` is not an RNN cell, but a recurrent layer or something else.
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        mechanisms: AttentionMechanism | Sequence[AttentionMechanism],
        attention_layers: Sequence[keras.layers.Layer] | None,
        cell_input_fn: Callable[[Any, Any], Any],
        output_attention: bool,
        alignment_history: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_cell(cell)
        # Set in the original's order, which is that of the weights: attention layers, cell, mechanisms.
        self.attention_layers = attention_layers
        self.cell = cell
        self.mechanisms: tuple[AttentionMechanism, ...] = as_tuple(mechanisms)
        self.is_multi = isinstance(mechanisms, list | tuple)
        self.cell_input_fn = cell_input_fn
        self.output_attention = output_attention
        self.alignment_history = alignment_history
        self._cell_takes_training = "training" in inspect.signature(cell.call).parameters
        self._depths: dict[str, Any] = {}

    def build_for(self, input_depth: int, memory_depths: Sequence[int]) -> None:
        """Creates all weights, for inputs of depth E and one memory depth D per mechanism."""
        self._depths = {"input_depth": input_depth, "memory_depths": [int(depth) for depth in memory_depths]}
        for index, (mechanism, depth) in enumerate(zip(self.mechanisms, memory_depths, strict=True)):
            mechanism.build_for(self.cell_output_size, depth)
            if self.attention_layers is not None and not self.attention_layers[index].built:
                self.attention_layers[index].build((None, self.cell_output_size + mechanism.context_depth(depth)))
        if not self.cell.built:  # last: what a mechanism of one's own gives back may be known only once it is built
            inputs, attention = ops.zeros((1, input_depth)), ops.zeros((1, self.attention_width))
            self.cell.build((None, self.cell_input_fn(inputs, attention).shape[-1]))
        self.built = True

    @property
    def cells(self) -> Sequence[keras.layers.Layer]:
        """The cell, or the cells that are stacked in it, lowest first."""
        return self.cell.cells if isinstance(self.cell, keras.layers.StackedRNNCells) else (self.cell,)

    @property
    def cell_output_size(self) -> int:
        """H."""
        size = getattr(self.cell, "output_size", None)
        return int(keras.tree.flatten(self.cell.state_size)[0] if size is None else size)

    @property
    def attention_width(self) -> int:
        """A, of all mechanisms together.

        Raises:
            ValueError: it depends on memories that are not known yet.
        """
        sizes = [layer.units for layer in self.attention_layers or () if isinstance(layer, keras.layers.Dense)]
        if len(sizes) == len(self.mechanisms):  # whatever the memories
            return sum(sizes)
        depths = self._depths.get("memory_depths") or [each.values.shape[-1] for each in self.mechanisms]
        return self._width_over(depths)

    def _width_over(self, memory_depths: Sequence[int]) -> int:
        """A over memories of these depths."""
        widths = [each.context_depth(depth) for each, depth in zip(self.mechanisms, memory_depths, strict=True)]
        if self.attention_layers is not None:
            shapes = [(None, self.cell_output_size + width) for width in widths]
            layers = zip(self.attention_layers, shapes, strict=True)
            widths = [layer.compute_output_shape(shape)[-1] for layer, shape in layers]
        return sum(widths)

    def first_state(self, memories: Sequence[Memory], cell_state: Any = None) -> AttentionWrapperState:
        """The state before the first step.

        Args:
            memories: one per mechanism, as its `prepare` returned it.
            cell_state: the cell's, arrays (B, units); None for the cell's own initial state.
        """
        batch_size = ops.shape(memories[0].values)[0]
        if cell_state is None:
            cell_state = zero_cell_state(self.cell, batch_size)
        width = self._width_over([memory.values.shape[-1] for memory in memories])
        attention = ops.zeros((batch_size, width), dtype=memories[0].values.dtype)
        pairs = zip(self.mechanisms, memories, strict=True)
        alignments = [mechanism.first_alignments(memory) for mechanism, memory in pairs]
        return self._first_state(cell_state, attention, alignments)

    def _first_state(self, cell_state: Any, attention: Any, alignments: Sequence[Any]) -> AttentionWrapperState:
        for cell in self.cells:  # Keras's cells keep their dropout masks until told that a new sequence begins
            if hasattr(cell, "reset_dropout_mask"):
                cell.reset_dropout_mask()
                cell.reset_recurrent_dropout_mask()
        each = self._as_passed(alignments)
        history = self._as_passed([array[None][:0] for array in alignments]) if self.alignment_history else ()
        return AttentionWrapperState(cell_state, attention, each, history, each)

    def step(
        self, inputs: Any, state: AttentionWrapperState, memories: Sequence[Memory], training: bool = False
    ) -> tuple[Any, AttentionWrapperState]:
        """One step.

        Args:
            inputs: (B, E).
            state: as `first_state` or the step before returned it.
            memories: one per mechanism, as its `prepare` returned it.
            training: whether dropout of the cell and noise of the mechanisms act.

        Returns:
            The attention (B, A), or the cell's output (B, H) without `output_attention`; and the next state.
        """
        # 1. A new cell output from the inputs and the last attention.
        output, cell_state = self._run_cell(inputs, state, training)
        # 2. Every mechanism attends, with that output as the query.
        previous = as_tuple(state.attention_state)
        attended = [
            mechanism.attend(output, memory, before, training=training)
            for mechanism, memory, before in zip(self.mechanisms, memories, previous, strict=True)
        ]
        # 3. The attention from output and contexts.
        attentions = [each.context for each in attended]
        if self.attention_layers is not None:
            pairs = zip(self.attention_layers, attentions, strict=True)
            attentions = [layer(ops.concatenate([output, context], axis=-1)) for layer, context in pairs]
        attention = ops.concatenate(attentions, axis=-1) if len(attentions) > 1 else attentions[0]
        alignments = [each.alignments for each in attended]
        each = self._as_passed(alignments)
        next_state = AttentionWrapperState(cell_state, attention, each, self._extend(state, alignments), each)
        return (attention if self.output_attention else output), next_state

    def _run_cell(self, inputs: Any, state: AttentionWrapperState, training: bool) -> tuple[Any, Any]:
        """The cell's output (B, H) and its next state, structured as the one before (Keras's own cells differ)."""
        options = {"training": training} if self._cell_takes_training else {}
        output, cell_state = self.cell(self.cell_input_fn(inputs, state.attention), state.cell_state, **options)
        return output, keras.tree.pack_sequence_as(state.cell_state, keras.tree.flatten(cell_state))

    def _extend(self, state: AttentionWrapperState, alignments: Sequence[Any]) -> Any:
        if not self.alignment_history:
            return ()
        pairs = zip(as_tuple(state.alignment_history), alignments, strict=True)
        return self._as_passed([ops.concatenate([history, array[None]], axis=0) for history, array in pairs])

    def _as_passed(self, items: Sequence[Any]) -> Any:
        """One item per mechanism as a tuple if mechanisms were passed as a list, the only item otherwise."""
        return tuple(items) if self.is_multi else items[0]
