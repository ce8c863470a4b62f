"""Removes what TensorFlow and tf2onnx leave in a graph and the service would pay for in every call.

With one row a step takes about 100 us, and every node about one of them, however little it does. No rule changes a
result. (Additive attention's weighted sums stay sums: as products with a vector they would take half the time, but
their last bit would depend on how far a sentence is padded, and so on its neighbours.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]

SHAPING_ONE_NUMBER = {"Cast", "Squeeze", "Unsqueeze", "Slice", "Reshape", "Identity"}
FARTHEST_WIDTH = 1_000_000_000  # an end of a slice from here on means "to the end"; tf2onnx writes this very number
SCALAR_RANK = 0


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a graph that computes the same in fewer nodes."""
    simpler = onnx.ModelProto()
    simpler.CopyFrom(model)
    _Simplification(simpler.graph).apply()
    return simpler


def drop_unread(graph: onnx.GraphProto) -> None:
    """Drops nodes and constants that no output depends on; onnxruntime would run such nodes."""
    read = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


class _Simplification:
    """The rules, each of which looks at one node and may change it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._outputs = {output.name for output in graph.output}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._producers = {output: node for node in graph.node for output in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def apply(self) -> None:
        """Simplifies the graph in place."""
        rules = {
            "Slice": self._skip_whole_slice,
            "Gather": self._take_ids_as_they_are,
            "Mul": self._scale_table,
            "TopK": self._take_count_as_it_is,
        }
        for node in self._graph.node:
            if node.op_type in rules:
                rules[node.op_type](node)
        drop_unread(self._graph)

    def _skip_whole_slice(self, node: onnx.NodeProto) -> None:
        """A slice of everything, as `x[:, None]` leaves one behind the new axis."""
        starts, ends, _, steps = [*(self._constants.get(name) for name in node.input[1:]), None, None][:4]
        if starts is None or ends is None or node.output[0] in self._outputs:
            return
        whole = not starts.any() and (ends >= FARTHEST_WIDTH).all() and (len(node.input) < 5 or _is_filled(steps, 1))
        if whole:
            self._read_instead(node.output[0], node.input[0])

    def _take_ids_as_they_are(self, node: onnx.NodeProto) -> None:
        """Ids below 0 counted from the end, which ONNX's Gather does by itself."""
        table, choice = self._constants.get(node.input[0]), self._producers.get(node.input[1])
        if table is None or choice is None or choice.op_type != "Where" or _attribute(node, "axis", 0) != 0:
            return
        condition, added = (self._producers.get(name) for name in choice.input[:2])
        ids = choice.input[2]
        if condition is None or added is None or (condition.op_type, added.op_type) != ("Less", "Add"):
            return
        below_zero = self._source(condition.input[0], {"Cast"}) == ids and _is_filled(
            self._constants.get(condition.input[1]), 0
        )
        rows = self._constants.get(added.input[1])
        if below_zero and added.input[0] == ids and _is_filled(rows, len(table)):
            self._replace_input(node, 1, ids)

    def _scale_table(self, node: onnx.NodeProto) -> None:
        """Rows looked up and multiplied by a number: the table is multiplied instead."""
        for rows, factor in (node.input, reversed(node.input)):
            lookup, number = self._producers.get(rows), self._constants.get(factor)
            if lookup is None or lookup.op_type != "Gather" or number is None or number.ndim != SCALAR_RANK:
                continue
            name = lookup.input[0]
            table = self._constants.get(name)
            if table is not None and self._is_read_once(rows) and self._is_read_once(name):
                self._replace_input(lookup, 0, self._add_constant(f"{name}_scaled", table * number))
                if node.output[0] in self._outputs:
                    continue
                self._read_instead(node.output[0], rows)

    def _take_count_as_it_is(self, node: onnx.NodeProto) -> None:
        """A count that was made a scalar, cast and made a vector again."""
        source = self._source(node.input[1], SHAPING_ONE_NUMBER)
        for given in self._graph.input:
            kind = given.type.tensor_type
            if given.name == source and kind.elem_type == onnx.TensorProto.INT64 and _shape(kind) == [1]:
                self._replace_input(node, 1, source)

    def _source(self, tensor: str, operations: set[str]) -> str:
        """The tensor that `tensor` is made from by `operations` alone."""
        node = self._producers.get(tensor)
        while node is not None and node.op_type in operations:
            tensor = node.input[0]
            node = self._producers.get(tensor)
        return tensor

    def _is_read_once(self, tensor: str) -> bool:
        return len(self._readers[tensor]) == 1 and tensor not in self._outputs

    def _read_instead(self, old: str, new: str) -> None:
        for reader in list(self._readers.get(old, [])):
            for position, name in enumerate(reader.input):
                if name == old:
                    self._replace_input(reader, position, new)

    def _replace_input(self, node: onnx.NodeProto, position: int, new: str) -> None:
        self._readers[node.input[position]].remove(node)
        node.input[position] = new
        self._readers.setdefault(new, []).append(node)

    def _add_constant(self, name: str, value: Array) -> str:
        if name in self._constants:
            return name
        self._constants[name] = value
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def _is_filled(constant: Array | None, value: int) -> bool:
    """Whether all of a constant is one number."""
    return constant is not None and constant.size > 0 and bool((constant == value).all())


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    values = [helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return int(values[0]) if values else default


def _shape(kind: onnx.TypeProto.Tensor) -> Sequence[int]:
    return [dimension.dim_value for dimension in kind.shape.dim]
