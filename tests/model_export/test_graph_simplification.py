"""Simplifying graphs: each rule where it applies, where it must not, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import onnxruntime
import pytest
from onnx import numpy_helper

from model_export.graph_simplification import simplify
from service.onnx_backend import session_options

FAR = 1_000_000_000
TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)
X = np.random.default_rng(3).normal(size=(2, 5, 3)).astype(np.float32)
IDS = np.array([0, 3, -1, -4], dtype=np.int32)


def make_graph(inputs: str, outputs: str, body: str, constants: dict[str, npt.NDArray[Any]]) -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 17]> graph ({inputs}) => ({outputs}) {{ {body} }}'
    )
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model


def run(model: onnx.ModelProto, feeds: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options(1), ["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def operations(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def long(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


# --- Slices -----------------------------------------------------------------------------------------------------


def sliced(body: str, **constants: npt.NDArray[Any]) -> onnx.ModelProto:
    return make_graph("float[B, S, 3] x", "float[B, T, U] y", body, constants)


SLICE = "a = Neg (x) b = Slice (a, starts, ends, axes, steps) y = Abs (b)"


def test_a_slice_of_everything_goes() -> None:
    whole = {"starts": long(0, 0), "ends": long(FAR, FAR), "axes": long(0, 1), "steps": long(1, 1)}
    model = sliced(SLICE, **whole)
    simpler = simplify(model)
    assert operations(simpler) == ["Neg", "Abs"]
    np.testing.assert_array_equal(run(simpler, {"x": X}), run(model, {"x": X}))


@pytest.mark.parametrize(
    ("starts", "ends", "steps"),
    [((1, 0), (FAR, FAR), (1, 1)), ((0, 0), (FAR, 2), (1, 1)), ((0, 0), (FAR, FAR), (1, 2))],
)
def test_a_slice_of_a_part_stays(starts: tuple[int, ...], ends: tuple[int, ...], steps: tuple[int, ...]) -> None:
    constants = {"starts": long(*starts), "ends": long(*ends), "axes": long(0, 1), "steps": long(*steps)}
    assert operations(simplify(sliced(SLICE, **constants))) == ["Neg", "Slice", "Abs"]


def test_a_slice_whose_result_is_asked_for_stays() -> None:
    body = "a = Neg (x) y = Slice (a, starts, ends)"
    assert operations(simplify(sliced(body, starts=long(0), ends=long(FAR)))) == ["Neg", "Slice"]


# --- Lookups ----------------------------------------------------------------------------------------------------

LOOKUP = """
n = Cast <to = 1> (ids) low = Less (n, limit) more = Add (ids, rows) chosen = Where (low, more, ids)
y = Gather (table, chosen)
"""


def lookup(limit: float = 0.0, rows: int = 4) -> onnx.ModelProto:
    constants = {"limit": np.float32(limit), "rows": np.array(rows, dtype=np.int32), "table": TABLE}
    return make_graph("int32[N] ids", "float[N, 3] y", LOOKUP, {k: np.asarray(v) for k, v in constants.items()})


def test_ids_below_zero_are_left_to_the_lookup() -> None:
    simpler = simplify(lookup())
    assert operations(simpler) == ["Gather"]
    np.testing.assert_array_equal(run(simpler, {"ids": IDS})[0], TABLE[IDS])


@pytest.mark.parametrize(("limit", "rows"), [(1.0, 4), (0.0, 3)])
def test_ids_that_are_changed_otherwise_stay_so(limit: float, rows: int) -> None:
    assert operations(simplify(lookup(limit, rows))) == operations(lookup())


@pytest.mark.parametrize("factors", ["rows, factor", "factor, rows"])
def test_a_table_is_scaled_instead_of_its_rows(factors: str) -> None:
    body = f"rows = Gather (table, ids) b = Mul ({factors}) y = Neg (b)"
    constants = {"table": TABLE, "factor": np.array(0.3, dtype=np.float32)}
    model = make_graph("int32[N] ids", "float[N, 3] y", body, constants)
    simpler = simplify(model)
    assert operations(simpler) == ["Gather", "Neg"]
    np.testing.assert_array_equal(run(simpler, {"ids": IDS}), run(model, {"ids": IDS}))


OTHER_USES = {
    "its rows are read unscaled": ("z = Neg (rows)", "z"),
    "its rows are an output": ("", "rows"),
    "it is looked up twice": ("z = Gather (table, ids)", "z"),
}


@pytest.mark.parametrize("reason", OTHER_USES)
def test_a_table_stays_where(reason: str) -> None:
    more, output = OTHER_USES[reason]
    body = f"rows = Gather (table, ids) b = Mul (rows, factor) y = Neg (b) {more}"
    constants = {"table": TABLE, "factor": np.array(0.3, dtype=np.float32)}
    model = make_graph("int32[N] ids", f"float[N, 3] y, float[N, 3] {output}", body, constants)
    assert operations(simplify(model)) == operations(model)


def test_a_table_stays_where_the_scaled_rows_are_an_output() -> None:
    constants = {"table": TABLE, "factor": np.array(0.3, dtype=np.float32)}
    body = "rows = Gather (table, ids) y = Mul (rows, factor)"
    model = make_graph("int32[N] ids", "float[N, 3] y", body, constants)
    assert operations(simplify(model)) == ["Gather", "Mul"]


# --- Counts ------------------------------------------------------------------------------------------------------

COUNT = """
first = Slice (count, zero, one, zero) number = Squeeze (first, zero) small = Cast <to = 6> (number)
large = Cast <to = 7> (small) k = Unsqueeze (large, zero) y, z = TopK (x, k)
"""


def test_a_count_is_taken_as_it_is() -> None:
    inputs = "float[B, N] x, int64[1] count"
    model = make_graph(inputs, "float[B, K] y, int64[B, K] z", COUNT, {"zero": long(0), "one": long(1)})
    simpler = simplify(model)
    assert operations(simpler) == ["TopK"]
    for count in (1, 3):
        feeds = {"x": X[0], "count": long(count)}
        for found, expected in zip(run(simpler, feeds), run(model, feeds), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_one_of_several_counts_is_still_chosen() -> None:
    inputs = "float[B, N] x, int64[2] count"
    model = make_graph(inputs, "float[B, K] y, int64[B, K] z", COUNT, {"zero": long(0), "one": long(1)})
    assert operations(simplify(model)) == operations(model)


def test_what_no_output_depends_on_goes() -> None:
    model = make_graph(
        "float[2] x", "float[2] y", "a = Add (x, unread) b = Neg (a) y = Abs (x)", {"unread": X[0, 0, :2]}
    )
    simpler = simplify(model)
    assert operations(simpler) == ["Abs"]
    assert not simpler.graph.initializer
