"""How far graphs are from the model: the figures by hand on scripted models, then on the trained one and its bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import sacrebleu
from onnx import numpy_helper

from model_export.bundle_writer import write_manifest
from model_export.config import ParityLimits
from model_export.corpus_readers import Corpus, read_pairs
from model_export.errors import ParityError
from model_export.keras_backend import KerasBackend
from model_export.parity import (
    Fp32Parity,
    ReducedParity,
    check_fp32,
    check_reduced,
    measure_fp32,
    measure_parity,
)
from model_export.run_directory import RunDirectory
from service.bundle.reader import read_bundle
from service.decoding.backend import DecoderRows, StepOutput
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, IntArray
from service.onnx_backend import BackendOptions, load_backend
from tests.service.scripted_backend import FIRST_LETTER, IDS, Model, ScriptedBackend, encode_letters

# --- Figures by hand --------------------------------------------------------------------------------------------

LETTERS = "_<.?abc"
LIMITS = ParityLimits()
MARGIN = LIMITS.tie_margin


def model(changes: Mapping[tuple[str, str], Mapping[str, float]] | None = None) -> Model:
    """Copies the source; `changes` gives other probabilities for some (source, target so far)."""

    def probabilities(source: str, target: str) -> Mapping[str, float]:
        expected = source[len(target)] if len(target) < len(source) else "."
        return dict.fromkeys(LETTERS, 0.01) | {expected: 0.94} | dict((changes or {}).get((source, target), {}))

    return probabilities


class Shifted(ScriptedBackend):
    """Adds a constant to the attention weights or the log-probabilities."""

    def __init__(self, attention: float = 0.0, log_prob: float = 0.0) -> None:
        super().__init__(model(), FIRST_LETTER + 3)
        self.attention, self.log_prob = attention, log_prob

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        output = super().decode_step(input_ids, rows, forced_ids, num_candidates)
        return replace(
            output,
            attention_weights=output.attention_weights + np.float32(self.attention),
            candidate_log_probs=output.candidate_log_probs + np.float32(self.log_prob),
        )


def backend(changes: Mapping[tuple[str, str], Mapping[str, float]] | None = None) -> ScriptedBackend:
    return ScriptedBackend(model(changes), FIRST_LETTER + 3)


def compare(reference: ScriptedBackend, exported: ScriptedBackend, *sources: str) -> Fp32Parity:
    return measure_fp32(reference, exported, [encode_letters(source + ".") for source in sources], IDS, MARGIN)


def test_a_model_equals_itself() -> None:
    assert compare(backend(), backend(), "ab", "c", "abcabc") == Fp32Parity(3, 0.0, 0.0, 0, 0)


def test_the_largest_log_prob_difference_is_found_over_the_whole_vocabulary() -> None:
    exported = backend({("ab", "a"): {"c": 0.02}})  # not the best token, and only in the second step
    parity = compare(backend(), exported, "ca", "ab")
    assert parity.max_log_prob_difference == pytest.approx(np.log(0.02 / 0.01), rel=1e-5)
    assert (parity.different_sentences, parity.max_attention_difference) == (0, 0.0)


def test_the_largest_attention_difference_is_found() -> None:
    parity = compare(backend(), Shifted(attention=0.25), "ab", "c")
    assert parity.max_attention_difference == pytest.approx(0.25)


def test_a_sentence_whose_output_parts_is_counted_once() -> None:
    exported = backend({("ab", ""): {"c": 0.95, "a": 0.01}, ("ab", "a"): {"c": 0.95, "b": 0.01}})
    parity = compare(backend(), exported, "ab", "c")
    assert (parity.different_sentences, parity.tied_sentences) == (1, 0)


def test_parting_at_a_tie_is_no_difference() -> None:
    tie = {"a": 0.4, "c": 0.4 * np.exp(MARGIN / -2)}
    turned = {"c": tie["a"], "a": tie["c"]}
    parity = compare(backend({("ab", ""): tie}), backend({("ab", ""): turned}), "ab", "c")
    assert (parity.different_sentences, parity.tied_sentences) == (0, 1)
    check_fp32(parity, LIMITS)


def test_parting_beside_a_tie_is_a_difference() -> None:
    near = {"a": 0.4, "c": 0.4 * np.exp(MARGIN * -2)}
    turned = {"c": near["a"], "a": near["c"]}
    parity = compare(backend({("ab", ""): near}), backend({("ab", ""): turned}), "ab", "c")
    assert (parity.different_sentences, parity.tied_sentences) == (1, 0)


def test_what_follows_the_end_of_a_sentence_is_not_compared() -> None:
    exported = backend({("c", "c."): {"a": 0.5}})  # decoded on beside the longer sentence, and ignored
    assert compare(backend(), exported, "abc", "c") == Fp32Parity(2, 0.0, 0.0, 0, 0)


# --- Limits -----------------------------------------------------------------------------------------------------

GOOD_FP32 = Fp32Parity(200, 1e-4, 1e-4, 0, 3)
AT_LIMITS = {
    "int8": ReducedParity("int8", 200, 0.9, 30.0, 29.5),
    "fp16": ReducedParity("fp16", 200, 0.95, 30.25, 30.0625),
}


def test_figures_at_the_limits_pass() -> None:
    check_fp32(GOOD_FP32, LIMITS)
    for parity in AT_LIMITS.values():
        check_reduced(parity, LIMITS)
        check_reduced(replace(parity, bleu=35.0), LIMITS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_log_prob_difference": 2e-4}, "max_log_prob_difference is 2.00e-04, the limit 1e-04"),
        ({"max_attention_difference": 0.5}, "max_attention_difference is 5.00e-01, the limit 1e-04"),
        ({"max_log_prob_difference": float("nan")}, "max_log_prob_difference is nan, the limit 1e-04"),
        ({"different_sentences": 1}, "greedy output differs for 1 of 200"),
    ],
)
def test_fp32_graphs_beyond_a_limit_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ParityError, match=f"fp32 graphs: {message}"):
        check_fp32(replace(GOOD_FP32, **changes), LIMITS)


@pytest.mark.parametrize(
    ("precision", "changes", "message"),
    [
        ("int8", {"identical_share": 0.89}, "89.0% of the greedy outputs equal fp32, the limit is 90%"),
        ("int8", {"bleu": 29.4}, "BLEU on dev is 0.60 lower than fp32, the limit 0.5"),
        ("fp16", {"identical_share": 0.94}, "94.0% of the greedy outputs equal fp32, the limit is 95%"),
        ("fp16", {"bleu": 30.0}, "BLEU on dev is 0.25 lower than fp32, the limit 0.2"),
    ],
)
def test_graphs_of_a_lower_precision_beyond_a_limit_are_refused(
    precision: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParityError, match=f"{precision} graphs: {message}"):
        check_reduced(replace(AT_LIMITS[precision], **changes), LIMITS)


def test_graphs_that_give_no_numbers_are_refused() -> None:
    parity = compare(backend(), Shifted(log_prob=float("nan")), "ab", "c")
    with pytest.raises(ParityError, match="max_log_prob_difference is nan"):
        check_fp32(parity, LIMITS)


# --- The trained model and its bundle ---------------------------------------------------------------------------


Measure = Callable[[Path], dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def dev(reversing_run: RunDirectory) -> Corpus:
    return read_pairs([reversing_run.path.parent / "dev.tsv"])


@pytest.fixture(scope="module")
def measure(reversing_run: RunDirectory, dev: Corpus) -> Measure:
    """Compares a bundle with the trained model."""
    trained, _ = reversing_run.load_model()
    return lambda bundle: measure_parity(bundle, KerasBackend(trained), dev, ParityLimits(sentences=40))


def perturb(bundle: Path, copy: Path, graph: str, noise: float) -> Path:
    """A copy of a bundle whose `graph` has other weights, with a manifest that agrees."""
    shutil.copytree(bundle, copy)
    altered = onnx.load(copy / graph)
    generator = np.random.default_rng(0)
    for tensor in altered.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 2:
            noisy = array + generator.normal(scale=noise, size=array.shape) * np.abs(array).max()
            limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
            tensor.CopyFrom(
                numpy_helper.from_array(noisy.clip(limits.min, limits.max).astype(array.dtype), tensor.name)
            )
    onnx.save(altered, copy / graph)
    write_manifest(copy, read_bundle(bundle).manifest)
    return copy


def test_the_bundle_of_a_trained_model_passes(reversing_bundle: Path, measure: Measure, dev: Corpus) -> None:
    figures = measure(reversing_bundle)
    assert figures["fp32"]["sentences"] >= 40
    assert 0 < figures["fp32"]["max_log_prob_difference"] < 1e-4
    assert figures["int8"]["sentences"] == len(dev.pairs)
    assert figures["int8"]["identical_share"] >= 0.9


def test_bleu_of_int8_is_that_of_its_greedy_output(reversing_bundle: Path, measure: Measure, dev: Corpus) -> None:
    figures = measure(reversing_bundle)
    bundle = read_bundle(reversing_bundle)
    int8 = load_backend(bundle, BackendOptions("cpu", "int8"))
    outputs = []
    for pair in dev.pairs:
        source = (*bundle.tokenizer.encode_ids(pair.source), bundle.tokenizer.eos_id)
        [[best]] = decode(int8, [DecodingJob(source, DecodingOptions(beam_size=1))], bundle.manifest.special_ids)
        outputs.append(bundle.tokenizer.decode(best.target_ids).text)
    expected = sacrebleu.corpus_bleu(outputs, [[pair.target for pair in dev.pairs]]).score
    assert figures["int8"]["int8_bleu"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("graph", "noise", "message"),
    [
        ("decoder_step.fp32.onnx", 1e-3, "fp32 graphs: max_log_prob_difference is"),
        ("encoder.fp32.onnx", 1e-3, "fp32 graphs: max_log_prob_difference is"),
        ("decoder_step.int8.onnx", 0.3, "int8 graphs: .* of the greedy outputs equal fp32"),
    ],
)
def test_a_graph_with_other_weights_is_refused(
    reversing_bundle: Path, measure: Measure, tmp_path: Path, graph: str, noise: float, message: str
) -> None:
    broken = perturb(reversing_bundle, tmp_path / "broken", graph, noise)
    with pytest.raises(ParityError, match=message):
        measure(broken)
