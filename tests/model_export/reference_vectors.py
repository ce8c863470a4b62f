"""Reference vectors: inputs, weights and outputs of the attention systems that this package replaces.

The directory (`INTERLINEAR_VECTORS`, or the copy in `tests/data/vectors`) holds `index.json` and the arrays it names.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

import model_export.attention
from model_export.attention import AttentionMechanism
from model_export.attention_wrapper import AttentionWrapper, AttentionWrapperState
from model_export.weight_transfer import load_reference_weights

Array = npt.NDArray[Any]

DIRECTORY = Path(os.environ.get("INTERLINEAR_VECTORS") or Path(__file__).parents[1] / "data" / "vectors")
TOLERANCE = 1e-5  # times max(1, |reference|)

CELL_INPUT_FNS: dict[str, Callable[[Any, Any], Any] | None] = {
    "default": None,
    "attention_first_halved": lambda inputs, attention: ops.concatenate([0.5 * attention, inputs], axis=-1),
    "add": lambda inputs, attention: inputs + attention,
    "inputs_only": lambda inputs, attention: inputs,
}


@dataclass(frozen=True)
class Case:
    """One entry of the index."""

    entry: Mapping[str, Any]

    @property
    def family(self) -> str:
        return str(self.entry["family"])

    @property
    def args(self) -> dict[str, Any]:
        """Constructor arguments of the reference."""
        return dict(self.entry["args"])

    @property
    def class_name(self) -> str:
        return str(self.entry["system"]).rpartition(".")[2]

    def __str__(self) -> str:
        return f"{self.family}-{self.entry['name']}"

    def arrays(self, kind: str) -> dict[str, Array]:
        """The arrays of a kind: `in`, `w` or `out`."""
        prefix = f"{self.entry['prefix']}{kind}/"
        archive = _archive(self.entry["file"])
        return {name.removeprefix(prefix): archive[name] for name in archive if name.startswith(prefix)}


@functools.cache
def _archive(file: str) -> Mapping[str, Array]:
    with np.load(DIRECTORY / file) as archive:
        return dict(archive)


def load_cases(*families: str) -> list[Case]:
    """All cases of these families; an index without any is an error, not a test run without tests."""
    index = json.loads((DIRECTORY / "index.json").read_text(encoding="utf-8"))
    cases = [Case(entry) for entry in index["cases"] if entry["family"] in families]
    if not cases:
        raise ValueError(f"{DIRECTORY / 'index.json'}: no cases of {', '.join(families)}")
    return cases


def make_mechanism(class_name: str, args: Mapping[str, Any]) -> AttentionMechanism:
    mechanism = getattr(model_export.attention, class_name)(**args)
    assert isinstance(mechanism, AttentionMechanism)
    return mechanism


def make_wrapper(case: Case) -> AttentionWrapper:
    """The wrapper of a case, with its weights; no memory is set up."""
    args = case.args
    cells = [_make_cell(**cell) for cell in args["cells"]]
    cell = keras.layers.StackedRNNCells(cells) if args["stacked"] else cells[0]
    mechanisms = [make_mechanism(each.pop("type"), each) for each in map(dict, args["mechanisms"])]
    dense = args.get("attention_layer")
    wrapper = AttentionWrapper(
        cell,
        mechanisms if args["multi"] else mechanisms[0],
        attention_layer_size=args["attention_layer_size"],
        alignment_history=args["alignment_history"],
        cell_input_fn=CELL_INPUT_FNS[args["cell_input_fn"]],
        output_attention=args["output_attention"],
        initial_cell_state=initial_cell_state_of(case, cell),
        attention_layer=dense and keras.layers.Dense(**dense),
    )
    load_reference_weights(wrapper, case.arrays("w"))
    return wrapper


def _make_cell(type: str, units: int) -> Any:  # noqa: A002
    return getattr(keras.layers, type)(units)


def mask_of(inputs: Mapping[str, Array], number: str = "") -> Array:
    """The memory's mask (batch, source_len), however the case gives it."""
    memory, lengths = inputs[f"memory{number}"], inputs.get(f"memory_sequence_length{number}")
    if lengths is None:
        return inputs.get(f"memory_mask{number}", np.ones(memory.shape[:2], dtype=bool))
    return np.arange(memory.shape[1]) < lengths[:, None]


def initial_cell_state_of(case: Case, cell: keras.layers.Layer) -> Any:
    """The cell's initial state as the case gives it; None if it does not."""
    inputs = case.arrays("in")
    structure = cell.get_initial_state(batch_size=1)
    names = [f"initial_cell_state{index}" for index in range(len(keras.tree.flatten(structure)))]
    return keras.tree.pack_sequence_as(structure, [inputs[name] for name in names]) if names[0] in inputs else None


def check_mechanism(case: Case, memory: Mapping[str, Any], attend: Callable[[Any, Any], tuple[Any, Any]]) -> None:
    """Asks all queries of a case, and compares everything.

    Args:
        memory: what was found for values, keys and initial_state.
        attend: `(query, state) -> (alignments, next_state)`.
    """
    inputs = case.arrays("in")
    state: Any = inputs["state0"]
    steps = []
    for query in inputs["queries"]:
        alignments, state = attend(query, state)
        steps.append({"alignments": alignments, "next_state": state})
    found = {**memory, **_stacked(steps)}
    check_outputs(case, found)
    _check_zeros(case.args, mask_of(inputs), case.arrays("out")["alignments"], found["alignments"])


def check_wrapper(case: Case, first: AttentionWrapperState, step: Callable[[Any, Any], tuple[Any, Any]]) -> None:
    """Runs all steps of a case, and compares everything.

    Args:
        first: the state before the first step.
        step: `(inputs, state) -> (output, next state)`.
    """
    inputs, expected = case.arrays("in"), case.arrays("out")
    state = first
    steps = []
    for step_inputs in inputs["inputs"]:
        output, state = step(step_inputs, state)
        fields = ("cell_state", "alignments", "attention_state")
        arrays = {name: array for field in fields for name, array in _numbered(field, getattr(state, field)).items()}
        steps.append({"outputs": output, "attention": state.attention, **arrays})
    found = {
        "initial_attention": first.attention,
        **_numbered("initial_alignments", first.alignments),
        **_stacked(steps),
        **_numbered("alignment_history", state.alignment_history),
    }
    check_outputs(case, found)
    for index, args in enumerate(case.args["mechanisms"]):
        name = f"alignments{index}"
        _check_zeros(args, mask_of(inputs, str(index)), expected[name], found[name])


def _numbered(name: str, arrays: Any) -> dict[str, Any]:
    return {f"{name}{index}": array for index, array in enumerate(keras.tree.flatten(arrays))}


def _stacked(steps: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    return {name: np.stack([ops.convert_to_numpy(step[name]) for step in steps]) for name in steps[0]}


def check_outputs(case: Case, found: Mapping[str, Any]) -> None:
    """Compares everything that the reference returned; more may have been found."""
    for name, reference in case.arrays("out").items():
        assert name in found, f"{name} was not computed"
        result = ops.convert_to_numpy(found[name])
        assert result.shape == reference.shape, name
        assert result.dtype == reference.dtype, name
        if np.issubdtype(reference.dtype, np.floating):
            excess = np.abs(result - reference) - TOLERANCE * np.maximum(1.0, np.abs(reference))
            assert np.all(excess <= 0.0), f"{name} is off by {excess.max()} more than allowed"
        else:
            np.testing.assert_array_equal(result, reference, err_msg=name)


def _check_zeros(args: Mapping[str, Any], mask: Array, reference: Array, alignments: Any) -> None:
    """No weight at all, without tolerance: at padding, and with hard mechanisms where the reference has none.

    Args:
        args: the mechanism's.
        mask: (batch, source_len), True = real.
        reference: (steps, batch, source_len).
        alignments: shaped likewise.
    """
    assert not alignments[:, ~mask].any(), "padding got weight"
    if args.get("probability_fn") == "hardmax" or args.get("mode") == "hard":
        assert not alignments[reference == 0.0].any(), "hard alignments differ"
