"""The 8-bit graphs of a trained model, as they are exported and as onnxruntime loads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from model_export.integer_products import PRODUCT
from service.onnx_backend import session_options

Arrays = dict[str, npt.NDArray[np.generic]]

INT16_MAX = 32_767
BIGGEST_ACTIVATION = 255  # what an unsigned 8-bit activation can be

GRAPHS = ("encoder", "decoder_step")
each_graph = pytest.mark.parametrize("graph", GRAPHS)


def load(bundle: Path, graph: str, precision: str) -> onnx.ModelProto:
    return onnx.load(bundle / f"{graph}.{precision}.onnx")


def constants_of(model: onnx.ModelProto) -> Arrays:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def run(loaded: onnxruntime.InferenceSession, feeds: Arrays) -> Arrays:
    names = [output.name for output in loaded.get_outputs()]
    return dict(zip(names, loaded.run(names, feeds), strict=True))


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), session_options(1), ["CPUExecutionProvider"])


def source_batch(rows: int) -> Arrays:
    """Sentences of 1 to 8 tokens; the first is of full length."""
    generator = np.random.default_rng(5)
    lengths = np.concatenate([[8], generator.integers(1, 9, size=rows - 1)]).astype(np.int32)
    ids = generator.integers(4, 20, size=(rows, 8)) * (np.arange(8) < lengths[:, None])
    return {"source_ids": ids.astype(np.int32), "source_lengths": lengths}


def step_batch(encoded: Arrays, lengths: npt.NDArray[np.generic]) -> Arrays:
    rows = len(lengths)
    state = {name.removeprefix("initial_"): value for name, value in encoded.items() if name.startswith("initial_")}
    return {
        "input_ids": np.arange(4, 4 + rows, dtype=np.int32) % 20,
        "forced_ids": np.full(rows, 2, dtype=np.int32),
        "num_candidates": np.array([5], dtype=np.int64),
        "source_mask": np.arange(8) < lengths[:, None],
        "memory_keys": encoded["memory_keys"],
        "memory_values": encoded["memory_values"],
        **state,
    }


def first_rows(feeds: Arrays, count: int) -> Arrays:
    return {name: value if name == "num_candidates" else value[:count] for name, value in feeds.items()}


def with_loops(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    """A graph and the bodies of its loops."""
    bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.name == "body"]
    return [graph, *bodies]


def test_no_pair_of_products_exceeds_16_bits(reversing_bundle: Path) -> None:
    checked = []
    for name in GRAPHS:
        for graph in with_loops(load(reversing_bundle, name, "int8").graph):
            constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
            products = [node for node in graph.node if node.op_type == PRODUCT]
            for node in products:
                pairs = np.abs(constants[node.input[1]].astype(np.int64))
                assert (BIGGEST_ACTIVATION * (pairs[:-1] + pairs[1:])).max() <= INT16_MAX
                assert pairs.max() == 64  # nothing of the range is given away
            checked.append(len(products))
    # Inputs of the GRU's two directions, key projection, bridge; its states; the cell's input in two parts and its
    # state, query, attention vector, output.
    assert checked == [4, 2, 6]


@each_graph
def test_no_matrix_is_left_in_32_bits(reversing_bundle: Path, graph: str) -> None:
    model = load(reversing_bundle, graph, "int8")
    constants = constants_of(model)
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gather", "Gemm"):
            matrices = [constants[name] for name in node.input if name in constants and constants[name].ndim == 2]
            assert all(matrix.dtype != np.float32 or matrix.shape[1] == 1 for matrix in matrices)  # (rows, 1): scales


def test_the_encoder_runs_its_recurrence_in_8_bits(reversing_bundle: Path) -> None:
    stored = load(reversing_bundle, "encoder", "int8")
    assert "GRU" not in operations(stored)
    _, body = with_loops(stored.graph)
    matrices = [numpy_helper.to_array(tensor) for tensor in body.initializer if len(tensor.dims) == 2]
    assert [matrix.dtype for matrix in matrices] == [np.int8, np.int8]


@each_graph
def test_no_unread_constant_is_left(reversing_bundle: Path, graph: str) -> None:
    for precision in ("fp32", "int8"):
        model = load(reversing_bundle, graph, precision)
        read = {name for node in model.graph.node for name in node.input}
        assert set(constants_of(model)) <= read


@each_graph
def test_weights_take_a_quarter_of_the_space(reversing_bundle: Path, graph: str) -> None:
    sizes = {}
    for precision in ("fp32", "int8"):
        graphs = with_loops(load(reversing_bundle, graph, precision).graph)
        constants = [numpy_helper.to_array(tensor) for each in graphs for tensor in each.initializer]
        sizes[precision] = sum(array.nbytes for array in constants)
    assert sizes["int8"] < 0.31 * sizes["fp32"]  # scales and biases stay in 32 bits


def test_results_are_close_to_those_of_fp32(reversing_bundle: Path) -> None:
    encoders = {name: session(load(reversing_bundle, "encoder", name)) for name in ("fp32", "int8")}
    steps = {name: session(load(reversing_bundle, "decoder_step", name)) for name in ("fp32", "int8")}
    batch = source_batch(40)
    encoded = {name: run(encoder, batch) for name, encoder in encoders.items()}
    for name, expected in encoded["fp32"].items():
        np.testing.assert_allclose(encoded["int8"][name], expected, atol=0.1)
    feeds = step_batch(encoded["fp32"], batch["source_lengths"])
    outputs = {name: run(step, feeds) for name, step in steps.items()}
    for name in ("attention_weights", "next_hidden_0", "next_attention_vector"):
        assert np.abs(outputs["int8"][name] - outputs["fp32"][name]).mean() < 0.01


@pytest.mark.parametrize("rows", [1, 2, 3, 16])
def test_a_row_is_bit_equal_whatever_stands_beside_it(reversing_bundle: Path, rows: int) -> None:
    encoder = session(load(reversing_bundle, "encoder", "int8"))
    step = session(load(reversing_bundle, "decoder_step", "int8"))
    batch = source_batch(17)
    encoded = run(encoder, batch)
    feeds = step_batch(encoded, batch["source_lengths"])
    outputs = run(step, feeds)
    for name, found in run(encoder, first_rows(batch, rows)).items():
        np.testing.assert_array_equal(found, encoded[name][:rows], err_msg=name)
    for name, found in run(step, first_rows(feeds, rows)).items():
        np.testing.assert_array_equal(found, outputs[name][:rows], err_msg=name)
