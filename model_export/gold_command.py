"""The part of `interlinear-export evaluate` that measures alignments on a gold file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from model_export.alignment_evaluation import (
    LinkFigures,
    TunedRule,
    align_gold,
    judge_aligned,
    judge_both_ways,
    judge_links,
    tune_rule,
)
from model_export.compared_links import ComparedLinks
from model_export.evaluation import EvaluatedModel, Metric, describe_links, measure_speed
from model_export.gold_alignments import GoldSet
from service.bundle.manifest import AlignmentInfo
from service.domain import AlignmentRule

ONE_DIRECTION = "one direction"
SHOWN_RULES = 5
SHOWN_DIGITS = 12


@dataclass(frozen=True)
class GoldReport:
    """What was measured.

    Attributes:
        values: all figures, for JSON.
        metrics: those that are recorded, in percent, with what makes them comparable.
        tuned: the rule, if it was tuned.
        compared: the same metrics of other aligners' links, by their names.
    """

    values: dict[str, Any]
    metrics: list[Metric]
    tuned: AlignmentInfo | None
    compared: dict[str, list[Metric]] = field(default_factory=dict)


def measure_alignments(
    model: EvaluatedModel,
    reverse: EvaluatedModel | None,
    gold: GoldSet,
    tune: bool,
    compared: Sequence[ComparedLinks] = (),
) -> GoldReport:
    """Aligns gold pairs, prints figures, and returns them.

    Args:
        model: what aligns.
        reverse: a model of the other direction, if links are to be symmetrised as well.
        gold: the pairs.
        tune: whether to look for the best rule first; otherwise the model's holds.
        compared: other aligners' links of the same pairs.

    Raises:
        TextTooLongError: a pair is longer than a model takes.
    """
    print(_describe(gold))
    rule = _tune(model, gold) if tune else model.rule
    start = time.perf_counter()
    aligned = align_gold(model, gold, rule)
    speed = measure_speed(aligned, time.perf_counter() - start)
    figures = {ONE_DIRECTION: judge_aligned(aligned, gold)}
    if reverse is not None:
        figures |= judge_both_ways(aligned, align_gold(reverse, gold, reverse.rule, backward=True), gold, rule)
    others = {_label(each): judge_links(each.links, gold.pairs) for each in compared}
    _print_figures(figures | others)
    print(f"{speed.sentences_per_s:.1f} pairs/s, {speed.target_tokens_per_s:.0f} target tokens/s")
    signature = _signature(gold, replace(model, rule=rule), reverse)
    values = {
        "gold": gold.name,
        "pairs": len(gold.pairs),
        "rule": asdict(rule),
        "tuned_here": tune,
        "figures": {name: asdict(each) for name, each in (figures | others).items()},
        "compared": [{"name": each.name, "file": each.file, "sha256": each.sha256} for each in compared],
        "speed": asdict(speed),
    }
    metrics = [metric for name, each in figures.items() for metric in _metrics(name, each, signature)]
    of_others = {each.name: _metrics(_label(each), others[_label(each)], _given(gold, each)) for each in compared}
    return GoldReport(values, metrics, AlignmentInfo(**asdict(rule)) if tune else None, of_others)


def _label(compared: ComparedLinks) -> str:
    return f"links of {compared.name}"


def _tune(model: EvaluatedModel, gold: GoldSet) -> AlignmentRule:
    candidates = tune_rule(model, gold)
    _print_candidates(candidates)
    return candidates[0].rule


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
    backward = "" if reverse is None else f"|reverse-{describe_links(reverse).replace('|', '|reverse-')}"
    return f"forced|words|pairs:{len(gold.pairs)}|{describe_links(model)}{backward}"


def _given(gold: GoldSet, compared: ComparedLinks) -> str:
    links = sum(map(len, compared.links))
    return f"given|words|pairs:{len(gold.pairs)}|links:{links}|sha256:{compared.sha256[:SHOWN_DIGITS]}"
