"""8-bit graphs from fp32 graphs, with activation scales that are fixed at export.

Matrix products with a constant matrix become `MatMulIntegerToFloat`. Their activations are bounded by construction
(tanh outputs, gated states, averages of them, known embeddings), so the scale follows from the bound alone: nothing is
calibrated, nothing saturates, and a row's result does not depend on the rows beside it. Weights get one scale per
output column. Embedding tables get one scale per row, or, where their rows go into products and nowhere else, are
stored as the activations that they are there. Weights of recurrent nodes, for which ONNX has no 8-bit form, and of
products whose input has no known bound, are stored in 8 bits and expanded when the graph is loaded.
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

Array = npt.NDArray[Any]

# onnxruntime's own operations: its product also gives floats and adds the bias, which takes ONNX's MatMulInteger two
# nodes more. It can scale each column as well, but computes those factors anew in every call, which takes longer than a
# node for it: measured with 5,000 columns, 43 against 31 us for one row.
RUNTIME_DOMAIN = "com.microsoft"
RUNTIME_OPSET = 1
PRODUCT = "MatMulIntegerToFloat"

# Kernels without VNNI add pairs of unsigned x signed products in 16 bits. With |weight| <= 64 no pair can exceed
# 2 * 255 * 64 = 32,640 < 32,767, so every processor gives the same result.
WEIGHT_LIMIT_IN_PRODUCTS = 64
WEIGHT_LIMIT = 127
ACTIVATION_LIMIT = 127
ACTIVATION_ZERO_POINT = 128
NEGLIGIBLE_WEIGHT = 1e-20  # smaller ones count as 0, lest a bias divided by their scale overflow

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


class _Rewriter:
    """Replaces nodes one by one; drops the fp32 constants that nothing reads any more."""

    def __init__(self, graph: onnx.GraphProto, bounds: ActivationBounds, widths: Mapping[str, int]) -> None:
        self._graph = graph
        self._bounds = bounds
        self._widths = widths
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {output.name for output in graph.output}
        self._nodes: list[onnx.NodeProto] = []
        self._written: set[str] = set()
        self._added: dict[str, Array] = {}

    def rewrite(self) -> None:
        """Rewrites the whole graph in place."""
        for node in self._graph.node:
            if self._written.issuperset(node.output):
                continue
            if node.op_type == "MatMul" and self._is_matrix(node.input[1]):
                self._rewrite_product(node)
            elif node.op_type == "Gather" and self._is_matrix(node.input[0]):
                self._rewrite_lookup(node)
            elif node.op_type in {"GRU", "LSTM"}:
                for position in RECURRENT_WEIGHT_INPUTS:
                    node.input[position] = self._expanded(node.input[position], axis=1)
                self._nodes.append(node)
            else:
                self._nodes.append(node)
        self._finish()

    def _is_matrix(self, name: str) -> bool:
        constant = self._constants.get(name)
        return constant is not None and constant.ndim == 2 and constant.dtype == np.float32

    def _rewrite_product(self, node: onnx.NodeProto) -> None:
        kernel = node.input[1]
        parts = self._parts(node.input[0], len(self._constants[kernel]))
        if parts is None:
            node.input[1] = self._expanded(kernel, axis=1)
            self._nodes.append(node)
            return
        result = self._with_bias(node)
        if len(parts) == 1:
            self._add_product(parts[0], kernel, result)
            return
        names = [f"{result.tensor}_part_{part.start}" for part in parts]
        biases = [result.bias, *[""] * (len(parts) - 1)]
        for part, name, bias in zip(parts, names, biases, strict=True):
            self._add_product(part, kernel, _Result(name, bias))
        self._add("Sum", names, result.tensor)

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

    def _add_product(self, part: _Part, kernel: str, result: _Result) -> None:
        """Multiplies 8-bit activations by the rows of the kernel that belong to them, adds the bias, and scales.

        The bias is added before its column is scaled, so it is divided by the scale.
        """
        rows = self._constants[kernel][part.start : part.stop]
        weights, scales = quantize_along(rows, axis=1, limit=WEIGHT_LIMIT_IN_PRODUCTS)
        integers = self._constant(f"{kernel}_{part.start}_int8", weights)
        one = self._constant("one", np.array(1, dtype=np.float32))
        activation, activation_scale, zero_point = self._quantized(part)
        inputs = [activation, integers, activation_scale, one, zero_point]
        if result.bias:
            bias = self._constants[result.bias] / scales
            inputs += ["", self._constant(f"{result.bias}_before_{kernel}_scales", bias)]
        unscaled = self._add(PRODUCT, inputs, f"{result.tensor}_unscaled", domain=RUNTIME_DOMAIN)
        self._add("Mul", [unscaled, self._constant(f"{kernel}_{part.start}_scales", scales)], result.tensor)

    def _quantized(self, part: _Part) -> tuple[str, str, str]:
        """Names of a part's tensor in 8 bits, its scale and its zero point; products of one tensor share them.

        Rows of a table are rounded here, once, and looked up in 8 bits.
        """
        zero_point = self._constant("activation_zero_point", np.array(ACTIVATION_ZERO_POINT, dtype=np.uint8))
        step = np.array(part.bound / ACTIVATION_LIMIT, dtype=np.float32)
        scale = self._constant(f"{part.tensor}_scale", step)
        name = f"{part.tensor}_quantized"
        if name in self._written:
            return name, scale, zero_point
        lookup = self._bounds.producer(part.tensor)
        if lookup is not None and lookup.op_type == "Gather" and self._is_matrix(lookup.input[0]):
            table = np.rint(self._constants[lookup.input[0]] / step) + ACTIVATION_ZERO_POINT
            rows = self._constant(f"{lookup.input[0]}_as_activations", table.astype(np.uint8))
            self._add("Gather", [rows, lookup.input[1]], name)
        else:
            self._add("QuantizeLinear", [part.tensor, scale, zero_point], name)
        return name, scale, zero_point

    def _rewrite_lookup(self, node: onnx.NodeProto) -> None:
        table, scales = quantize_along(self._constants[node.input[0]], axis=0, limit=WEIGHT_LIMIT)
        name = node.output[0]
        rows = self._add("Gather", [self._constant(f"{node.input[0]}_int8", table), node.input[1]], f"{name}_int8")
        as_float = self._add("Cast", [rows], f"{name}_float", ("to", onnx.TensorProto.FLOAT))
        scale_table = self._constant(f"{node.input[0]}_scales", scales[:, None])
        row_scales = self._add("Gather", [scale_table, node.input[1]], f"{name}_scales")
        self._add("Mul", [as_float, row_scales], name)

    def _expanded(self, constant: str, axis: int) -> str:
        """Stores a constant in 8 bits behind a DequantizeLinear, which onnxruntime folds at load."""
        name = f"{constant}_expanded"
        if name not in self._written:
            weights, scales = quantize_along(self._constants[constant], axis, limit=WEIGHT_LIMIT)
            inputs = [
                self._constant(f"{constant}_int8_expanded", weights),
                self._constant(f"{constant}_scales", scales),
            ]
            self._add("DequantizeLinear", inputs, name, ("axis", axis))
        return name

    def _constant(self, name: str, value: Array) -> str:
        self._added[name] = value
        return name

    def _add(
        self, operation: str, inputs: list[str], output: str, attribute: tuple[str, int] | None = None, domain: str = ""
    ) -> str:
        node = helper.make_node(operation, inputs, [output], name=output, domain=domain)
        if attribute is not None:
            node.attribute.append(helper.make_attribute(*attribute))
        self._nodes.append(node)
        self._written.add(output)
        return output

    def _finish(self) -> None:
        constants = {**self._constants, **self._added}
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.initializer[:]
        self._graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
        drop_unread(self._graph)


def quantize_along(weights: Array, axis: int, limit: int) -> tuple[Array, npt.NDArray[np.float32]]:
    """Rounds weights symmetrically, with one scale per index of `axis`.

    Args:
        weights: float32, any shape.
        axis: the axis that keeps its own scales.
        limit: largest absolute integer used.

    Returns:
        int8 weights of the same shape, and float32 scales (weights.shape[axis],) with weights ~ integers * scale.
    """
    others = tuple(index for index in range(weights.ndim) if index != axis)
    largest = np.max(np.abs(weights), axis=others)
    scales = np.where(largest > NEGLIGIBLE_WEIGHT, largest, 1.0).astype(np.float32) / np.float32(limit)
    shape = [-1 if index == axis else 1 for index in range(weights.ndim)]
    integers = np.clip(np.rint(weights / scales.reshape(shape)), -limit, limit)
    return integers.astype(np.int8), scales
