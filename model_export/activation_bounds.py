"""Upper bounds of activations, derived from the graph alone.

tanh, sigmoid and softmax outputs, the states of recurrent nodes, averages of them, and rows of known tables cannot
exceed what their construction allows. Quantisation takes its scales from these bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

ATTENTION_OUTPUT = "attention_weights"
RESHAPING = {"Identity", "Unsqueeze", "Squeeze", "Reshape", "Slice"}
BOUNDED_BY_ONE = {"Tanh", "Sigmoid", "Softmax", "GRU", "LSTM"}
BOUND_OF_FIRST_INPUT = {
    "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Expand", "Gather", "Neg"
}  # fmt: skip
COMPARISONS = {"Less", "LessOrEqual", "Not", "And", "Or", "Equal"}  # their outputs are boolean
LSTM_CELL_STATE = ("LSTM", 2)  # the one output of those nodes that has no bound


class ActivationBounds:
    """Upper bounds of absolute values, derived backwards through the graph.

    Args:
        graph: the fp32 graph.
        known: bounds of tensors whose producer the rules below cannot see through, such as decoder states. With one of
            `attention_weights`, their rows are taken to sum to at most 1.
    """

    def __init__(self, graph: onnx.GraphProto, known: Mapping[str, float]) -> None:
        self._known = known
        self._producers = {output: node for node in graph.node for output in node.output}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._attention_producers = self._find_attention_producers()

    def bound(self, tensor: str) -> float | None:
        """The bound of one tensor, or None if the rules give none."""
        if tensor in self._known:
            return self._known[tensor]
        if tensor in self._constants:
            return float(np.max(np.abs(self._constants[tensor]), initial=0.0))
        node = self._producers.get(tensor)
        return None if node is None else self._bound_of_output(node, list(node.output).index(tensor))

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, or None for inputs and constants."""
        return self._producers.get(tensor)

    def _bound_of_output(self, node: onnx.NodeProto, position: int) -> float | None:
        if node.op_type in BOUNDED_BY_ONE:
            return None if (node.op_type, position) == LSTM_CELL_STATE else 1.0
        if node.op_type == "Cast":
            return self._bound_of_cast(node)
        if node.op_type in BOUND_OF_FIRST_INPUT:
            return self.bound(node.input[0])
        if node.op_type == "MatMul":  # weights that sum to at most 1 average the rows of the other side
            return self.bound(node.input[1]) if self._sums_to_one_at_most(node.input[0]) else None
        if node.op_type == "Div":
            return self._bound_of_average(node)
        return self._combine(node)

    def _combine(self, node: onnx.NodeProto) -> float | None:
        combinations: dict[str, Callable[[list[float]], float]] = {
            "Concat": max,
            "Where": max,
            "Mul": math.prod,
            "Add": sum,
            "Sub": sum,
        }
        choices = node.input[1:] if node.op_type == "Where" else node.input
        bounds = [self.bound(name) for name in choices]
        present = [bound for bound in bounds if bound is not None]
        if node.op_type not in combinations or len(present) < len(bounds):
            return None
        return combinations[node.op_type](present)

    def _sums_to_one_at_most(self, tensor: str) -> bool:
        """Whether rows are, or are part of, a softmax or what the graph gives out as attention weights."""
        weights = self._through(tensor, RESHAPING)
        return weights is not None and (weights.op_type == "Softmax" or weights.name in self._attention_producers)

    def _find_attention_producers(self) -> set[str]:
        """Names of the nodes that compute attention weights: one, or one per mechanism."""
        output = self._through(ATTENTION_OUTPUT, RESHAPING)
        if output is None or ATTENTION_OUTPUT not in self._known:
            return set()
        parts = output.input if output.op_type == "Concat" else [ATTENTION_OUTPUT]
        producers = [self._through(part, RESHAPING) for part in parts]
        return {producer.name for producer in producers if producer is not None}

    def _bound_of_average(self, node: onnx.NodeProto) -> float | None:
        """Bounds a sum of masked values over the number of unmasked ones."""
        total, count = (self._producers.get(name) for name in node.input)
        if total is None or count is None or {total.op_type, count.op_type} != {"ReduceSum"}:
            return None
        masked = self._producers.get(total.input[0])
        if masked is None or masked.op_type != "Mul":
            return None
        shaping = {"Cast", "Unsqueeze", "Slice"}
        masks = [self._through(name, shaping) for name in (masked.input[1], count.input[0])]
        same_mask = masks[0] is not None and masks[0] is masks[1] and masks[0].op_type in COMPARISONS
        return self.bound(masked.input[0]) if same_mask else None

    def _bound_of_cast(self, node: onnx.NodeProto) -> float | None:
        source = self._producers.get(node.input[0])
        is_boolean = source is not None and source.op_type in COMPARISONS
        return 1.0 if is_boolean else self.bound(node.input[0])

    def _through(self, tensor: str, operations: set[str]) -> onnx.NodeProto | None:
        node = self._producers.get(tensor)
        while node is not None and node.op_type in operations:
            node = self._producers.get(node.input[0])
        return node
