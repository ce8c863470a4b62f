"""Mechanisms and wrapper compute the same in onnxruntime, in graphs without loops."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx

from model_export.attention_wrapper import AttentionWrapperState
from model_export.graphs import OPSET
from model_export.weight_transfer import load_reference_weights
from tests.model_export.reference_vectors import (
    Case,
    check_mechanism,
    check_wrapper,
    initial_cell_state_of,
    load_cases,
    make_mechanism,
    make_wrapper,
    mask_of,
)
from tests.model_export.tiny_models import as_numpy

LOOPS = {"If", "Loop", "Scan"}


def fixed_depth(array: Any) -> tf.TensorSpec:
    """Like `array`, of any size but in the last dimension."""
    return tf.TensorSpec([None] * (len(array.shape) - 1) + [array.shape[-1]], tf.as_dtype(array.dtype))


def any_size(array: Any) -> tf.TensorSpec:
    """Of the rank and type of `array`."""
    return tf.TensorSpec([None] * len(array.shape), tf.as_dtype(array.dtype))


class Graph:
    """A function converted to ONNX and loaded.

    Args:
        function: takes and returns tensors in any nesting.
        *specs: its arguments, as nested specifications of tensors.
    """

    def __init__(self, function: Callable[..., Any], *specs: Any) -> None:
        flat = [
            tf.TensorSpec(spec.shape, spec.dtype, f"input_{index}")
            for index, spec in enumerate(keras.tree.flatten(specs))
        ]

        def run(*tensors: Any) -> dict[str, Any]:
            self._results = function(*keras.tree.pack_sequence_as(specs, tensors))
            return {f"output_{index}": tensor for index, tensor in enumerate(keras.tree.flatten(self._results))}

        traced = tf.function(run, input_signature=flat, autograph=False)
        model, _ = tf2onnx.convert.from_function(traced, input_signature=flat, opset=OPSET)
        assert not LOOPS & {node.op_type for node in model.graph.node}
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self._reads = {node.name for node in self._session.get_inputs()}

    def __call__(self, *arrays: Any) -> Any:
        inputs = {f"input_{index}": np.asarray(array) for index, array in enumerate(keras.tree.flatten(arrays))}
        read = {name: array for name, array in inputs.items() if name in self._reads}
        names = [f"output_{index}" for index in range(len(keras.tree.flatten(self._results)))]
        return keras.tree.pack_sequence_as(self._results, self._session.run(names, read))


@pytest.fixture(autouse=True)
def _convert_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets errors of the converter through, which saves it a copy of the graph at every step."""
    monkeypatch.setenv("TF2ONNX_CATCH_ERRORS", "FALSE")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)


@functools.cache
def mechanism_graph(class_name: str, args: str, query_depth: int, memory_depth: int) -> Graph:
    """One graph for all cases that differ in weights and batches only; weights are inputs (a wrapper's, constants)."""
    mechanism = make_mechanism(class_name, json.loads(args))
    mechanism.build_for(query_depth, memory_depth)

    def attend(weights: Any, memory: Any, mask: Any, query: Any, state: Any) -> Any:
        with keras.StatelessScope(list(zip(mechanism.weights, weights, strict=True))):
            prepared = mechanism.prepare(memory, mask)
            alignments = mechanism.attend(query, prepared, state).alignments
        return prepared, mechanism.first_alignments(prepared), alignments

    weights = [tf.TensorSpec(weight.shape) for weight in mechanism.weights]
    memory, query = tf.TensorSpec([None, None, memory_depth]), tf.TensorSpec([None, query_depth])
    return Graph(attend, weights, memory, tf.TensorSpec([None, None], tf.bool), query, tf.TensorSpec([None, None]))


def run_mechanism(case: Case) -> None:
    inputs, args = case.arrays("in"), case.args
    mechanism = make_mechanism(case.class_name, args)
    load_reference_weights(mechanism, case.arrays("w"))
    memory, mask, queries = inputs["memory"], mask_of(inputs), inputs["queries"]
    args.pop("score_bias_init", None)  # a weight, by now
    graph = mechanism_graph(case.class_name, json.dumps(args), queries.shape[-1], memory.shape[-1])
    weights = [as_numpy(weight) for weight in mechanism.weights]
    prepared, first, _ = graph(weights, memory, mask, queries[0], inputs["state0"])
    found = {"values": prepared.values, "keys": prepared.keys, "initial_state": first}
    check_mechanism(case, found, lambda query, state: (graph(weights, memory, mask, query, state)[-1],) * 2)


def run_wrapper(case: Case) -> None:
    inputs = case.arrays("in")
    wrapper = make_wrapper(case)
    sources = [(inputs[f"memory{i}"], mask_of(inputs, str(i))) for i in range(len(wrapper.mechanisms))]

    def prepare(sources: Any) -> Any:
        pairs = zip(wrapper.mechanisms, sources, strict=True)
        memories = [mechanism.prepare(memory, mask) for mechanism, (memory, mask) in pairs]
        return memories, wrapper.first_state(memories)

    def step(sources: Any, step_inputs: Any, state: Any) -> Any:
        memories, first = prepare(sources)
        return first, wrapper.step(step_inputs, state, memories)

    _, state = prepare(sources)
    source_specs = [(fixed_depth(memory), any_size(mask)) for memory, mask in sources]
    graph = Graph(step, source_specs, fixed_depth(inputs["inputs"][0]), specs_of(state))
    first, _ = graph(sources, inputs["inputs"][0], state)
    cell_state = initial_cell_state_of(case, wrapper.cell)
    if cell_state is not None:
        first = first.clone(cell_state=cell_state)
    check_wrapper(case, first, lambda step_inputs, state: graph(sources, step_inputs, state)[1])


def specs_of(state: AttentionWrapperState) -> AttentionWrapperState:
    depths = {"cell_state", "attention"}
    fields = [
        keras.tree.map_structure(fixed_depth if name in depths else any_size, getattr(state, name))
        for name in state._fields
    ]
    return AttentionWrapperState(*fields)


RUNNERS: dict[str, Callable[[Case], None]] = {"mechanism": run_mechanism, "wrapper": run_wrapper}


@pytest.mark.parametrize("case", load_cases(*RUNNERS), ids=str)
def test_a_graph_computes_what_the_original_computed(case: Case) -> None:
    RUNNERS[case.family](case)
