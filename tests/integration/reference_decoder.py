"""The models of the reference vectors' family `decoding`, in numpy, from the equations of the vectors' own README.

Nothing here is shared with the project's layers: search is tested on an independent model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.decoding.backend import DecoderRows, StepOutput
from service.domain import BoolArray, IntArray

Array = np.ndarray
LOWEST = -3.4028235e38
TINY = 1.1754944e-38


@dataclass(frozen=True)
class ReferenceCase:
    """One case: what the index says of it, and its arrays with those of its model, `in/...`, `w/...`, `out/...`."""

    entry: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @property
    def wrapper(self) -> Mapping[str, Any]:
        """The arguments of the attention wrapper."""
        return self.entry["args"]["wrapper"]

    @property
    def end_id(self) -> int:
        """The token that completes a sequence."""
        return int(self.entry["call"]["end_token"])

    @property
    def max_steps(self) -> int:
        """The limit on tokens."""
        return int(self.entry["args"]["maximum_iterations"])

    @property
    def source_lengths(self) -> list[int]:
        """Memory positions of each entry, at most those there are."""
        batch, longest = self.arrays["in/memory0"].shape[:2]
        lengths = self.arrays.get("in/memory_sequence_length0", np.full(batch, longest))
        return np.minimum(lengths, longest).tolist()


def read_index(directory: Path) -> Mapping[str, Any]:
    """The index of a directory of vectors."""
    return json.loads((directory / "index.json").read_text())  # type: ignore[no-any-return]


def read_case(directory: Path, index: Mapping[str, Any], entry: Mapping[str, Any]) -> ReferenceCase:
    """Reads a case's arrays, and those of the model that it shares with others."""
    arrays: dict[str, Array] = {}
    for part in [entry] + ([index["models"][entry["model"]]] if "model" in entry else []):
        with np.load(directory / part["file"]) as archive:
            prefix = part["prefix"]
            arrays |= {name[len(prefix) :]: archive[name] for name in archive.files if name.startswith(prefix)}
    return ReferenceCase(entry, arrays)


class ReferenceDecoder:
    """A `Seq2SeqBackend` over a case's weights, in float64.

    An entry of the case is named by the first of its source ids; its memory is as long as its source. The state is,
    in this order: cell states, attention, each mechanism's last alignments, start token (-1 once it was read).
    """

    def __init__(self, case: ReferenceCase) -> None:
        self._case = case
        arrays = case.arrays
        self._weights = {name[2:]: value.astype(np.float64) for name, value in arrays.items() if name[:2] == "w/"}
        self._inputs = {name[3:]: value for name, value in arrays.items() if name[:3] == "in/"}
        self._mechanisms = case.wrapper["mechanisms"]
        self._cells = case.wrapper["cells"]
        self.logits: list[Array] = []
        """What each step computed, (rows, vocabulary)."""

    @property
    def vocabulary_size(self) -> int:
        """Rows of the embedding."""
        return len(self._weights["embedding"])

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        """Looks the entries' memories and first states up."""
        entries, width = source_ids[:, 0], source_ids.shape[1]
        mask = np.arange(width) < source_lengths[:, np.newaxis]
        memory: list[Array] = []
        first = np.zeros(mask.shape)
        first[:, 0] = 1
        alignments = []
        for index, mechanism in enumerate(self._mechanisms):
            values = self._inputs[f"memory{index}"][entries, :width].astype(np.float64) * mask[:, :, np.newaxis]
            memory += [values, values @ self._weights[f"mech{index}_memory_kernel"]]
            alignments.append(first if "Monotonic" in mechanism["type"] else np.zeros(mask.shape))
        cell_state = [value[entries].astype(np.float64) for value in self._initial_cell_state(len(source_ids))]
        attention = np.zeros((len(entries), self._attention_width()))
        start = self._inputs["start_tokens"][entries][:, np.newaxis].astype(np.float64)
        return DecoderRows(tuple(memory), mask, (*cell_state, attention, *alignments, start))

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        """One call of the wrapper and the output layer."""
        *state, start = rows.state
        tokens = np.where(start[:, 0] >= 0, start[:, 0], input_ids).astype(np.int64)
        output, state, weights = self._wrap(self._weights["embedding"][tokens], rows, state)
        logits = output @ self._weights["output_kernel"] + self._weights["output_bias"]
        self.logits.append(logits)
        log_probs = log_softmax(logits)
        candidates = np.argsort(-log_probs, axis=1, kind="stable")[:, :num_candidates]
        return StepOutput(
            candidate_ids=candidates.astype(np.int32),
            candidate_log_probs=np.take_along_axis(log_probs, candidates, axis=1),
            forced_log_probs=log_probs[np.arange(len(tokens)), forced_ids],
            attention_weights=np.stack(weights, axis=1),
            state=(*state, np.full_like(start, -1)),
        )

    def _initial_cell_state(self, batch: int) -> list[Array]:
        given = [self._inputs[name] for name in sorted(self._inputs) if name.startswith("initial_cell_state")]
        if given:
            return given
        return [np.zeros((batch, c["units"])) for c in self._cells for _ in range(1 + (c["type"] == "LSTMCell"))]

    def _attention_width(self) -> int:
        """All mechanisms' attention vectors side by side."""
        return sum(
            self._weights[f"attention_layer{index}_kernel"].shape[1]
            if f"attention_layer{index}_kernel" in self._weights
            else self._inputs[f"memory{index}"].shape[2]
            for index in range(len(self._mechanisms))
        )

    def _wrap(self, inputs: Array, rows: DecoderRows, state: list[Array]) -> tuple[Array, list[Array], list[Array]]:
        """The attention wrapper: cell, attention over each memory, attention layers."""
        count = len(self._mechanisms)
        *cell_state, attention = state[:-count]
        hidden, cell_state = self._cell(CELL_INPUTS[self._case.wrapper["cell_input_fn"]](inputs, attention), cell_state)
        weights = [
            self._attend(index, hidden, rows.memory[2 * index + 1], rows.source_mask, state[index - count])
            for index in range(count)
        ]
        vectors = []
        for index in range(count):
            context = (weights[index][:, :, np.newaxis] * rows.memory[2 * index]).sum(axis=1)
            vectors.append(self._attention_layer(index, hidden, context))
        attention = np.concatenate(vectors, axis=1)
        output = attention if self._case.wrapper["output_attention"] else hidden
        return output, [*cell_state, attention, *weights], weights

    def _attention_layer(self, index: int, hidden: Array, context: Array) -> Array:
        kernel = self._weights.get(f"attention_layer{index}_kernel")
        if kernel is None:
            return context
        vector = np.concatenate([hidden, context], axis=1) @ kernel + self._weights.get(
            f"attention_layer{index}_bias", 0
        )
        activation = (self._case.wrapper.get("attention_layer") or {}).get("activation") or "linear"
        return {"linear": vector, "tanh": np.tanh(vector), "relu": np.maximum(vector, 0)}[activation]

    def _cell(self, inputs: Array, state: list[Array]) -> tuple[Array, list[Array]]:
        """The stack of cells."""
        after: list[Array] = []
        hidden = inputs
        for index, cell in enumerate(self._cells):
            kernel, recurrent, bias = (
                self._weights[f"cell{index}_{name}"] for name in ("kernel", "recurrent_kernel", "bias")
            )
            if cell["type"] == "LSTMCell":
                h, c = state[len(after) : len(after) + 2]
                i, f, g, o = np.split(hidden @ kernel + h @ recurrent + bias, 4, axis=1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                hidden = sigmoid(o) * np.tanh(c)
                after += [hidden, c]
            else:
                h = state[len(after)]
                xz, xr, xh = np.split(hidden @ kernel + bias[0], 3, axis=1)
                hz, hr, hh = np.split(h @ recurrent + bias[1], 3, axis=1)
                z = sigmoid(xz + hz)
                hidden = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
                after.append(hidden)
        return hidden, after

    def _attend(self, index: int, query: Array, keys: Array, mask: BoolArray, previous: Array) -> Array:
        """The alignments of one mechanism, (rows, source_len)."""
        arguments, weights = self._mechanisms[index], self._weights
        name = f"mech{index}_"
        if "Bahdanau" in arguments["type"]:
            v = weights[name + "attention_v"]
            terms = keys + (query @ weights[name + "query_kernel"])[:, np.newaxis]
            if f"{name}attention_g" in weights:
                v = weights[name + "attention_g"] * v / np.linalg.norm(v)
                terms = terms + weights[name + "attention_b"]
            energy = np.tanh(terms) @ v
        else:
            energy = (keys * query[:, np.newaxis]).sum(axis=2) * weights.get(name + "attention_g", 1.0)
        energy = np.where(mask, energy + weights.get(name + "attention_score_bias", 0.0), LOWEST)
        if "Monotonic" in arguments["type"]:
            return monotonic(energy, previous, arguments.get("mode", "parallel"))
        if arguments.get("probability_fn") == "hardmax":
            return np.eye(energy.shape[1])[energy.argmax(axis=1)]
        return np.exp(log_softmax(energy))


CELL_INPUTS: Mapping[str, Callable[[Array, Array], Array]] = {
    "default": lambda inputs, attention: np.concatenate([inputs, attention], axis=1),
    "attention_first_halved": lambda inputs, attention: np.concatenate([0.5 * attention, inputs], axis=1),
    "add": lambda inputs, attention: inputs + attention,
    "inputs_only": lambda inputs, attention: inputs,
}


def monotonic(energy: Array, previous: Array, mode: str) -> Array:
    """Alignments of a monotonic mechanism."""
    if mode == "hard":
        p = (energy > 0) * np.cumsum(previous, axis=1)
        return p * _exclusive(np.cumprod, 1 - p)
    p = sigmoid(energy)
    if mode == "parallel":
        c = np.exp(_exclusive(np.cumsum, np.log(np.clip(1 - p, TINY, 1)), start=0.0))
        return p * c * np.cumsum(previous / np.clip(c, 1e-10, 1), axis=1)
    q = np.zeros_like(p)
    before = np.zeros(len(p))
    for t in range(p.shape[1]):
        before = (1 - p[:, t - 1]) * before + previous[:, t] if t else previous[:, 0]
        q[:, t] = before
    return p * q


def _exclusive(accumulate: Callable[..., Array], values: Array, start: float = 1.0) -> Array:
    return np.concatenate([np.full((len(values), 1), start), accumulate(values, axis=1)[:, :-1]], axis=1)


def sigmoid(x: Array) -> Array:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def log_softmax(x: Array) -> Array:
    """Natural log-probabilities along the last axis."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
