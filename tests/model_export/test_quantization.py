"""Quantising graphs: bounds and rounding, computed by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from model_export.activation_bounds import ActivationBounds
from model_export.integer_products import PRODUCT, quantize_along
from model_export.quantization import quantize
from service.onnx_backend import session_options


def make_graph(inputs: str, outputs: str, body: str, **constants: npt.ArrayLike) -> onnx.ModelProto:
    """A graph of the nodes in `body` over float32 constants."""
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 17]> graph ({inputs}) => ({outputs}) {{ {body} }}'
    )
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
    return model


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), session_options(1), ["CPUExecutionProvider"])


def weights(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# --- Bounds -----------------------------------------------------------------------------------------------------

X = "float[2, 3] x"
BOUNDS = {
    "a tanh": ("y = Tanh (x)", 1.0),
    "a sigmoid": ("y = Sigmoid (x)", 1.0),
    "a known tensor's tanh": ("y = Tanh (known)", 1.0),
    "a known tensor": ("y = Identity (known)", 2.0),
    "a constant": ("y = Identity (table)", 4.0),
    "rows of a table": ("ids = Constant <value_ints = [1, 0]> () y = Gather (table, ids)", 4.0),
    "a product": ("a = Tanh (x) y = Mul (a, table)", 4.0),
    "a sum": ("a = Tanh (x) y = Add (a, table)", 5.0),
    "a difference": ("a = Tanh (x) y = Sub (a, known)", 3.0),
    "a gated mixture": ("z = Sigmoid (x) h = Tanh (x) a = Mul (z, h) b = Mul (z, known) y = Add (a, b)", 3.0),
    "neighbours": ("a = Tanh (x) y = Concat <axis = 1> (a, known)", 2.0),
    "a transposed tanh": ("a = Tanh (x) y = Transpose <perm = [1, 0]> (a)", 1.0),
    "an average by softmax": ("a = Softmax (x) y = MatMul (a, rows)", 5.0),
    "a choice": ("c = Less (x, known) a = Tanh (x) y = Where (c, a, known)", 2.0),
    "a comparison as a number": ("a = Less (x, known) y = Cast <to = 1> (a)", 1.0),
}
FREE = {
    "an input": "y = Identity (x)",
    "a product with weights": "a = Tanh (x) y = MatMul (a, rows)",
    "a product with an input": "a = Tanh (x) y = Mul (a, x)",
    "an exponential": "y = Exp (x)",
    "an unmasked quotient": "a = Tanh (x) y = Div (a, known)",
}
CONSTANTS = {"table": [[0.5, -4.0, 1.0], [2.0, 0.0, 3.0]], "rows": [[1.0, -5.0], [2.0, 2.0], [0.0, 3.0]]}
KNOWN = {"known": 2.0}


def bounded_graph(body: str) -> onnx.ModelProto:
    return make_graph(f"{X}, float[2, 3] known", "float[N, M] y", body, **CONSTANTS)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_are_those_found_by_hand(name: str) -> None:
    body, expected = BOUNDS[name]
    assert ActivationBounds(bounded_graph(body).graph, KNOWN).bound("y") == expected


@pytest.mark.parametrize("name", BOUNDS)
def test_no_value_exceeds_its_bound(name: str) -> None:
    body, expected = BOUNDS[name]
    graph = bounded_graph(body)
    known = np.random.default_rng(1).uniform(-2, 2, size=(2, 3)).astype(np.float32)
    for scale in (0.1, 3.0, 1000.0):
        [values] = session(graph).run(None, {"x": scale * weights(2, 3), "known": known})
        assert np.abs(values).max() <= expected


@pytest.mark.parametrize("name", FREE)
def test_what_can_grow_has_no_bound(name: str) -> None:
    assert ActivationBounds(bounded_graph(FREE[name]).graph, KNOWN).bound("y") is None


def test_the_cell_state_of_an_lstm_has_no_bound() -> None:
    body = "all, hidden, cell = LSTM <hidden_size = 2> (x, kernel, recurrent_kernel)"
    kernels = {"kernel": weights(1, 8, 3), "recurrent_kernel": weights(1, 8, 2)}
    graph = make_graph("float[4, 1, 3] x", "float[1, 1, 2] cell", body, **kernels).graph
    bounds = ActivationBounds(graph, {})
    assert (bounds.bound("all"), bounds.bound("hidden"), bounds.bound("cell")) == (1.0, 1.0, None)


AVERAGE = """
mask = Less (x, limit) numbers = Cast <to = 1> (mask) values = Tanh (x) masked = Mul (values, FACTOR)
axis = Constant <value_ints = [1]> () total = ReduceSum (masked, axis) count = ReduceSum (numbers, axis)
y = Div (total, count)
"""


@pytest.mark.parametrize(("factor", "expected"), [("numbers", 1.0), ("x", None)])
def test_an_average_is_bounded_only_under_its_own_mask(factor: str, expected: float | None) -> None:
    graph = make_graph(X, "float[2, 1] y", AVERAGE.replace("FACTOR", factor), limit=0.5)
    assert ActivationBounds(graph.graph, {}).bound("y") == expected


# --- Rounding ---------------------------------------------------------------------------------------------------


def test_weights_are_rounded_with_a_scale_per_column() -> None:
    integers, scales = quantize_along(np.array([[1.0, -2.0], [0.5, 4.0]], dtype=np.float32), axis=1, limit=64)
    assert integers.dtype == np.int8
    assert integers.tolist() == [[64, -32], [32, 64]]
    assert scales.tolist() == [1 / 64, 1 / 16]


def test_weights_are_rounded_with_a_scale_per_row() -> None:
    integers, scales = quantize_along(np.array([[1.0, -0.5], [0.0, 0.0]], dtype=np.float32), axis=0, limit=127)
    assert integers.tolist() == [[127, -64], [0, 0]]  # 63.5 goes to the even neighbour
    assert scales[0] == np.float32(1) / np.float32(127)


def test_a_bounded_product_is_computed_in_integers() -> None:
    kernel = np.array([[1.0, -2.0], [0.5, 4.0]], dtype=np.float32)
    graph = make_graph("float[N, 2] x", "float[N, 2] y", "a = Tanh (x) y = MatMul (a, kernel)", kernel=kernel)
    quantized = quantize(graph, {})
    assert operations(quantized) == ["Tanh", "QuantizeLinear", PRODUCT, "Mul"]
    x = np.array([[0.3, -0.7], [20.0, -20.0]], dtype=np.float32)
    [found] = session(quantized).run(None, {"x": x})
    # tanh: 0.2913 and -0.6044, times 127: 37.0 and -76.8; the second row is 127 and -127.
    activations = np.array([[37, -77], [127, -127]])
    by_hand = activations @ np.array([[64, -32], [32, 64]]) * np.array([1 / 64, 1 / 16]) / 127
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


@pytest.mark.parametrize("added", ["p, bias", "bias, p"])
def test_a_bias_is_added_within_the_product(added: str) -> None:
    kernel, bias = weights(4, 3), np.array([100.0, -0.5, 0.0], dtype=np.float32)
    constants = {"kernel": kernel, "bias": bias}
    body = "a = Tanh (x) p = MatMul (a, kernel) y = "
    graphs = [
        make_graph("float[N, 4] x", "float[N, 3] y", body + end, **constants)
        for end in (f"Add ({added})", "Identity (p)")
    ]
    biased, plain = (quantize(graph, {}) for graph in graphs)
    assert operations(biased) == ["Tanh", "QuantizeLinear", PRODUCT, "Mul"]
    x = {"x": weights(5, 4, seed=1)}
    [[found], [without]] = (session(graph).run(None, x) for graph in (biased, plain))
    np.testing.assert_allclose(found, without + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("other", ["z = Neg (p)", "z = Add (p, square)"])
def test_what_is_read_without_the_bias_has_none(other: str) -> None:
    body = f"a = Tanh (x) p = MatMul (a, kernel) y = Add (p, bias) {other}"
    constants = {"kernel": weights(2, 2), "bias": [3.0, 4.0], "square": np.eye(2)}
    graph = make_graph("float[2, 2] x", "float[2, 2] y, float[2, 2] z", body, **constants)
    x = {"x": weights(2, 2, seed=1)}
    for found, expected in zip(session(quantize(graph, {})).run(None, x), session(graph).run(None, x), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_what_is_added_to_a_product_and_varies_stays_apart() -> None:
    body = "a = Tanh (x) p = MatMul (a, kernel) y = Add (p, x)"
    graph = make_graph("float[2, 2] x", "float[2, 2] y", body, kernel=weights(2, 2))
    assert operations(quantize(graph, {})) == ["Tanh", "QuantizeLinear", PRODUCT, "Mul", "Add"]


def test_a_column_too_small_for_its_scale_leaves_its_bias() -> None:
    kernel = np.array([[1e-38, 1.0], [0.0, 1.0]], dtype=np.float32)
    body = "a = Tanh (x) p = MatMul (a, kernel) y = Add (p, bias)"
    graph = make_graph("float[1, 2] x", "float[1, 2] y", body, kernel=kernel, bias=[-7.0, 1.0])
    [found] = session(quantize(graph, {})).run(None, {"x": np.zeros((1, 2), dtype=np.float32)})
    np.testing.assert_allclose(found, [[-7.0, 1.0]], rtol=1e-6)


def test_products_of_one_tensor_share_its_rounding() -> None:
    body = "a = Tanh (x) y = MatMul (a, kernel) z = MatMul (a, other)"
    constants = {"kernel": weights(2, 3), "other": weights(2, 3, seed=1)}
    graph = make_graph("float[N, 2] x", "float[N, 3] y, float[N, 3] z", body, **constants)
    assert operations(quantize(graph, {})) == ["Tanh", "QuantizeLinear", PRODUCT, "Mul", PRODUCT, "Mul"]


LOOKUP = "rows = Gather (table, ids) y = MatMul (rows, kernel)"


def test_rows_of_a_product_are_looked_up_in_8_bits() -> None:
    table = np.array([[2.0, -1.0], [0.004, -2.0]], dtype=np.float32)
    graph = make_graph("int32[N] ids", "float[N, 2] y", LOOKUP, table=table, kernel=np.eye(2))
    quantized = quantize(graph, {})
    assert operations(quantized) == ["Gather", PRODUCT, "Mul"]
    by_hand = [[255, 64], [128, 1]]  # 127 * -1 / 2 = -63.5 goes to the even neighbour; 0 is stored as 128
    assert [each.tolist() for each in map(numpy_helper.to_array, quantized.graph.initializer)].count(by_hand) == 1
    [found] = session(quantized).run(None, {"ids": np.array([1, 0, 1], dtype=np.int32)})
    np.testing.assert_allclose(found, [[0.0, -2.0], [2.0, -128 / 127], [0.0, -2.0]], rtol=1e-6)


def test_rows_that_are_read_besides_are_also_kept_with_scales_of_their_own() -> None:
    table = np.array([[100.0, -50.0], [0.01, 0.005]], dtype=np.float32)
    body = f"{LOOKUP} z = Neg (rows)"
    graph = make_graph("int32[N] ids", "float[N, 2] y, float[N, 2] z", body, table=table, kernel=np.eye(2))
    _, negated = session(quantize(graph, {})).run(None, {"ids": np.array([1], dtype=np.int32)})
    np.testing.assert_allclose(negated, -table[[1]], rtol=0.01)


def test_table_rows_are_rounded_alone() -> None:
    table = np.array([[100.0, -50.0], [0.01, 0.005]], dtype=np.float32)
    graph = make_graph("int32[N] ids", "float[N, 2] y", "y = Gather (table, ids)", table=table)
    [found] = session(quantize(graph, {})).run(None, {"ids": np.array([1, 0, 1], dtype=np.int32)})
    np.testing.assert_allclose(found, table[[1, 0, 1]], rtol=0.01)


def test_a_free_product_keeps_its_activations() -> None:
    kernel = weights(16, 3)
    graph = make_graph("float[N, 16] x", "float[N, 3] y", "y = MatMul (x, kernel)", kernel=kernel)
    quantized = quantize(graph, {})
    assert operations(quantized) == ["DequantizeLinear", "MatMul"]
    x = 1000 * weights(5, 16, seed=1)
    [found] = session(quantized).run(None, {"x": x})
    # Each weight is at most half a step of its column's largest / 127 away.
    most = np.abs(x).sum(axis=1, keepdims=True) * np.abs(kernel).max(axis=0) / 127 / 2
    assert (np.abs(found - x @ kernel) <= 1.001 * most).all()


def test_an_integer_product_errs_by_no_more_than_its_steps_allow() -> None:
    kernel = weights(64, 7)
    graph = make_graph("float[N, 64] x", "float[N, 7] y", "a = Tanh (x) y = MatMul (a, kernel)", kernel=kernel)
    x = 3 * weights(40, 64, seed=1)
    [found] = session(quantize(graph, {})).run(None, {"x": x})
    largest = np.abs(kernel).max(axis=0)
    activation_step, weight_steps = 1 / 127, largest / 64
    most = (np.abs(kernel) * activation_step / 2 + (1 + activation_step / 2) * weight_steps / 2).sum(axis=0)
    assert (np.abs(found - np.tanh(x) @ kernel) <= most).all()


def test_parts_of_different_range_have_scales_of_their_own() -> None:
    body = "a = Tanh (x) b = Concat <axis = 1> (wide, a) y = MatMul (b, kernel)"
    kernel = np.array([[0.01], [0.02], [2.0], [-3.0], [4.0]], dtype=np.float32)
    graph = make_graph("float[2, 2] wide, float[2, 3] x", "float[2, 1] y", body, kernel=kernel)
    quantized = quantize(graph, {"wide": 1000.0})
    assert operations(quantized).count(PRODUCT) == 2
    assert "Concat" not in operations(quantized)  # nothing reads it any more
    wide, x = np.array([[1000.0, -300.0], [3.0, 700.0]], dtype=np.float32), weights(2, 3)
    [found] = session(quantized).run(None, {"wide": wide, "x": x})
    # Steps of 1000/127 would leave nothing of the tanh; apart, half a step of each activation and weight is the most.
    parts = ((np.abs(wide), kernel[:2], 1000 / 127), (np.abs(np.tanh(x)), kernel[2:], 1 / 127))
    most = sum(
        (np.abs(rows) * step / 2).sum() + (values.sum(axis=1) + len(rows) * step / 2) * np.abs(rows).max() / 64 / 2
        for values, rows, step in parts
    )
    assert (np.abs(found - np.hstack([wide, np.tanh(x)]) @ kernel)[:, 0] <= most).all()


def test_parts_that_stand_below_each_other_stay_together() -> None:
    body = "a = Tanh (x) b = Concat <axis = 0> (wide, a) y = MatMul (b, kernel)"
    graph = make_graph("float[2, 3] wide, float[2, 3] x", "float[4, 3] y", body, kernel=np.eye(3))
    quantized = quantize(graph, {"wide": 2.0})
    assert operations(quantized).count(PRODUCT) == 1
    wide, x = 2 * np.tanh(weights(2, 3)), weights(2, 3, seed=1)
    [found] = session(quantized).run(None, {"wide": wide, "x": x})
    np.testing.assert_allclose(found, np.vstack([wide, np.tanh(x)]), atol=1 / 127)


def test_scalars_stay_scalars_and_unread_constants_go() -> None:
    body = "a = Tanh (x) b = Mul (a, factor) y = MatMul (b, kernel)"
    graph = make_graph("float[N, 2] x", "float[N, 2] y", body, factor=3.0, kernel=np.eye(2) * 1.5, unread=[7.0])
    constants = {tensor.name: tensor for tensor in quantize(graph, {}).graph.initializer}
    assert list(constants["factor"].dims) == []
    assert not constants.keys() & {"kernel", "unread"}
