"""The part of `interlinear-export evaluate` that measures alignments on a gold file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from model_export.alignment_evaluation import (
    LinkFigures,
    TunedRule,
    align_gold,
    judge_aligned,
    judge_both_ways,
    tune_rule,
)
from model_export.evaluation import EvaluatedModel, Metric, measure_speed
from model_export.gold_alignments import GoldSet
from service.bundle.manifest import AlignmentInfo

ONE_DIRECTION = "one direction"
SHOWN_RULES = 5


@dataclass(frozen=True)
class GoldReport:
    """What was measured.

    Attributes:
        values: all figures, for JSON.
        metrics: those that are recorded, in percent, with what makes them comparable.
        tuned: the rule, if it was tuned.
    """

    values: dict[str, Any]
    metrics: list[Metric]
    tuned: AlignmentInfo | None


def measure_alignments(model: EvaluatedModel, reverse: EvaluatedModel | None, gold: GoldSet, tune: bool) -> GoldReport:
    """Aligns gold pairs, prints figures, and returns them.

    Args:
        model: what aligns.
        reverse: a model of the other direction, if links are to be symmetrised as well.
        gold: the pairs.
        tune: whether to look for the best rule first; otherwise the model's holds.

    Raises:
        TextTooLongError: a pair is longer than a model takes.
    """
    print(_describe(gold))
    rule, tuned = model.rule, None
    if tune:
        candidates = tune_rule(model, gold)
        _print_candidates(candidates)
        rule = candidates[0].rule
        tuned = AlignmentInfo(**asdict(rule))
    start = time.perf_counter()
    aligned = align_gold(model, gold, rule)
    speed = measure_speed(aligned, time.perf_counter() - start)
    figures = {ONE_DIRECTION: judge_aligned(aligned, gold)}
    if reverse is not None:
        figures |= judge_both_ways(aligned, align_gold(reverse, gold, reverse.rule, backward=True), gold, rule)
    _print_figures(figures)
    print(f"{speed.sentences_per_s:.1f} pairs/s, {speed.target_tokens_per_s:.0f} target tokens/s")
    signature = _signature(gold, replace(model, rule=rule), reverse)
    values = {
        "gold": gold.name,
        "pairs": len(gold.pairs),
        "rule": asdict(rule),
        "tuned_here": tuned is not None,
        "figures": {name: asdict(each) for name, each in figures.items()},
        "speed": asdict(speed),
    }
    metrics = [metric for name, each in figures.items() for metric in _metrics(name, each, signature)]
    return GoldReport(values, metrics, tuned)


def _describe(gold: GoldSet) -> str:
    sure = sum(len(pair.sure) for pair in gold.pairs)
    possible = sum(len(pair.possible) for pair in gold.pairs) - sure
    return f"{gold.name}: {len(gold.pairs)} pairs, {sure} sure links, {possible} links that are only possible"


def _print_candidates(candidates: Sequence[TunedRule]) -> None:
    print("tuned: relative threshold, threshold, threshold of what remains, AER %")
    best_of_kind = [
        next(each for each in candidates if (each.rule.relative_threshold, each.rule.remaining_threshold) == kind)
        for kind in ((0.0, None), (1.0, None))
    ]
    for tuned in dict.fromkeys([*candidates[:SHOWN_RULES], *best_of_kind]):
        rule = tuned.rule
        remaining = "none" if rule.remaining_threshold is None else f"{rule.remaining_threshold:.2f}"
        print(f"  {rule.relative_threshold:.1f}  {rule.threshold:.2f}  {remaining}  {100 * tuned.aer:.2f}")


def _print_figures(figures: Mapping[str, LinkFigures]) -> None:
    rows: list[tuple[str, ...]] = [
        ("links", "AER %", "precision %", "recall %", "links", "source and target words without")
    ]
    for name, each in figures.items():
        shares = (f"{100 * share:.2f}" for share in (each.aer, each.precision, each.recall))
        without = f"{each.unlinked_source_words:.1%}, {each.unlinked_target_words:.1%}"
        rows.append((name, *shares, str(each.links), without))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))


def _metrics(name: str, figures: LinkFigures, signature: str) -> list[Metric]:
    suffix = "" if name == ONE_DIRECTION else f" ({name})"
    shares = (("AER", figures.aer), ("link precision", figures.precision), ("link recall", figures.recall))
    return [Metric(f"{metric}{suffix}", round(100 * share, 2), signature) for metric, share in shares]


def _signature(gold: GoldSet, model: EvaluatedModel, reverse: EvaluatedModel | None) -> str:
    def describe(each: EvaluatedModel) -> str:
        rule, mechanism = each.rule, each.mechanisms[0]
        thresholds = f"threshold:{rule.threshold:g}|relative:{rule.relative_threshold:g}"
        if rule.remaining_threshold is not None:
            thresholds += f"|remaining:{rule.remaining_threshold:g}"
        return f"{mechanism.name}|offset:{mechanism.row_offset}|{thresholds}"

    backward = "" if reverse is None else f"|reverse-{describe(reverse).replace('|', '|reverse-')}"
    return f"forced|words|pairs:{len(gold.pairs)}|{describe(model)}{backward}"
