"""8-bit graphs from fp32 graphs, with activation scales that are fixed at export.

Matrix products with a constant matrix become `MatMulInteger`. Their activations are bounded by construction (tanh
outputs, gated states, averages of them, known embeddings), so the scale follows from the bound alone: nothing is
calibrated, nothing saturates, and a row's result does not depend on the rows beside it. Weights get one scale per
output column. Embedding tables get one scale per row. Weights of recurrent nodes, for which ONNX has no 8-bit form,
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

Array = npt.NDArray[Any]

# Kernels without VNNI add pairs of unsigned x signed products in 16 bits. With |weight| <= 64 no pair can exceed
# 2 * 255 * 64 = 32,640 < 32,767, so every processor gives the same result.
WEIGHT_LIMIT_IN_PRODUCTS = 64
WEIGHT_LIMIT = 127
ACTIVATION_LIMIT = 127
ACTIVATION_ZERO_POINT = 128

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
    onnx.checker.check_model(quantized)
    return quantized


class _Part(NamedTuple):
    """Columns `start` to `stop` of a product's left side: the tensor that gives them, and its bound."""

    tensor: str
    start: int
    stop: int
    bound: float


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
        self._nodes: list[onnx.NodeProto] = []
        self._added: dict[str, Array] = {}

    def rewrite(self) -> None:
        """Rewrites the whole graph in place."""
        for node in self._graph.node:
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
        kernel, output = node.input[1], node.output[0]
        parts = self._parts(node.input[0], len(self._constants[kernel]))
        if parts is None:
            node.input[1] = self._expanded(kernel, axis=1)
            self._nodes.append(node)
            return
        if len(parts) == 1:
            self._add_product(parts[0], kernel, output)
            return
        products = [self._add_product(part, kernel, f"{output}_part_{part.start}") for part in parts]
        self._add("Sum", products, output)

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

    def _add_product(self, part: _Part, kernel: str, output: str) -> str:
        """Multiplies 8-bit activations by the rows of the kernel that belong to them."""
        rows = self._constants[kernel][part.start : part.stop]
        weights, scales = quantize_along(rows, axis=1, limit=WEIGHT_LIMIT_IN_PRODUCTS)
        activation_scale = np.float32(part.bound / ACTIVATION_LIMIT)
        zero_point = self._constant("activation_zero_point", np.array(ACTIVATION_ZERO_POINT, dtype=np.uint8))
        scale = self._constant(f"{output}_activation_scale", np.array(activation_scale))
        activation = self._add("QuantizeLinear", [part.tensor, scale, zero_point], f"{output}_quantized")
        integers = self._constant(f"{kernel}_{part.start}_int8", weights)
        product = self._add("MatMulInteger", [activation, integers, zero_point], f"{output}_integer")
        as_float = self._add("Cast", [product], f"{output}_float", ("to", onnx.TensorProto.FLOAT))
        factors = self._constant(f"{output}_scale", (scales * activation_scale).astype(np.float32))
        return self._add("Mul", [as_float, factors], output)

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
        if not any(name in node.output for node in self._nodes):
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

    def _add(self, operation: str, inputs: list[str], output: str, attribute: tuple[str, int] | None = None) -> str:
        node = helper.make_node(operation, inputs, [output], name=output)
        if attribute is not None:
            node.attribute.append(helper.make_attribute(*attribute))
        self._nodes.append(node)
        return output

    def _finish(self) -> None:
        read = {name for node in self._nodes for name in node.input}
        constants = {**self._constants, **self._added}
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.initializer[:]
        self._graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in constants.items() if name in read
        )


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
    scales = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(limit)
    shape = [-1 if index == axis else 1 for index in range(weights.ndim)]
    integers = np.clip(np.rint(weights / scales.reshape(shape)), -limit, limit)
    return integers.astype(np.int8), scales
