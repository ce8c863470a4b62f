"""How far exported graphs are from the Keras model: measured at export, refused beyond the configured limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from sacrebleu.metrics import BLEU
from tqdm import tqdm

from model_export.config import ParityLimits
from model_export.corpus_readers import Corpus
from model_export.errors import ParityError
from model_export.evaluation import BATCH_SIZE, decode_by_length
from service.bundle.reader import read_bundle
from service.bundle.tokenizer import Tokenizer
from service.decoding.backend import DecoderRows, Seq2SeqBackend, StepOutput
from service.decoding.jobs import default_length_limit, pad
from service.domain import DecodingJob, DecodingOptions, FloatArray, SpecialIds
from service.onnx_backend import BackendOptions, OnnxBackend, load_backend
from service.threads import usable_cpus

PRECISIONS = ("fp32", "int8", "fp16")
USUAL_PRECISIONS = ("fp32", "int8")
"""What an export keeps unless it is told otherwise; fp16 is for GPUs."""


@dataclass(frozen=True)
class Fp32Parity:
    """fp32 graphs against the Keras model, along the Keras model's own greedy output.

    Attributes:
        sentences: how many were compared.
        max_log_prob_difference: over the whole vocabulary and all steps.
        max_attention_difference: over all attention weights.
        different_sentences: whose greedy output parts at a step that is no tie.
        tied_sentences: whose greedy output parts at a tie.
    """

    sentences: int
    max_log_prob_difference: float
    max_attention_difference: float
    different_sentences: int
    tied_sentences: int


@dataclass(frozen=True)
class ReducedParity:
    """Graphs of a lower precision against fp32 graphs, greedy, on all of dev.

    Attributes:
        precision: `int8` or `fp16`.
        sentences: how many were decoded.
        identical_share: share of them whose outputs are identical.
        fp32_bleu: of the fp32 graphs' output.
        bleu: of the output of these graphs.
    """

    precision: str
    sentences: int
    identical_share: float
    fp32_bleu: float
    bleu: float


def measure_parity(
    bundle_path: Path, reference: Seq2SeqBackend, dev: Corpus, limits: ParityLimits
) -> dict[str, dict[str, float]]:
    """Compares a bundle's graphs, fp32 and any others, with the model that they were made from.

    The graphs run on the CPU. Of fp16 this measures what rounding the weights does, and little of what rounding the
    activations does: onnxruntime's CPU kernels for products work in float32, and it casts nothing between them.

    Returns:
        The figures by precision. Those of other precisions include those of the fp32 graphs that they were compared
        with, as `fp32_<name>`, since a bundle may leave these out.

    Raises:
        ParityError: a limit is exceeded.
    """
    bundle = read_bundle(bundle_path)
    ids = bundle.manifest.special_ids
    graphs = {
        name: load_backend(bundle, BackendOptions("cpu", name, usable_cpus())) for name in bundle.manifest.precisions
    }
    sources = encode_sources(dev, bundle.tokenizer)
    spread = sources[:: max(1, len(sources) // limits.sentences)]
    fp32 = measure_fp32(reference, graphs["fp32"], spread, ids, limits.tie_margin)
    of_fp32 = {name: float(value) for name, value in asdict(fp32).items()}
    print(f"fp32 graphs against the model: {_describe(of_fp32)}")
    check_fp32(fp32, limits)
    figures = {"fp32": of_fp32}
    for name in (name for name in graphs if name != "fp32"):
        parity = measure_reduced(graphs["fp32"], graphs[name], dev, bundle.tokenizer, ids)
        numbers = _as_numbers(parity)
        print(f"{name} graphs against fp32: {_describe(numbers)}")
        check_reduced(parity, limits)
        figures[name] = numbers | {f"fp32_{figure}": value for figure, value in of_fp32.items()}
    return figures


def _describe(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())


def measure_fp32(
    reference: Seq2SeqBackend,
    exported: Seq2SeqBackend,
    sources: Sequence[Sequence[int]],
    ids: SpecialIds,
    margin: float,
) -> Fp32Parity:
    """Compares two backends step by step.

    Args:
        reference: the Keras model; its best token is what both are fed next.
        exported: the graphs.
        sources: token ids per sentence, end of sentence included.
        ids: the special token ids.
        margin: where the reference's two best log-probabilities lie closer than this, either may win.
    """
    log_prob, attention, different, tied = 0.0, 0.0, 0, 0
    for batch in tqdm(list(_batches(sources)), desc="parity fp32", unit="batch"):
        outcome = _compare_batch(reference, exported, batch, ids, margin)
        log_prob = _larger(log_prob, outcome.log_prob)
        attention = _larger(attention, outcome.attention)
        different += int(outcome.different.sum())
        tied += int((outcome.tied & ~outcome.different).sum())
    return Fp32Parity(len(sources), log_prob, attention, different, tied)


def check_fp32(parity: Fp32Parity, limits: ParityLimits) -> None:
    """Refuses graphs beyond the limits.

    Raises:
        ParityError: names the figure and its limit.
    """
    for name in ("max_log_prob_difference", "max_attention_difference"):
        value = getattr(parity, name)
        if not value <= limits.fp32_max_difference:
            raise ParityError(f"fp32 graphs: {name} is {value:.2e}, the limit {limits.fp32_max_difference:.0e}")
    if parity.different_sentences:
        raise ParityError(f"fp32 graphs: greedy output differs for {parity.different_sentences} of {parity.sentences}")


def measure_reduced(
    fp32: OnnxBackend, reduced: OnnxBackend, corpus: Corpus, tokenizer: Tokenizer, ids: SpecialIds
) -> ReducedParity:
    """Decodes a corpus greedily with both graphs, compares the outputs and scores both against the corpus."""
    greedy = DecodingOptions(beam_size=1)
    jobs = [DecodingJob(tuple(source), greedy) for source in encode_sources(corpus, tokenizer)]
    outputs = [
        [hypotheses[0].target_ids for hypotheses in decode_by_length(backend, jobs, ids, f"greedy {backend.precision}")]
        for backend in (fp32, reduced)
    ]
    identical = sum(one == other for one, other in zip(*outputs, strict=True)) / len(jobs)
    references = [pair.target for pair in corpus.pairs]
    bleu = [
        BLEU().corpus_score([tokenizer.decode(target_ids).text for target_ids in output], [references]).score
        for output in outputs
    ]
    return ReducedParity(reduced.precision, len(jobs), identical, *bleu)


def encode_sources(corpus: Corpus, tokenizer: Tokenizer) -> list[list[int]]:
    """The source sides as ids, end of sentence included."""
    return [[*tokenizer.encode_ids(pair.source), tokenizer.eos_id] for pair in corpus.pairs]


def check_reduced(parity: ReducedParity, limits: ParityLimits) -> None:
    """Refuses graphs beyond the limits of their precision.

    Raises:
        ParityError: names the figure and its limit.
    """
    name = parity.precision
    least, most = {
        "int8": (limits.int8_min_identical, limits.int8_max_bleu_loss),
        "fp16": (limits.fp16_min_identical, limits.fp16_max_bleu_loss),
    }[name]
    if parity.identical_share < least:
        raise ParityError(
            f"{name} graphs: {parity.identical_share:.1%} of the greedy outputs equal fp32, the limit is {least:.0%}; "
            f"train longer, export fp32 only, or set parity.{name}_min_identical in the run's configuration"
        )
    loss = parity.fp32_bleu - parity.bleu
    if loss > most:
        raise ParityError(f"{name} graphs: BLEU on dev is {loss:.2f} lower than fp32, the limit {most}")


def _as_numbers(parity: ReducedParity) -> dict[str, float]:
    """The figures as the manifest holds them."""
    return {
        "sentences": float(parity.sentences),
        "identical_share": parity.identical_share,
        "fp32_bleu": parity.fp32_bleu,
        f"{parity.precision}_bleu": parity.bleu,
    }


@dataclass
class _BatchOutcome:
    """Largest differences in a batch, and which of its sentences parted, bool (batch,)."""

    log_prob: float
    attention: float
    different: np.ndarray
    tied: np.ndarray


def _compare_batch(
    reference: Seq2SeqBackend, exported: Seq2SeqBackend, sources: list[Sequence[int]], ids: SpecialIds, margin: float
) -> _BatchOutcome:
    lengths = np.array([len(source) for source in sources], dtype=np.int32)
    source_ids = pad(sources, ids.pad)
    rows = [backend.encode(source_ids, lengths) for backend in (reference, exported)]
    tokens = np.full(len(sources), ids.bos, dtype=np.int32)
    live = np.ones(len(sources), dtype=bool)
    outcome = _BatchOutcome(0.0, 0.0, np.zeros(len(sources), dtype=bool), np.zeros(len(sources), dtype=bool))
    limit = default_length_limit(int(lengths.max()))
    for _ in range(limit):
        size = reference.vocabulary_size
        outputs = [
            backend.decode_step(tokens, row, tokens, size)
            for backend, row in zip((reference, exported), rows, strict=True)
        ]
        _compare_step(outputs, live, margin, outcome)
        rows = [
            DecoderRows(row.memory, row.source_mask, output.state) for row, output in zip(rows, outputs, strict=True)
        ]
        tokens = outputs[0].candidate_ids[:, 0].astype(np.int32)
        live &= tokens != ids.eos
        if not live.any():
            break
    return outcome


def _compare_step(outputs: list[StepOutput], live: np.ndarray, margin: float, outcome: _BatchOutcome) -> None:
    expected, found = (_by_id(output) for output in outputs)
    outcome.log_prob = _larger(outcome.log_prob, np.abs(expected - found)[live].max())
    attention = np.abs(outputs[0].attention_weights - outputs[1].attention_weights)
    outcome.attention = _larger(outcome.attention, attention[live].max())
    best = outputs[0].candidate_log_probs
    parted = live & (outputs[0].candidate_ids[:, 0] != outputs[1].candidate_ids[:, 0])
    tie = best[:, 0] - best[:, 1] < margin
    outcome.different |= parted & ~tie
    outcome.tied |= parted & tie


def _larger(one: float, other: float) -> float:
    """The larger of two differences; NaN if one of them is, which no limit lets pass."""
    return float(np.maximum(one, other))


def _by_id(output: StepOutput) -> FloatArray:
    """Log-probabilities (rows, vocabulary) in the order of ids."""
    by_id = np.empty_like(output.candidate_log_probs)
    np.put_along_axis(by_id, output.candidate_ids.astype(np.int64), output.candidate_log_probs, axis=-1)
    return by_id


def _batches(sources: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    by_length = sorted(sources, key=len)
    for start in range(0, len(by_length), BATCH_SIZE):
        yield by_length[start : start + BATCH_SIZE]
