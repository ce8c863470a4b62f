"""Every mechanism, wrapper and Keras attention layer computes what its original computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import model_export.attention
from model_export.weight_transfer import load_reference_weights
from tests.model_export import reference_vectors
from tests.model_export.reference_vectors import (
    Case,
    check_mechanism,
    check_outputs,
    check_wrapper,
    load_cases,
    make_mechanism,
    make_wrapper,
)


def run_mechanism(case: Case) -> None:
    inputs = case.arrays("in")
    mechanism = make_mechanism(case.class_name, case.args)
    load_reference_weights(mechanism, case.arrays("w"))
    mechanism.setup_memory(inputs["memory"], inputs.get("memory_sequence_length"), inputs.get("memory_mask"))
    initial_state = mechanism.initial_state(len(inputs["memory"]), "float32")
    memory = {"values": mechanism.values, "keys": mechanism.keys, "initial_state": initial_state}
    check_mechanism(case, memory, lambda query, state: mechanism([query, state]))


def run_wrapper(case: Case) -> None:
    inputs = case.arrays("in")
    wrapper = make_wrapper(case)
    for index, mechanism in enumerate(wrapper.mechanisms):
        lengths, mask = inputs.get(f"memory_sequence_length{index}"), inputs.get(f"memory_mask{index}")
        mechanism.setup_memory(inputs[f"memory{index}"], lengths, mask)
    first = wrapper.get_initial_state(batch_size=inputs["inputs"].shape[1], dtype="float32")
    check_wrapper(case, first, wrapper)


def run_keras_layer(case: Case) -> None:
    inputs = case.arrays("in")
    layer = getattr(model_export.attention, case.class_name)(**case.args)
    load_reference_weights(layer, case.arrays("w"))
    masks = [inputs.get("query_mask"), inputs.get("value_mask")]
    call = dict(case.entry["call"])
    if any(mask is not None for mask in masks):
        call["mask"] = masks
    result = layer([inputs[name] for name in ("query", "value", "key") if name in inputs], **call)
    if case.entry["call"]["return_attention_scores"]:
        check_outputs(case, dict(zip(("result", "attention_scores"), result, strict=True)))
    else:
        check_outputs(case, {"result": result})


RUNNERS: dict[str, Callable[[Case], None]] = {
    "mechanism": run_mechanism,
    "wrapper": run_wrapper,
    "keras": run_keras_layer,
}


@pytest.mark.parametrize("case", load_cases(*RUNNERS), ids=str)
def test_a_layer_computes_what_its_original_computed(case: Case) -> None:
    RUNNERS[case.family](case)


@pytest.mark.parametrize("families", [[], ["decoding"]])
def test_an_index_without_cases_is_refused(
    families: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_vectors, "DIRECTORY", tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"cases": [{"family": family} for family in families]}))
    with pytest.raises(ValueError, match="no cases of mechanism, wrapper, keras"):
        load_cases(*RUNNERS)


def test_a_value_beyond_the_tolerance_is_noticed() -> None:
    case = load_cases(*RUNNERS)[0]
    name, reference = next(iter(case.arrays("out").items()))
    with pytest.raises(AssertionError, match=f"{name} is off by"):
        check_outputs(case, case.arrays("out") | {name: reference + 1e-3})
