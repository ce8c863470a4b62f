"""The exported graphs against the Keras model, and against the contract that the service relies on."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import pytest

from model_export.decoder_tensors import DecoderTensors
from model_export.graphs import Graphs, convert
from model_export.keras_backend import KerasBackend
from model_export.seq2seq import Seq2Seq
from service.decoding.backend import DecoderRows, StepOutput
from tests.model_export.tiny_models import (
    SOURCE_IDS,
    SOURCE_LENGTHS,
    SOURCE_MASK,
    TARGET_INPUTS,
    tiny_config,
    tiny_model,
)

ARCHITECTURES = {
    "gru-bahdanau": tiny_config(cell="gru", attention="bahdanau"),
    "gru-luong": tiny_config(cell="gru", attention="luong", bidirectional=False),
    "lstm-bahdanau": tiny_config(
        cell="lstm", attention="bahdanau", attention_units=3, attention_layer_size=4, tied_embeddings=False
    ),
    "lstm-luong-deep": tiny_config(cell="lstm", attention="luong", encoder_layers=2, decoder_layers=2),
    "gru-monotonic": tiny_config(cell="gru", attention="bahdanau_monotonic"),
    "lstm-recursive": tiny_config(cell="lstm", attention={"name": "luong_monotonic", "mode": "recursive"}),
    "gru-keras": tiny_config(cell="gru", attention={"name": "keras_attention", "use_scale": True}),
    "gru-residual": tiny_config(cell="gru", encoder_layers=3, encoder_residual=True),
    "gru-user": tiny_config(cell="gru", attention="tests.user_attention:CosineAttention"),
    "lstm-several": tiny_config(cell="lstm", attention=["luong", "keras_additive_attention", "luong_monotonic"]),
    "gru-aligner": tiny_config(cell="gru", attention="luong_monotonic", aligner="bahdanau"),
}
# Names and last dimensions of memory and state; None where that is the source length.
BORDERS: dict[str, tuple[dict[str, int], dict[str, int | None]]] = {
    "gru-bahdanau": ({"memory_keys": 6, "memory_values": 6}, {"hidden_0": 6, "attention_vector": 5}),
    "lstm-bahdanau": ({"memory_keys": 3, "memory_values": 6}, {"hidden_0": 6, "cell_0": 6, "attention_vector": 4}),
    "gru-keras": ({"memory_values": 6}, {"hidden_0": 6, "attention_vector": 5}),
    "gru-monotonic": (
        {"memory_keys": 6, "memory_values": 6},
        {"hidden_0": 6, "attention_vector": 5, "alignments": None},
    ),
    "lstm-several": (
        {"memory_keys": 6, "memory_keys_2": 6, "memory_values": 6},
        {"hidden_0": 6, "cell_0": 6, "attention_vector": 5, "alignments_2": None},
    ),
    "gru-aligner": (
        {"memory_keys": 6, "memory_keys_1": 6, "memory_values": 6},
        {"hidden_0": 6, "attention_vector": 5, "alignments_1": None},
    ),
}
each_architecture = pytest.mark.parametrize("name", ARCHITECTURES)

Arrays = dict[str, np.ndarray]


class ExportedModel:
    """A Keras model, its graphs and sessions over them."""

    def __init__(self, model: Seq2Seq) -> None:
        self.config = model.config
        self.model = model
        self.tensors = DecoderTensors(model.decoder)
        self.graphs: Graphs = convert(model)
        self.encoder, self.step = (
            onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
            for graph in self.graphs
        )

    def run_encoder(self, source_ids: np.ndarray, source_lengths: np.ndarray) -> Arrays:
        return run(self.encoder, {"source_ids": source_ids, "source_lengths": source_lengths})

    def run_step(self, input_ids: np.ndarray, rows: DecoderRows, forced_ids: np.ndarray, candidates: int) -> Arrays:
        feeds = {
            "input_ids": input_ids,
            "forced_ids": forced_ids,
            "num_candidates": np.array([candidates], dtype=np.int64),
            "source_mask": rows.source_mask,
            **dict(zip(self.tensors.memory_names, rows.memory, strict=True)),
            **dict(zip(self.tensors.state_names, rows.state, strict=True)),
        }
        return run(self.step, feeds)

    def next_state(self, outputs: Arrays) -> tuple[Any, ...]:
        return tuple(outputs[f"next_{name}"] for name in self.tensors.state_names)


def run(session: onnxruntime.InferenceSession, feeds: Arrays) -> Arrays:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@cache
def exported(name: str) -> ExportedModel:
    return ExportedModel(tiny_model(ARCHITECTURES[name]))


def rows_of(exported_model: ExportedModel, outputs: Arrays, source_mask: np.ndarray = SOURCE_MASK) -> DecoderRows:
    """The encoder's outputs as the service hands them to the step."""
    return DecoderRows(
        memory=tuple(outputs[name] for name in exported_model.tensors.memory_names),
        source_mask=source_mask,
        state=tuple(outputs[f"initial_{name}"] for name in exported_model.tensors.state_names),
    )


@each_architecture
def test_the_encoder_equals_keras(name: str) -> None:
    model = exported(name)
    rows = rows_of(model, model.run_encoder(SOURCE_IDS, SOURCE_LENGTHS))
    expected = KerasBackend(model.model).encode(SOURCE_IDS, SOURCE_LENGTHS)
    for array, reference in zip((*rows.memory, *rows.state), (*expected.memory, *expected.state), strict=True):
        np.testing.assert_allclose(array, reference, atol=1e-5)
    assert (rows.memory[-1][~rows.source_mask] == 0).all()


@each_architecture
def test_every_step_equals_keras(name: str) -> None:
    model = exported(name)
    reference = KerasBackend(model.model)
    rows = rows_of(model, model.run_encoder(SOURCE_IDS, SOURCE_LENGTHS))
    expected_rows = reference.encode(SOURCE_IDS, SOURCE_LENGTHS)
    for position in range(TARGET_INPUTS.shape[1]):
        tokens, forced = TARGET_INPUTS[:, position], np.array([2, 0, 10], dtype=np.int32)
        outputs = model.run_step(tokens, rows, forced, 4)
        expected = reference.decode_step(tokens, expected_rows, forced, 4)
        compare_step(model, outputs, expected)
        rows = DecoderRows(rows.memory, rows.source_mask, model.next_state(outputs))
        expected_rows = DecoderRows(expected_rows.memory, expected_rows.source_mask, expected.state)


def compare_step(model: ExportedModel, outputs: Arrays, expected: StepOutput) -> None:
    np.testing.assert_array_equal(outputs["candidate_ids"], expected.candidate_ids)
    for name in ("candidate_log_probs", "forced_log_probs"):
        np.testing.assert_allclose(outputs[name], getattr(expected, name), atol=1e-5)
    for array, reference in zip(model.next_state(outputs), expected.state, strict=True):
        np.testing.assert_allclose(array, reference, atol=1e-5)
    weights = outputs["attention_weights"].reshape(expected.attention_weights.shape)
    np.testing.assert_allclose(weights, expected.attention_weights, atol=1e-5)
    padding = np.broadcast_to(np.arange(5) >= SOURCE_LENGTHS[:, None, None], weights.shape)
    assert (weights[padding] == 0).all()
    for index, mechanism in enumerate(model.model.decoder.mechanisms):
        sums = weights[:, index].sum(axis=-1)
        assert (np.abs(sums - 1) < 1e-6).all() if mechanism.normalized else (sums <= 1 + 1e-6).all()


@each_architecture
def test_more_padding_changes_nothing(name: str) -> None:
    model = exported(name)
    padded = np.pad(SOURCE_IDS, ((0, 0), (0, 3)))
    padded[:, 5:] = 7  # whatever stands there
    steps = []
    for source_ids in (SOURCE_IDS, padded):
        outputs = model.run_encoder(source_ids, SOURCE_LENGTHS)
        mask = np.arange(source_ids.shape[1]) < SOURCE_LENGTHS[:, None]
        rows = rows_of(model, outputs, mask)
        for position in range(2):  # the second step reads what the first has left in the state
            step = model.run_step(TARGET_INPUTS[:, position], rows, TARGET_INPUTS[:, position], 11)
            rows = DecoderRows(rows.memory, mask, model.next_state(step))
        steps.append(step)
    short, long = steps
    assert (long["attention_weights"][..., 5:] == 0).all()
    np.testing.assert_allclose(long["attention_weights"][..., :5], short["attention_weights"], atol=1e-6)
    for tensor in ("candidate_log_probs", "forced_log_probs", "next_attention_vector"):
        np.testing.assert_allclose(long[tensor], short[tensor], atol=1e-6)


@each_architecture
def test_no_step_runs_a_loop(name: str) -> None:
    assert not {node.op_type for node in exported(name).graphs.decoder_step.graph.node} & {"Loop", "Scan", "If"}


@each_architecture
def test_the_encoder_holds_fused_nodes_and_no_loop(name: str) -> None:
    model = exported(name)
    nodes = Counter(node.op_type for node in model.graphs.encoder.graph.node)
    assert nodes[model.config.cell.upper()] == model.config.encoder_layers
    assert not nodes.keys() & {"Loop", "Scan", "If"}


def test_all_candidates_are_the_whole_distribution() -> None:
    model = exported("gru-bahdanau")
    rows = rows_of(model, model.run_encoder(SOURCE_IDS, SOURCE_LENGTHS))
    tokens = np.array([1, 1, 1], dtype=np.int32)
    distribution = model.run_step(tokens, rows, tokens, 11)
    ids, log_probs = distribution["candidate_ids"], distribution["candidate_log_probs"]
    assert [sorted(row) for row in ids.tolist()] == [list(range(11))] * 3
    assert (np.diff(log_probs, axis=1) <= 0).all()
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-5)
    for token in range(11):
        forced = model.run_step(tokens, rows, np.full(3, token, dtype=np.int32), 1)
        np.testing.assert_allclose(forced["forced_log_probs"], log_probs[ids == token], atol=1e-6)
        np.testing.assert_array_equal(forced["candidate_ids"], ids[:, :1])


def test_equal_candidates_come_by_id() -> None:
    model = tiny_model(tiny_config(tied_embeddings=False))
    model.output_kernel.assign(np.zeros((11, 5), dtype=np.float32))  # every token as probable as its bias says
    model.output_bias.assign(np.array([0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1], dtype=np.float32))
    tied = ExportedModel(model)
    rows = rows_of(tied, tied.run_encoder(SOURCE_IDS, SOURCE_LENGTHS))
    tokens = TARGET_INPUTS[:, 0]
    assert tied.run_step(tokens, rows, tokens, 6)["candidate_ids"].tolist() == [[1, 3, 5, 10, 0, 2]] * 3
    reference = KerasBackend(model).decode_step(tokens, rows, tokens, 6)
    assert reference.candidate_ids.tolist() == [[1, 3, 5, 10, 0, 2]] * 3


@pytest.mark.parametrize("name", BORDERS)
def test_tensors_follow_the_contract(name: str) -> None:
    model = exported(name)
    memory, state = BORDERS[name]
    assert {node.name: node.type for node in model.encoder.get_inputs()} == {
        "source_ids": "tensor(int32)",
        "source_lengths": "tensor(int32)",
    }
    assert widths(model.encoder.get_outputs()) == memory | {f"initial_{each}": width for each, width in state.items()}
    assert widths(model.step.get_inputs()) == {
        **dict.fromkeys(("input_ids", "forced_ids", "source_mask"), None),
        "num_candidates": 1,
        **memory,
        **state,
    }
    assert {node.name: node.type for node in model.step.get_outputs()} == {
        "candidate_ids": "tensor(int32)",
        "candidate_log_probs": "tensor(float)",
        "forced_log_probs": "tensor(float)",
        "attention_weights": "tensor(float)",
        **{f"next_{each}": "tensor(float)" for each in state},
    }


def test_several_mechanisms_give_one_array_of_weights() -> None:
    [shape] = [node.shape for node in exported("lstm-several").step.get_outputs() if node.name == "attention_weights"]
    assert (len(shape), shape[1]) == (3, 3)  # (rows, mechanisms, source_len)


def widths(nodes: list[Any]) -> dict[str, int | None]:
    """The last dimension of every tensor; None if it varies."""
    return {node.name: node.shape[-1] if isinstance(node.shape[-1], int) else None for node in nodes}


def test_the_vocabulary_size_stands_in_both_graphs() -> None:
    for graph in exported("gru-bahdanau").graphs:
        assert {entry.key: entry.value for entry in graph.metadata_props}["vocabulary_size"] == "11"
