"""Decoding against the reference vectors of TensorFlow Addons, every stored output of every case.

The directory of the vectors is `INTERLINEAR_VECTORS`, by default `tests/data/vectors`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, Hypothesis, SpecialIds
from tests.integration.lockstep import decode_greedily, search
from tests.integration.reference_decoder import Array, ReferenceCase, ReferenceDecoder, read_case, read_index

VECTORS = Path(os.environ.get("INTERLINEAR_VECTORS") or Path(__file__).parents[1] / "data" / "vectors")
TOLERANCE = 1e-5

INDEX = read_index(VECTORS)
CASES = {f"decoding-{entry['name']}": entry for entry in INDEX["cases"] if entry["family"] == "decoding"}
BEAM_CASES = [name for name, entry in CASES.items() if "beam_width" in entry["args"]]
GREEDY_CASES = [name for name in CASES if name not in BEAM_CASES]


@cache
def load(name: str) -> ReferenceCase:
    return read_case(VECTORS, INDEX, CASES[name])


def assert_equals_reference(found: Array, expected: Array, name: str) -> None:
    """Exact for integers and flags, within the tolerance, relative above 1, for floats."""
    assert found.shape == expected.shape, name
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=name)
        return
    error = np.abs(found.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    assert np.isfinite(found).all(), name
    assert error.max() <= TOLERANCE, name


def make_jobs(case: ReferenceCase) -> list[DecodingJob]:
    """One job for each entry of the case, all hypotheses wanted."""
    arguments = case.entry["args"]
    width = arguments.get("beam_width", 1)
    options = DecodingOptions(
        beam_size=width,
        num_hypotheses=width,
        length_penalty=arguments.get("length_penalty_weight", 0.0),
        coverage_penalty=arguments.get("coverage_penalty_weight", 0.0),
        max_decoding_length=case.max_steps,
        search_mode="tfa",
    )
    return [DecodingJob((entry,) * length, options) for entry, length in enumerate(case.source_lengths)]


def serve(case: ReferenceCase, together: bool) -> list[tuple[Hypothesis, ...]]:
    """Decodes the case's entries as the service does, in one batch or one by one."""
    ids = SpecialIds(pad=0, bos=0, eos=case.end_id, unk=0)
    jobs = make_jobs(case)
    batches = [jobs] if together else [[job] for job in jobs]
    return [hypotheses for batch in batches for hypotheses in decode(ReferenceDecoder(case), batch, ids)]


def until_end(ids: Array, end_id: int) -> tuple[int, ...]:
    """The ids up to and with the first end."""
    ends = np.flatnonzero(ids == end_id)
    return tuple(ids[: ends[0] + 1] if len(ends) else ids)


@pytest.mark.parametrize("name", CASES)
def test_every_output_equals_the_reference(name: str) -> None:
    case = load(name)
    outputs = search(case) if name in BEAM_CASES else decode_greedily(case)
    stored = {key.removeprefix("out/"): value for key, value in case.arrays.items() if key.startswith("out/")}
    assert stored.keys() <= outputs.keys()
    for key, expected in stored.items():
        assert_equals_reference(outputs[key], expected, key)


@pytest.mark.parametrize("together", [True, False], ids=["together", "alone"])
@pytest.mark.parametrize("name", BEAM_CASES)
def test_the_served_search_mode_gives_the_references_hypotheses(name: str, together: bool) -> None:
    case = load(name)
    stored = case.arrays
    last = stored["out/step_scores"].shape[1]
    for entry, hypotheses in enumerate(serve(case, together)):
        expected = [until_end(ids, case.end_id) for ids in stored["out/predicted_ids"][entry].T]
        assert [hypothesis.target_ids for hypothesis in hypotheses] == expected
        log_probs = np.array([hypothesis.log_prob for hypothesis in hypotheses])
        scores = np.array([hypothesis.score for hypothesis in hypotheses])
        if max(map(len, expected)) < last:  # the reference goes on to sort complete hypotheses for other entries' sake
            assert_equals_reference(np.sort(log_probs), np.sort(stored["out/log_probs"][entry]), "log_probs")
            continue
        assert_equals_reference(log_probs, stored["out/log_probs"][entry], "log_probs")
        assert_equals_reference(scores, stored["out/step_scores"][entry, -1], "scores")
        if "out/alignment_history" in stored:
            for slot, hypothesis in enumerate(hypotheses):
                length, source_len = hypothesis.attention.shape
                attention = stored["out/alignment_history"][:length, entry, slot, :source_len]
                assert_equals_reference(hypothesis.attention, attention, "alignment_history")


@pytest.mark.parametrize("together", [True, False], ids=["together", "alone"])
@pytest.mark.parametrize("name", GREEDY_CASES)
def test_the_served_search_mode_gives_the_references_greedy_output(name: str, together: bool) -> None:
    case = load(name)
    for entry, [hypothesis] in enumerate(serve(case, together)):
        length = int(case.arrays["out/sequence_lengths"][entry])
        assert hypothesis.target_ids == tuple(case.arrays["out/sample_id"][entry, :length])
        attention = case.arrays["out/alignment_history"][:length, entry, : hypothesis.attention.shape[1]]
        assert_equals_reference(hypothesis.attention, attention, "alignment_history")
        logits = case.arrays["out/rnn_output"][entry, :length].astype(np.float64)
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        chosen = log_probs[np.arange(length), list(hypothesis.target_ids)]
        assert_equals_reference(hypothesis.token_log_probs, chosen, "token_log_probs")


def test_decoding_vectors_are_there() -> None:
    assert BEAM_CASES
    assert GREEDY_CASES
