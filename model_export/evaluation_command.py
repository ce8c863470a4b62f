"""`interlinear-export evaluate`: quality of the translations and of the alignments of a trained model or a bundle."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from model_export.bundle_writer import record_scores
from model_export.compared_links import ComparedLinks, read_compared_links
from model_export.corpus_readers import Corpus, CorpusFormat, read_pairs
from model_export.diagnostics_command import judge_diagnostics
from model_export.errors import ConfigError
from model_export.evaluation import (
    EvaluatedModel,
    Metric,
    Speed,
    best_texts,
    coverage_metrics,
    load_bundle,
    load_run,
    measure_coverage,
    measure_speed,
    score_translations,
    translate_corpus,
)
from model_export.gold_alignments import GoldSet, read_gold
from model_export.gold_command import measure_alignments
from model_export.length_command import length_metrics, measure_by_length
from model_export.staged_file import keep_inputs
from service.bundle.manifest import AlignmentInfo, OmissionInfo, Score
from service.domain import DecodingOptions

NO_PRECISION = ""
"""Of figures of links that were given: no graphs had part in them."""


@dataclass
class _Report:
    """What the command found out: values for JSON, scores for the manifest, and the rules that were tuned."""

    values: dict[str, Any]
    scores: list[Score] = field(default_factory=list)
    alignment: AlignmentInfo | None = None
    omission: OmissionInfo | None = None


def run_evaluation(arguments: Namespace) -> None:
    """Measures what the command line asks for, prints the figures, and writes them where it says.

    Raises:
        ConfigError: options that need another one, or exclude it.
    """
    _check(arguments)
    for name in ("translations", "json"):
        keep_inputs(getattr(arguments, name), [arguments.test, arguments.gold], f"--{name}")
    corpus_format = CorpusFormat(swapped=arguments.swap)
    corpus = read_pairs([arguments.test], corpus_format, show_progress=False) if arguments.test else None
    gold, compared = _read_gold(arguments)
    model = load_bundle(arguments.bundle, arguments.precision) if arguments.bundle else load_run(arguments.run)
    if arguments.preferred_source_tokens is not None:
        model = _parting_from(arguments.preferred_source_tokens, model)
    report = _Report({"precision": model.precision})
    if gold:
        _measure_alignments(model, gold, compared, arguments, report)
    if report.alignment:
        model = replace(model, rule=report.alignment.rule)  # words without links are counted by the rule that is kept
    if corpus:
        _measure_translations(model, corpus, arguments, report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.values, indent=2) + "\n", encoding="utf-8")
    if arguments.record:
        record_scores(
            arguments.bundle, report.scores, report.alignment, report.omission, arguments.preferred_source_tokens
        )


def _read_gold(arguments: Namespace) -> tuple[GoldSet | None, list[ComparedLinks]]:
    """The gold pairs and other aligners' links of them, both with the sides that the model wants."""
    if not arguments.gold:
        return None, []
    gold = read_gold(arguments.gold, arguments.part)
    compared = [read_compared_links(name, path, gold) for name, path in arguments.compare_links]
    return (gold.swapped, [each.swapped for each in compared]) if arguments.swap else (gold, compared)


def _parting_from(tokens: int, model: EvaluatedModel) -> EvaluatedModel:
    if not 2 <= tokens <= model.max_source_tokens:
        raise ConfigError(f"--preferred-source-tokens: must be from 2 to {model.max_source_tokens}, is {tokens}")
    return replace(model, preferred_source_tokens=tokens)


def _check(arguments: Namespace) -> None:
    needs = (
        ("--record", arguments.record, arguments.bundle, "writes into a bundle's manifest, so it needs --bundle"),
        ("--precision", arguments.precision, arguments.bundle, "chooses among a bundle's graphs, so it needs --bundle"),
        ("--test", True, arguments.test or arguments.gold, "there is nothing to measure without it or --gold"),
        ("--translations", arguments.translations, arguments.test, "needs --test"),
        ("--by-length", arguments.by_length, arguments.test, "needs --test"),
        ("--preferred-source-tokens", arguments.preferred_source_tokens, arguments.test, "needs --test"),
        ("--part", arguments.part, arguments.gold, "needs --gold"),
        ("--diagnostics", arguments.diagnostics, arguments.gold, "needs --gold"),
        ("--reverse-bundle", arguments.reverse_bundle, arguments.gold, "needs --gold"),
        ("--compare-links", arguments.compare_links, arguments.gold, "needs --gold"),
        ("--tune-threshold", arguments.tune_threshold, arguments.gold, "needs --gold"),
        (
            "--tune-threshold",
            arguments.tune_threshold,
            arguments.part,
            "needs --part: what is left is for reporting figures",
        ),
    )
    for option, given, needed, problem in needs:
        if given and not needed:
            raise ConfigError(f"{option}: {problem}")
    names = [name for name, _ in arguments.compare_links]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--compare-links: {name} is there more than once; give each file a name of its own")


def _measure_translations(model: EvaluatedModel, corpus: Corpus, arguments: Namespace, report: _Report) -> None:
    print(corpus.report())
    options = DecodingOptions(beam_size=arguments.beam_size, length_penalty=arguments.length_penalty)
    start = time.perf_counter()
    translated = translate_corpus(model, corpus, options)
    speed = measure_speed(translated, time.perf_counter() - start)
    coverage, texts = measure_coverage(translated), best_texts(translated)
    metrics = score_translations(texts, corpus)
    for metric in metrics:
        print(f"{metric.name} {metric.value:.2f}  {metric.signature}")
    print(
        f"source words without link {coverage.unlinked_source_words:.1%}, "
        f"target words without link {coverage.unlinked_target_words:.1%}, "
        f"sentences cut at the length limit {coverage.unfinished:.1%}"
    )
    print(describe_speed(speed))
    if arguments.translations:
        arguments.translations.write_text("".join(f"{line}\n" for line in texts), encoding="utf-8")
    report.values |= {
        "test": arguments.test.name,
        "beam_size": arguments.beam_size,
        "length_penalty": arguments.length_penalty,
        "metrics": [asdict(metric) for metric in metrics],
        "coverage": asdict(coverage),
        "speed": asdict(speed),
    }
    recorded = [*metrics, *coverage_metrics(coverage, model, len(corpus.pairs))]
    report.scores += [_translation_score(metric, arguments, model.precision) for metric in recorded]
    if arguments.by_length:
        bands = measure_by_length(model, corpus, translated, options)
        report.values["by_length"] = [asdict(band) for band in bands]
        report.scores += [
            _translation_score(metric, arguments, model.precision, " --by-length") for metric in length_metrics(bands)
        ]


def _measure_alignments(
    model: EvaluatedModel, gold: GoldSet, compared: list[ComparedLinks], arguments: Namespace, report: _Report
) -> None:
    reverse = load_bundle(arguments.reverse_bundle, None) if arguments.reverse_bundle else None
    found = measure_alignments(model, reverse, gold, arguments.tune_threshold, compared)
    report.values["alignment"] = found.values
    also = [f"--reverse-bundle {_name(arguments.reverse_bundle)}"] if arguments.reverse_bundle else []
    report.scores += _gold_scores(found.metrics, gold.name, arguments, model.precision, *also)
    for each in compared:
        option = f"--compare-links {each.name}={each.file}"
        report.scores += _gold_scores(found.compared[each.name], gold.name, arguments, NO_PRECISION, option)
    report.alignment = found.tuned
    if arguments.diagnostics:
        judged = judge_diagnostics(model, gold, arguments.tune_threshold)
        report.values["diagnostics"] = judged.values
        report.scores += _gold_scores(judged.metrics, gold.name, arguments, model.precision, "--diagnostics")
        report.omission = judged.tuned


def describe_speed(speed: Speed) -> str:
    """The speed in words."""
    return f"{speed.sentences_per_s:.1f} sentences/s, {speed.target_tokens_per_s:.0f} target tokens/s"


def _translation_score(metric: Metric, arguments: Namespace, precision: str, also: str = "") -> Score:
    command = _command(
        arguments,
        precision,
        f"--beam-size {arguments.beam_size} --length-penalty {arguments.length_penalty} --test {arguments.test.name}"
        f"{' --swap' if arguments.swap else ''}{_parting(arguments)}{also}",
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


def _parting(arguments: Namespace) -> str:
    tokens = arguments.preferred_source_tokens
    return f" --preferred-source-tokens {tokens}" if tokens else ""


def _gold_scores(
    metrics: Iterable[Metric], data: str, arguments: Namespace, precision: str, *also: str
) -> Iterable[Score]:
    options = [f"--gold {arguments.gold.name}"]
    options += [f"--part {arguments.part}"] if arguments.part else []
    options += ["--swap"] if arguments.swap else []
    command = _command(arguments, precision, " ".join([*options, *also]))
    return [
        Score(
            metric=metric.name,
            value=metric.value,
            signature=metric.signature,
            data=data,
            precision=precision,
            command=command,
        )
        for metric in metrics
    ]


def _command(arguments: Namespace, precision: str, options: str) -> str:
    if not arguments.bundle:
        return ""
    graphs = f" --precision {precision}" if precision else ""
    return f"interlinear-export evaluate --bundle {_name(arguments.bundle)}{graphs} {options}"


def _name(path: Path) -> str:
    return path.resolve().name
