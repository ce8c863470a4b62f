"""The part of `interlinear-export evaluate` that measures the service's diagnostics on a gold file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from model_export.diagnostics_evaluation import (
    HeuristicFigures,
    TunedOmissionRule,
    measure_diagnostics,
    tune_omissions,
)
from model_export.errors import ConfigError
from model_export.evaluation import EvaluatedModel, Metric
from model_export.gold_alignments import GoldSet
from service.bundle.manifest import OmissionInfo
from service.findings import Heuristic

SHOWN_RULES = 5


@dataclass(frozen=True)
class DiagnosticsReport:
    """What was measured.

    Attributes:
        values: all figures, for JSON.
        metrics: those that are recorded, with what makes them comparable; precision and recall in percent.
        tuned: the rule for words left out, if it was tuned.
    """

    values: dict[str, Any]
    metrics: list[Metric]
    tuned: OmissionInfo | None


def judge_diagnostics(model: EvaluatedModel, gold: GoldSet, tune: bool) -> DiagnosticsReport:
    """Measures the service's diagnostics on gold pairs, prints the figures, and returns them.

    Args:
        model: what aligns.
        gold: the pairs.
        tune: whether to look for the best rule for words left out first; otherwise the model's holds.

    Raises:
        ConfigError: the gold file holds lists of words, which cannot be deleted from a text.
        TextTooLongError: a pair is longer than the model takes.
    """
    if not all(isinstance(pair.target, str) for pair in gold.pairs):
        raise ConfigError("--diagnostics: needs a gold file with texts")
    tuned = None
    if tune and (candidates := tune_omissions(model, gold)):
        _print_candidates(candidates)
        model = replace(model, omission_rule=candidates[0].rule)
        tuned = OmissionInfo(**asdict(candidates[0].rule))
    figures = measure_diagnostics(model, gold)
    _print_figures(figures)
    values: dict[str, Any] = {heuristic: asdict(each) for heuristic, each in figures.items()}
    values["omission_rule"] = asdict(model.omission_rule)
    return DiagnosticsReport(values, _metrics(figures, model, gold), tuned)


def _print_candidates(candidates: Sequence[TunedOmissionRule]) -> None:
    print("tuned: expected from, unattended below, F1 %")
    for tuned in candidates[:SHOWN_RULES]:
        print(f"  {tuned.rule.expected_from:.1f}  {tuned.rule.unattended_below:.2f}  {100 * tuned.f1:.2f}")


def _print_figures(figures: Mapping[Heuristic, HeuristicFigures]) -> None:
    print("diagnostics: precision %, recall %, cases, findings per sentence that was left alone")
    for heuristic, each in figures.items():
        shares = f"{100 * each.precision:6.1f}  {100 * each.recall:6.1f}  {each.cases:5}"
        print(f"  {heuristic:<24}{shares}  {each.findings_per_intact_sentence:.2f}")


def _metrics(figures: Mapping[Heuristic, HeuristicFigures], model: EvaluatedModel, gold: GoldSet) -> list[Metric]:
    rule, metrics = model.omission_rule, []
    for heuristic, each in figures.items():
        signature = f"forced|pairs:{len(gold.pairs)}|cases:{each.cases}"
        if heuristic == "unattended_source_word":
            signature += f"|below:{rule.unattended_below:g}|expected:{rule.expected_from:g}"
        shares = (("precision", each.precision), ("recall", each.recall)) if each.cases else ()  # of nothing: none
        for name, share in shares:
            metrics.append(Metric(f"{heuristic} {name}", round(100 * share, 2), signature))
        findings = round(each.findings_per_intact_sentence, 4)
        metrics.append(Metric(f"{heuristic} findings per intact sentence", findings, signature))
    return metrics
