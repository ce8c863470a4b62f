"""What 16-bit graphs give where every result is rounded to 16 bits, as on a GPU: onnxruntime rounds none on the CPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def with_rounded_results(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph that rounds to float16 and back whatever a 16-bit graph holds in float16."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    values = onnx.shape_inference.infer_shapes(model).graph.value_info
    halves = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Cast" and node.input[0] in halves:
            node.op_type = "Identity"
            del node.attribute[:]
        is_rounding = node.op_type == "Cast" and node.output[0] in halves
        for position, name in enumerate(node.output):
            if name in halves:
                half = name if is_rounding else f"{name}_exact"
                node.output[position] = f"{name}_16" if is_rounding else half
                if not is_rounding:
                    nodes.append(helper.make_node("Cast", [half], [f"{name}_16"], to=TensorProto.FLOAT16))
                nodes.append(helper.make_node("Cast", [f"{name}_16"], [name], to=TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    onnx.checker.check_model(rounded, full_check=True)
    return rounded
