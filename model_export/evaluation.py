"""Translation quality on a corpus, measured through the pipeline and the search that the service uses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sacrebleu.metrics import BLEU, CHRF
from tqdm import tqdm

from model_export.corpus_readers import Corpus
from model_export.run_directory import RunDirectory
from service.alignment import DEFAULT_RULE
from service.bundle.reader import read_bundle
from service.bundle.tokenizer import Tokenizer
from service.decoding.backend import Seq2SeqBackend
from service.decoding.progress import Listener
from service.decoding.search import decode
from service.domain import (
    AlignmentRule,
    DecodingJob,
    DecodingOptions,
    Hypothesis,
    Mechanism,
    SpecialIds,
    TranslatedText,
)
from service.findings import DEFAULT_OMISSION_RULE, OmissionRule
from service.onnx_backend import BackendOptions, load_backend
from service.threads import usable_cpus
from service.translator import Translator, TranslatorLimits

BATCH_SIZE = 64
MAX_DECODING_LENGTH = 512


@dataclass(frozen=True)
class Metric:
    """One figure, with the signature that makes it comparable: BLEU and chrF on sacreBLEU's scale of 0 to 100."""

    name: str
    value: float
    signature: str


@dataclass(frozen=True)
class EvaluatedModel:
    """What is measured: a backend with its tokenizer.

    Attributes:
        precision: `keras` for a model that is not exported.
        mechanisms: its attention mechanisms, the primary first.
        rule: how its attention becomes alignment.
        preferred_source_tokens: longer sentences are parted; None if only those beyond `max_source_tokens`.
        omission_rule: what speaks for a word's having been left out.
    """

    backend: Seq2SeqBackend
    tokenizer: Tokenizer
    max_source_tokens: int
    precision: str
    mechanisms: tuple[Mechanism, ...] = ()
    rule: AlignmentRule = DEFAULT_RULE
    preferred_source_tokens: int | None = None
    omission_rule: OmissionRule = DEFAULT_OMISSION_RULE

    @property
    def special_ids(self) -> SpecialIds:
        """The special token ids."""
        tokenizer = self.tokenizer
        return SpecialIds(pad=tokenizer.pad_id, bos=tokenizer.bos_id, eos=tokenizer.eos_id, unk=tokenizer.unk_id)

    @property
    def limits(self) -> TranslatorLimits:
        """What it may be asked for."""
        return TranslatorLimits(self.max_source_tokens, MAX_DECODING_LENGTH, self.preferred_source_tokens)


@dataclass(frozen=True)
class Speed:
    """How fast the sentences of one run were decoded, together, by this machine."""

    sentences_per_s: float
    target_tokens_per_s: float


@dataclass(frozen=True)
class Coverage:
    """How often a translation shows signs of something left out or cut; by its alignment, so a heuristic.

    Attributes:
        unlinked_source_words: share of the source words that no target word is linked to, punctuation included.
        unlinked_target_words: share of the target words that are linked to nothing.
        unfinished: share of the sentences that were cut at the length limit.
    """

    unlinked_source_words: float
    unlinked_target_words: float
    unfinished: float


def load_bundle(path: Path, precision: str | None) -> EvaluatedModel:
    """Loads a bundle as the service would, on the CPU.

    Raises:
        BundleError: it cannot be served, or lacks the precision.
    """
    bundle = read_bundle(path)
    backend = load_backend(bundle, BackendOptions("cpu", precision, usable_cpus()))
    manifest = bundle.manifest
    return EvaluatedModel(
        backend,
        bundle.tokenizer,
        manifest.max_source_tokens,
        backend.precision,
        manifest.attention_mechanisms,
        manifest.alignment.rule,
        manifest.preferred_source_tokens,
        manifest.omission.rule,
    )


def load_run(path: Path) -> EvaluatedModel:
    """Loads the best weights of a training run into Keras.

    Raises:
        CheckpointError: there is no run.
    """
    from model_export.keras_backend import (  # Keras takes seconds to import; a bundle needs none
        KerasBackend,
        describe_mechanisms,
    )

    run = RunDirectory(path)
    model, _ = run.load_model()
    training = run.read_config().training
    mechanisms = describe_mechanisms(model, training)
    return EvaluatedModel(KerasBackend(model), run.read_tokenizer(), training.max_source_tokens, "keras", mechanisms)


def describe_links(model: EvaluatedModel) -> str:
    """What a model's links depend on, as signatures say it: its primary mechanism and the rule."""
    rule, mechanism = model.rule, model.mechanisms[0]
    thresholds = f"threshold:{rule.threshold:g}|relative:{rule.relative_threshold:g}"
    if rule.remaining_threshold is not None:
        thresholds += f"|remaining:{rule.remaining_threshold:g}"
    return f"{mechanism.name}|offset:{mechanism.row_offset}|{thresholds}"


class LocalDecoder:
    """A `service.translator.Decoder` that decodes everything at once, similar lengths together.

    Args:
        backend: the model.
        ids: its special token ids.
        description: what the progress bar says; None for no bar.
    """

    def __init__(self, backend: Seq2SeqBackend, ids: SpecialIds, description: str | None = "translating") -> None:
        self._backend = backend
        self._ids = ids
        self._description = description

    def reserve(self, sentences: int) -> AbstractContextManager[None]:
        """There is always room."""
        return nullcontext()

    async def decode(
        self, jobs: Sequence[DecodingJob], listener: Listener | None = None
    ) -> list[tuple[Hypothesis, ...]]:
        """The hypotheses of each job; the jobs share one beam size. A listener is told nothing."""
        return decode_by_length(self._backend, jobs, self._ids, self._description)


def decode_by_length(
    backend: Seq2SeqBackend, jobs: Sequence[DecodingJob], ids: SpecialIds, description: str | None
) -> list[tuple[Hypothesis, ...]]:
    """Decodes jobs of one beam size in batches of similar length, with a progress bar unless it has no description.

    Returns:
        Their hypotheses, in the jobs' order.
    """
    order = sorted(range(len(jobs)), key=lambda index: len(jobs[index].source_ids))
    results: dict[int, tuple[Hypothesis, ...]] = {}
    with tqdm(total=len(jobs), desc=description, unit="sentence", disable=description is None) as bar:
        for start in range(0, len(order), BATCH_SIZE):
            members = order[start : start + BATCH_SIZE]
            decoded = decode(backend, [jobs[index] for index in members], ids)
            results.update(zip(members, decoded, strict=True))
            bar.update(len(members))
    return [results[index] for index in range(len(jobs))]


def translate_corpus(model: EvaluatedModel, corpus: Corpus, options: DecodingOptions) -> list[TranslatedText]:
    """Translates the source sides; one text per pair, with its links where the model's mechanisms are known.

    Raises:
        TextTooLongError: a source is longer than the model takes.
    """
    decoder = LocalDecoder(model.backend, model.special_ids)
    translator = Translator(model.tokenizer, decoder, model.limits, model.mechanisms, model.rule)
    sources = [pair.source for pair in corpus.pairs]
    return asyncio.run(translator.translate(sources, options, alignment="hard" if model.mechanisms else "none"))


def best_texts(translated: Sequence[TranslatedText]) -> list[str]:
    """The best translation of each text."""
    return [text.hypotheses[0].target.text for text in translated]


def measure_coverage(translated: Sequence[TranslatedText]) -> Coverage:
    """Counts words without links, and sentences without an end, in the best translations."""
    best = [(text.source, text.hypotheses[0]) for text in translated]
    links = [hypothesis.alignments[0].links if hypothesis.alignments else () for _, hypothesis in best]
    linked = (
        sum(len({link.source for link in each}) for each in links),
        sum(len({link.target for link in each}) for each in links),
    )
    words = sum(len(source.words) for source, _ in best), sum(len(each.target.words) for _, each in best)
    sentences = [sentence for _, hypothesis in best for sentence in hypothesis.sentences]
    return Coverage(
        unlinked_source_words=1 - linked[0] / max(words[0], 1),
        unlinked_target_words=1 - linked[1] / max(words[1], 1),
        unfinished=sum(not sentence.finished for sentence in sentences) / max(len(sentences), 1),
    )


def coverage_metrics(coverage: Coverage, model: EvaluatedModel, pairs: int) -> list[Metric]:
    """What is recorded of the coverage of the translations of so many pairs: shares in percent."""
    counted = f"pairs:{pairs}|percent"
    links = f"{counted}|{describe_links(model)}"
    shares = (
        ("source words without link", coverage.unlinked_source_words, links),
        ("target words without link", coverage.unlinked_target_words, links),
        ("sentences cut at the length limit", coverage.unfinished, counted),
    )
    return [Metric(name, round(100 * share, 2), signature) for name, share, signature in shares]


def measure_speed(translated: Sequence[TranslatedText], seconds: float) -> Speed:
    """Speed of translating or aligning texts in `seconds`; tokens are those of the best hypotheses, ends included."""
    sentences = sum(len(text.source.sentences) for text in translated)
    tokens = sum(len(text.hypotheses[0].target.tokens) for text in translated)
    return Speed(round(sentences / seconds, 1), round(tokens / seconds, 1))


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
