"""16-bit graphs from fp32 graphs, for GPUs: products in half precision, what needs the range or the digits in float32.

Inputs and outputs stay float32, so that the tensor contract is that of every precision. Products with their operands,
looked-up embeddings and what lies between products run in float16; softmax, logarithms, sums, masks and whatever
happens to their results on the way to an output stay in float32. Log-probabilities and attention weights are therefore
rounded by what they are computed from, never themselves.

onnxruntime's own converter (`onnxruntime.transformers.float16`) decides by the kind of node alone and casts every
result of a float32 node to float16: log-probabilities too, before the best are chosen, and on to the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

PRODUCTS = {"MatMul", "Gemm", "GRU", "LSTM"}
BETWEEN_PRODUCTS = {
    "Add", "Concat", "Expand", "Flatten", "Identity", "Mul", "Neg", "Relu", "Reshape", "Sigmoid", "Slice", "Split",
    "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
}  # fmt: skip
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def to_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy of an fp32 graph that computes products in float16, with the same inputs and outputs.

    Args:
        model: as `model_export.graphs.convert` returns it.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    floats = _float_tensors(model)
    _Rewriter(half.graph, floats, _choose(half.graph, floats)).rewrite()
    onnx.checker.check_model(half, full_check=True)
    return half


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors, as far as shape inference knows them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)
    }
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name for name, kind in (values | constants).items() if kind == TensorProto.FLOAT}


def _choose(graph: onnx.GraphProto, floats: set[str]) -> set[str]:
    """The nodes, each named by its first output, that compute in float16."""
    chosen = _choose_forward(graph, floats)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in reversed(graph.node):
        read_in_half = any(
            reader.output[0] in chosen for name in node.output if name in floats for reader in readers.get(name, [])
        )
        if node.op_type in BETWEEN_PRODUCTS and not read_in_half:
            chosen.discard(node.output[0])
    return chosen


def _choose_forward(graph: onnx.GraphProto, floats: set[str]) -> set[str]:
    """Products, lookups, and what reads nothing but their results, inputs of the graph and constants."""
    chosen: set[str] = set()
    constants = {tensor.name for tensor in graph.initializer}
    given = constants | {value.name for value in graph.input}
    halves: set[str] = set()
    for node in graph.node:
        made = [name for name in node.input if name in floats and name not in given]
        if not floats.issuperset(filter(None, node.output)):
            continue
        is_product = node.op_type in PRODUCTS
        is_lookup = node.op_type == "Gather" and node.input[0] in constants
        is_between = node.op_type in BETWEEN_PRODUCTS and bool(made) and halves.issuperset(made)
        if is_product or is_lookup or is_between:
            chosen.add(node.output[0])
            halves.update(node.output)
    return chosen


class _Rewriter:
    """Gives the chosen nodes float16 tensors: `NAME_half` beside the float32 tensor `NAME`, each where it is read."""

    def __init__(self, graph: onnx.GraphProto, floats: set[str], chosen: set[str]) -> None:
        self._graph = graph
        self._floats = floats
        self._chosen = chosen
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._halves: set[str] = set()  # tensors that there is a float16 version of
        self._read_whole = {output.name for output in graph.output}
        for node in graph.node:
            if not self._is_chosen(node):
                self._read_whole.update(_inputs(node))

    def rewrite(self) -> None:
        """Rewrites the graph in place."""
        for node in self._graph.node:
            if self._is_chosen(node):
                self._compute_in_half(node)
            else:
                self._nodes.append(node)
        read = {name for node in self._nodes for name in _inputs(node)} | self._read_whole
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        kept = {name: value for name, value in self._constants.items() if name in read}
        self._graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in kept.items())

    def _is_chosen(self, node: onnx.NodeProto) -> bool:
        return node.output[0] in self._chosen

    def _compute_in_half(self, node: onnx.NodeProto) -> None:
        for position, name in enumerate(node.input):
            if name in self._floats:
                node.input[position] = self._half(name)
        self._nodes.append(node)
        for position, name in enumerate(node.output):
            if name:
                node.output[position] = _half_name(name)
                self._halves.add(name)
                if name in self._read_whole:
                    self._cast(_half_name(name), name, TensorProto.FLOAT)

    def _half(self, name: str) -> str:
        """The float16 version of a tensor, made here if there is none yet."""
        if name not in self._halves:
            self._halves.add(name)
            constant = self._constants.get(name)
            if constant is None:
                self._cast(name, _half_name(name), TensorProto.FLOAT16)
            else:
                limited = constant.clip(-LARGEST_FLOAT16, LARGEST_FLOAT16)
                self._constants[_half_name(name)] = limited.astype(np.float16)
        return _half_name(name)

    def _cast(self, source: str, target: str, kind: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=kind))


def _half_name(name: str) -> str:
    return f"{name}_half"


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, its loop's body included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for each in inner.node:
                yield from _inputs(each)
            yield from (output.name for output in inner.output)
