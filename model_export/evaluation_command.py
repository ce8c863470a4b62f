"""`interlinear-export evaluate`: BLEU and chrF of a trained model or of a bundle."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from model_export.bundle_writer import record_scores
from model_export.corpus_readers import CorpusFormat, read_pairs
from model_export.errors import ConfigError
from model_export.evaluation import Metric, load_bundle, load_run, score_translations, translate_corpus
from service.bundle.manifest import Score
from service.domain import DecodingOptions


def run_evaluation(arguments: Namespace) -> None:
    """Translates the test file, prints the figures, and writes them where the command line says."""
    if arguments.record and not arguments.bundle:
        raise ConfigError("--record: writes into a bundle's manifest, so it needs --bundle")
    if arguments.precision and not arguments.bundle:
        raise ConfigError("--precision: chooses among a bundle's graphs, so it needs --bundle")
    corpus = read_pairs([arguments.test], CorpusFormat(swapped=arguments.swap), show_progress=False)
    print(corpus.report())
    model = load_bundle(arguments.bundle, arguments.precision) if arguments.bundle else load_run(arguments.run)
    options = DecodingOptions(beam_size=arguments.beam_size, length_penalty=arguments.length_penalty)
    translations = translate_corpus(model, corpus, options)
    metrics = score_translations(translations, corpus)
    for metric in metrics:
        print(f"{metric.name} {metric.value:.2f}  {metric.signature}")
    if arguments.translations:
        arguments.translations.write_text("".join(f"{line}\n" for line in translations), encoding="utf-8")
    if arguments.json:
        _write_json(arguments, model.precision, metrics)
    if arguments.record:
        record_scores(arguments.bundle, [_score(metric, arguments, model.precision) for metric in metrics])


def _score(metric: Metric, arguments: Namespace, precision: str) -> Score:
    command = (
        f"interlinear-export evaluate --bundle {arguments.bundle.resolve().name} --precision {precision} "
        f"--beam-size {arguments.beam_size} --length-penalty {arguments.length_penalty} --test {arguments.test.name}"
        f"{' --swap' if arguments.swap else ''}"
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
