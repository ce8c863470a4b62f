"""8-bit graphs from fp32 graphs, with activation scales that are fixed at export.

Matrix products with a constant matrix become `MatMulIntegerToFloat`. Their activations are bounded by construction
(tanh outputs, gated states, averages of them, known embeddings), so the scale follows from the bound alone: nothing is
calibrated, nothing saturates, and a row's result does not depend on the rows beside it. Weights get one scale per
output column. Embedding tables get one scale per row, or, where their rows go into products and nowhere else, are
stored as the activations that they are there. A GRU becomes a loop of such products. Weights of other recurrent nodes,
and of products whose input has no known bound, are stored in 8 bits and expanded when the graph is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from model_export.activation_bounds import ActivationBounds
from model_export.graph_simplification import drop_unread
from model_export.integer_products import (
    ACTIVATION_ZERO_POINT,
    RUNTIME_DOMAIN,
    RUNTIME_OPSET,
    Activation,
    IntegerNodes,
    quantize_along,
)
from model_export.integer_recurrence import add_recurrence, read_gru

Array = npt.NDArray[Any]

WEIGHT_LIMIT = 127  # of weights that are not multiplied in 8 bits

RECURRENT_WEIGHT_INPUTS = (1, 2)


def quantize(model: onnx.ModelProto, known_bounds: Mapping[str, float]) -> onnx.ModelProto:
    """Returns an 8-bit copy of an fp32 graph with the same inputs and outputs.

    Args:
        model: as `model_export.graphs.convert` returns it.
        known_bounds: absolute bounds of named tensors, in particular of the decoder's states.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    rewriter = _Rewriter(quantized.graph, ActivationBounds(model.graph, known_bounds), _known_widths(model))
    rewriter.rewrite()
    quantized.opset_import.append(helper.make_opsetid(RUNTIME_DOMAIN, RUNTIME_OPSET))
    onnx.checker.check_model(quantized)
    return quantized


class _Part(NamedTuple):
    """Columns `start` to `stop` of a product's left side: the tensor that gives them, and its bound."""

    tensor: str
    start: int
    stop: int
    bound: float


class _Result(NamedTuple):
    """What a product gives: the tensor, and the constant that is added to it, empty for none."""

    tensor: str
    bias: str


def _known_widths(model: onnx.ModelProto) -> dict[str, int]:
    """Sizes of the last dimensions, as far as shape inference knows them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    widths = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and dimensions[-1].HasField("dim_value"):
            widths[value.name] = dimensions[-1].dim_value
    return widths


class _Rewriter(IntegerNodes):
    """Replaces nodes one by one; drops the fp32 constants that nothing reads any more."""

    def __init__(self, graph: onnx.GraphProto, bounds: ActivationBounds, widths: Mapping[str, int]) -> None:
        super().__init__()
        self._graph = graph
        self._bounds = bounds
        self._widths = widths
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {output.name for output in graph.output}

    def rewrite(self) -> None:
        """Rewrites the whole graph in place."""
        for node in self._graph.node:
            if self.written.issuperset(node.output):
                continue
            if node.op_type == "MatMul" and self._is_matrix(node.input[1]):
                self._rewrite_product(node)
            elif node.op_type == "Gather" and self._is_matrix(node.input[0]):
                self._rewrite_lookup(node)
            elif node.op_type in {"GRU", "LSTM"}:
                self._rewrite_recurrence(node)
            else:
                self.nodes.append(node)
        self._finish()

    def _is_matrix(self, name: str) -> bool:
        constant = self._constants.get(name)
        return constant is not None and constant.ndim == 2 and constant.dtype == np.float32

    def _rewrite_product(self, node: onnx.NodeProto) -> None:
        kernel = node.input[1]
        parts = self._parts(node.input[0], len(self._constants[kernel]))
        if parts is None:
            node.input[1] = self._expanded(kernel, axis=1)
            self.nodes.append(node)
            return
        result = self._with_bias(node)
        if len(parts) == 1:
            self._add_part(parts[0], kernel, result)
            return
        names = [f"{result.tensor}_part_{part.start}" for part in parts]
        biases = [result.bias, *[""] * (len(parts) - 1)]
        for part, name, bias in zip(parts, names, biases, strict=True):
            self._add_part(part, kernel, _Result(name, bias))
        self.add("Sum", names, result.tensor)

    def _with_bias(self, node: onnx.NodeProto) -> _Result:
        """What a product gives with the bias behind it, if nothing reads it without."""
        output = node.output[0]
        columns = self._constants[node.input[1]].shape[1:]
        readers = self._readers.get(output, [])
        if len(readers) == 1 and readers[0].op_type == "Add" and output not in self._outputs:
            for name in readers[0].input:
                if name in self._constants and self._constants[name].shape == columns:
                    return _Result(readers[0].output[0], name)
        return _Result(output, "")

    def _parts(self, tensor: str, width: int) -> list[_Part] | None:
        """What a tensor is concatenated from, each with its bound: a wide range must not coarsen a narrow one."""
        producer = self._bounds.producer(tensor)
        names = list(producer.input) if producer is not None and producer.op_type == "Concat" else [tensor]
        bounds = [self._bounds.bound(name) for name in names]
        widths = [self._widths.get(name, 0) for name in names]
        beside_each_other = 0 not in widths and sum(widths) == width
        if len(set(bounds)) == 1 or None in bounds or not beside_each_other:
            bound = self._bounds.bound(tensor)
            return None if bound is None else [_Part(tensor, 0, width, bound)]
        stops = np.cumsum(widths).tolist()
        starts = [0, *stops[:-1]]
        return [
            _Part(name, start, stop, bound)
            for name, start, stop, bound in zip(names, starts, stops, bounds, strict=True)
            if bound is not None
        ]

    def _add_part(self, part: _Part, kernel: str, result: _Result) -> None:
        """Multiplies 8-bit activations by the rows of the kernel that belong to them."""
        rows = self._constants[kernel][part.start : part.stop]
        bias = self._constants.get(result.bias)
        self.add_product(self._rounded(part.tensor, part.bound), f"{kernel}_{part.start}", rows, bias, result.tensor)

    def _rounded(self, tensor: str, bound: float) -> Activation:
        """A tensor in 8 bits; products of one tensor share it.

        Rows of a table are rounded here, once, and looked up in 8 bits.
        """
        activation = self.activation(tensor, bound)
        producer = self._bounds.producer(tensor)
        if activation.tensor in self.written:
            pass
        elif producer is not None and producer.op_type == "Gather" and self._is_matrix(producer.input[0]):
            step = self.constants[activation.scale]
            table = np.rint(self._constants[producer.input[0]] / step) + ACTIVATION_ZERO_POINT
            rows = self.constant(f"{producer.input[0]}_as_activations", table.astype(np.uint8))
            self.add("Gather", [rows, producer.input[1]], activation.tensor)
        elif producer is not None and producer.op_type == "Transpose":
            order = helper.get_attribute_value(producer.attribute[0])
            self.add("Transpose", [self._rounded(producer.input[0], bound).tensor], activation.tensor, perm=order)
        else:
            self.add_rounding(tensor, activation)
        return activation

    def _rewrite_recurrence(self, node: onnx.NodeProto) -> None:
        weights, bound = read_gru(node, self._constants), self._bounds.bound(node.input[0])
        if weights is None or bound is None:
            for position in RECURRENT_WEIGHT_INPUTS:
                node.input[position] = self._expanded(node.input[position], axis=1)
            self.nodes.append(node)
        else:
            add_recurrence(self, weights, self._rounded(node.input[0], bound), node.input[4], node.output[0])

    def _rewrite_lookup(self, node: onnx.NodeProto) -> None:
        table, scales = quantize_along(self._constants[node.input[0]], axis=0, limit=WEIGHT_LIMIT)
        name = node.output[0]
        rows = self.add("Gather", [self.constant(f"{node.input[0]}_int8", table), node.input[1]], f"{name}_int8")
        as_float = self.add("Cast", [rows], f"{name}_float", to=onnx.TensorProto.FLOAT)
        scale_table = self.constant(f"{node.input[0]}_scales", scales[:, None])
        row_scales = self.add("Gather", [scale_table, node.input[1]], f"{name}_scales")
        self.add("Mul", [as_float, row_scales], name)

    def _expanded(self, constant: str, axis: int) -> str:
        """Stores a constant in 8 bits behind a DequantizeLinear, which onnxruntime folds at load."""
        name = f"{constant}_expanded"
        if name not in self.written:
            weights, scales = quantize_along(self._constants[constant], axis, limit=WEIGHT_LIMIT)
            inputs = [
                self.constant(f"{constant}_int8_expanded", weights),
                self.constant(f"{constant}_scales", scales),
            ]
            self.add("DequantizeLinear", inputs, name, axis=axis)
        return name

    def _finish(self) -> None:
        constants = {**self._constants, **self.constants}  # the fp32 graph's, and those added
        del self._graph.node[:]
        self._graph.node.extend(self.nodes)
        del self._graph.initializer[:]
        self._graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        drop_unread(self._graph)
