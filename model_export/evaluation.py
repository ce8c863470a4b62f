"""Translation quality on a corpus, measured through the pipeline and the search that the service uses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF
from tqdm import tqdm

from model_export.corpus_readers import Corpus
from model_export.run_directory import RunDirectory
from service.bundle.reader import read_bundle
from service.bundle.tokenizer import Tokenizer
from service.decoding.backend import Seq2SeqBackend
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, Hypothesis, SpecialIds
from service.onnx_backend import BackendOptions, load_backend
from service.threads import usable_cpus
from service.translator import Translator, TranslatorLimits

BATCH_SIZE = 64
MAX_DECODING_LENGTH = 512


@dataclass(frozen=True)
class Metric:
    """One figure: BLEU or chrF on sacreBLEU's scale of 0 to 100, with the signature that makes it comparable."""

    name: str
    value: float
    signature: str


@dataclass(frozen=True)
class EvaluatedModel:
    """What is measured: a backend with its tokenizer; `precision` is `keras` for a model that is not exported."""

    backend: Seq2SeqBackend
    tokenizer: Tokenizer
    max_source_tokens: int
    precision: str


def load_bundle(path: Path, precision: str | None) -> EvaluatedModel:
    """Loads a bundle as the service would, on the CPU.

    Raises:
        BundleError: it cannot be served, or lacks the precision.
    """
    bundle = read_bundle(path)
    backend = load_backend(bundle, BackendOptions("cpu", precision, usable_cpus()))
    return EvaluatedModel(backend, bundle.tokenizer, bundle.manifest.max_source_tokens, backend.precision)


def load_run(path: Path) -> EvaluatedModel:
    """Loads the best weights of a training run into Keras.

    Raises:
        CheckpointError: there is no run.
    """
    from model_export.keras_backend import KerasBackend  # Keras takes seconds to import; a bundle needs none

    run = RunDirectory(path)
    model, _ = run.load_model()
    return EvaluatedModel(
        KerasBackend(model), run.read_tokenizer(), run.read_config().training.max_source_tokens, "keras"
    )


class LocalDecoder:
    """A `service.translator.Decoder` that decodes everything at once, similar lengths together.

    Args:
        backend: the model.
        ids: its special token ids.
    """

    def __init__(self, backend: Seq2SeqBackend, ids: SpecialIds) -> None:
        self._backend = backend
        self._ids = ids

    async def decode(self, jobs: Sequence[DecodingJob]) -> list[tuple[Hypothesis, ...]]:
        """The hypotheses of each job; the jobs share one beam size."""
        return decode_by_length(self._backend, jobs, self._ids, "translating")


def decode_by_length(
    backend: Seq2SeqBackend, jobs: Sequence[DecodingJob], ids: SpecialIds, description: str
) -> list[tuple[Hypothesis, ...]]:
    """Decodes jobs of one beam size in batches of similar length, with a progress bar; results in the jobs' order."""
    order = sorted(range(len(jobs)), key=lambda index: len(jobs[index].source_ids))
    results: dict[int, tuple[Hypothesis, ...]] = {}
    with tqdm(total=len(jobs), desc=description, unit="sentence") as bar:
        for start in range(0, len(order), BATCH_SIZE):
            members = order[start : start + BATCH_SIZE]
            decoded = decode(backend, [jobs[index] for index in members], ids)
            results.update(zip(members, decoded, strict=True))
            bar.update(len(members))
    return [results[index] for index in range(len(jobs))]


def translate_corpus(model: EvaluatedModel, corpus: Corpus, options: DecodingOptions) -> list[str]:
    """Translates the source sides; one text per pair.

    Raises:
        TextTooLongError: a source is longer than the model takes.
    """
    tokenizer = model.tokenizer
    ids = SpecialIds(pad=tokenizer.pad_id, bos=tokenizer.bos_id, eos=tokenizer.eos_id, unk=tokenizer.unk_id)
    limits = TranslatorLimits(model.max_source_tokens, MAX_DECODING_LENGTH)
    translator = Translator(tokenizer, LocalDecoder(model.backend, ids), limits, mechanisms=())
    sources = [pair.source for pair in corpus.pairs]
    translated = asyncio.run(translator.translate(sources, options, alignment="none"))
    return [text.hypotheses[0].target.text for text in translated]


def score_translations(translations: Sequence[str], corpus: Corpus) -> list[Metric]:
    """BLEU (mixed case, 13a) and chrF against the untouched target sides.

    Source: Post 2018, "A Call for Clarity in Reporting BLEU Scores"; Popović 2015, "chrF".
    """
    references = [[pair.target for pair in corpus.pairs]]
    metrics: list[Metric] = []
    for name, metric in (("BLEU", BLEU()), ("chrF", CHRF())):
        value = metric.corpus_score(list(translations), references).score
        metrics.append(Metric(name, round(value, 2), str(metric.get_signature())))
    return metrics
