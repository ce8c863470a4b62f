"""`interlinear-export evaluate`: BLEU and chrF of a trained model or of a bundle."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from model_export.bundle_writer import record_scores
from model_export.corpus_readers import read_pairs
from model_export.evaluation import Metric, score_translations, translate_corpus
from model_export.run_directory import RunDirectory
from service.bundle.manifest import Score
from service.bundle.reader import read_bundle
from service.bundle.tokenizer import Tokenizer
from service.decoding.backend import Seq2SeqBackend
from service.domain import DecodingOptions
from service.onnx_backend import BackendOptions, load_backend
from service.threads import usable_cpus


def run_evaluation(arguments: Namespace) -> None:
    """Translates the test file, prints the figures, and writes them where the command line says."""
    corpus = read_pairs([arguments.test], show_progress=False)
    print(corpus.report())
    backend, tokenizer, max_source_tokens, precision = _load(arguments)
    options = DecodingOptions(beam_size=arguments.beam_size, length_penalty=arguments.length_penalty)
    translations = translate_corpus(backend, tokenizer, corpus, options, max_source_tokens)
    metrics = score_translations(translations, corpus)
    if arguments.translations:
        arguments.translations.write_text("".join(f"{line}\n" for line in translations), encoding="utf-8")
    for metric in metrics:
        print(f"{metric.name} {metric.value:.2f}  {metric.signature}")
    if arguments.json:
        _write_json(arguments, precision, metrics)
    if arguments.record:
        record_scores(arguments.bundle, [_score(metric, arguments, precision) for metric in metrics])


def _load(arguments: Namespace) -> tuple[Seq2SeqBackend, Tokenizer, int, str]:
    if arguments.bundle:
        bundle = read_bundle(arguments.bundle)
        backend = load_backend(bundle, BackendOptions("cpu", arguments.precision, usable_cpus()))
        return backend, bundle.tokenizer, bundle.manifest.max_source_tokens, backend.precision
    from model_export.keras_backend import KerasBackend  # Keras takes seconds to import; a bundle needs none

    run = RunDirectory(arguments.run)
    model, _ = run.load_model()
    return KerasBackend(model), run.read_tokenizer(), run.read_config().training.max_tokens + 1, "keras"


def _score(metric: Metric, arguments: Namespace, precision: str) -> Score:
    command = (
        f"interlinear-export evaluate --bundle {arguments.bundle.name} --precision {precision} "
        f"--beam-size {arguments.beam_size} --length-penalty {arguments.length_penalty} --test {arguments.test.name}"
    )
    return Score(
        metric=metric.name,
        value=metric.value,
        signature=metric.signature,
        data=arguments.test.name,
        precision=precision,
        beam_size=arguments.beam_size,
        command=command,
    )


def _write_json(arguments: Namespace, precision: str, metrics: list[Metric]) -> None:
    path: Path = arguments.json
    content = {
        "test": arguments.test.name,
        "precision": precision,
        "beam_size": arguments.beam_size,
        "length_penalty": arguments.length_penalty,
        "metrics": [asdict(metric) for metric in metrics],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
