"""Alignment quality: links of forced alignment, by the pipeline that the service uses, held against those of people."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from itertools import product
from typing import Final, get_args

import numpy as np

from model_export.evaluation import EvaluatedModel, LocalDecoder
from model_export.gold_alignments import GoldPair, GoldSet, Point
from service.alignment import hard_links
from service.domain import AlignmentRule, FloatArray, Link, TranslatedText
from service.forced_alignment import Aligner, AligningOptions, GivenPair
from service.symmetrisation import Symmetrisation, symmetrise_pairs

SYMMETRISATIONS: Final[tuple[Symmetrisation, ...]] = get_args(Symmetrisation)
THRESHOLDS: Final = tuple(percent / 100 for percent in range(2, 100, 2))
RELATIVE_THRESHOLDS: Final = tuple(tenths / 10 for tenths in range(11))
REMAINING_THRESHOLDS: Final = (None, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class LinkFigures:
    """How links agree with those of people; all but `links` are shares.

    Attributes:
        aer: alignment error rate.
        precision: share of the links that are possible.
        recall: share of the sure links that were found.
        links: how many were given.
        unlinked_source_words: share of the source words without any link, punctuation included.
        unlinked_target_words: likewise of the target words.
    """

    aer: float
    precision: float
    recall: float
    links: int
    unlinked_source_words: float
    unlinked_target_words: float


@dataclass(frozen=True)
class TunedRule:
    """A rule and its alignment error rate on what it was tuned on."""

    rule: AlignmentRule
    aer: float


def judge_links(found: Sequence[Set[Point]], gold: Sequence[GoldPair]) -> LinkFigures:
    """Compares links with gold links, over all pairs together.

    With A the links found, S the sure and P the possible ones, S within P: precision |A and P| / |A|, recall
    |A and S| / |S|, alignment error rate 1 - (|A and S| + |A and P|) / (|A| + |S|).

    Source: Och and Ney 2003, "A Systematic Comparison of Various Statistical Alignment Models", section 5.1.

    Args:
        found: per pair its links (source word, target word), counted from 0.
        gold: the pairs.
    """
    pairs = list(zip(found, gold, strict=True))
    links, sure = sum(map(len, found)), sum(len(pair.sure) for pair in gold)
    right = sum(len(each & pair.possible) for each, pair in pairs)
    found_sure = sum(len(each & pair.sure) for each, pair in pairs)
    sources = sum(pair.source_words for pair in gold), sum(len({source for source, _ in each}) for each in found)
    targets = sum(pair.target_words for pair in gold), sum(len({target for _, target in each}) for each in found)
    return LinkFigures(
        aer=1 - _ratio(found_sure + right, links + sure),
        precision=_ratio(right, links),
        recall=_ratio(found_sure, sure),
        links=links,
        unlinked_source_words=1 - _ratio(sources[1], sources[0]),
        unlinked_target_words=1 - _ratio(targets[1], targets[0]),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def make_aligner(model: EvaluatedModel, rule: AlignmentRule) -> Aligner:
    """What aligns as the service does, without an engine."""
    decoder = LocalDecoder(model.backend, model.special_ids, "aligning")
    return Aligner(model.tokenizer, decoder, model.limits, model.mechanisms, rule, model.omission_rule)


def align_gold(
    model: EvaluatedModel, gold: GoldSet, rule: AlignmentRule, backward: bool = False
) -> list[TranslatedText]:
    """Aligns the pairs of a gold set, as the service would.

    Args:
        model: what aligns.
        gold: the pairs.
        rule: how its attention becomes alignment.
        backward: the model is of the other direction.

    Raises:
        TextTooLongError: a pair is longer than the model takes.
    """
    aligner = make_aligner(model, rule)
    pairs = [GivenPair(pair.source, pair.target) for pair in gold.pairs]
    return asyncio.run(aligner.align(pairs, AligningOptions(backward=backward)))


def judge_aligned(aligned: Sequence[TranslatedText], gold: GoldSet) -> LinkFigures:
    """Figures of the links that stand in aligned pairs."""
    links = [text.hypotheses[0].alignments[0].links for text in aligned]
    return judge_links([_points(each) for each in links], gold.pairs)


def judge_both_ways(
    forward: Sequence[TranslatedText], backward: Sequence[TranslatedText], gold: GoldSet, rule: AlignmentRule
) -> dict[str, LinkFigures]:
    """Figures for each way to put both directions together; `rule` makes links of the mean of their matrices."""
    both_ways = {method: symmetrise_pairs(forward, backward, method, rule) for method in SYMMETRISATIONS}
    return {method: judge_aligned(aligned, gold) for method, aligned in both_ways.items()}


def tune_rule(model: EvaluatedModel, gold: GoldSet) -> list[TunedRule]:
    """Tries every combination of thresholds on a grid.

    Args:
        model: whose rule it is.
        gold: what to tune on; figures of the tuned rule on anything else are untouched by it.

    Returns:
        For each relative and remaining threshold the best threshold, the lowest of equals; the best of all first.
    """
    matrices = [_word_matrix(text) for text in align_gold(model, gold, model.rule)]
    best = []
    for relative, remaining in product(RELATIVE_THRESHOLDS, REMAINING_THRESHOLDS):
        thresholds = [each for each in THRESHOLDS if remaining is None or each > remaining]
        rules = [AlignmentRule(threshold, relative, remaining) for threshold in thresholds]
        best.append(min((_try_rule(rule, matrices, gold) for rule in rules), key=lambda tuned: tuned.aer))
    return sorted(best, key=lambda tuned: tuned.aer)


def _word_matrix(aligned: TranslatedText) -> FloatArray:
    words = aligned.hypotheses[0].alignments[0].words
    return np.zeros((0, 0), np.float32) if words is None else words


def _try_rule(rule: AlignmentRule, matrices: Sequence[FloatArray], gold: GoldSet) -> TunedRule:
    links = [_points(hard_links(matrix, rule)) for matrix in matrices]
    return TunedRule(rule, judge_links(links, gold.pairs).aer)


def _points(links: Collection[Link]) -> set[Point]:
    return {(link.source, link.target) for link in links}
