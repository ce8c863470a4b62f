"""Hypotheses in a new order, by what further models think of them.

A model of the other direction says how well a hypothesis tells what the source tells (Li & Jurafsky 2016,
arXiv:1601.00372); further models of the same direction even out what one model gets wrong. Too slow to serve, but a
better teacher than the model that wrote the hypotheses.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from model_export.evaluation import EvaluatedModel, LocalDecoder
from service.errors import TextTooLongError
from service.forced_alignment import Aligner, AligningOptions, GivenPair

Translation = dict[str, Any]
"""A line that `interlinear translate --jsonl` writes, all of its fields."""

SCORE_DIGITS: Final = 5

_NO_SCORE: Final = -math.inf


@dataclass(frozen=True, slots=True)
class Judge:
    """A further model.

    Attributes:
        model: what scores.
        weight: of its scores; the hypotheses' own count 1.
        backward: whether it translates the other way.
    """

    model: EvaluatedModel
    weight: float
    backward: bool

    def score(self, pairs: Sequence[GivenPair]) -> list[float]:
        """The normalised score of each pair's target, or of its source by a model of the other direction.

        Raises:
            TextTooLongError: a side is longer than the model takes.
        """
        decoder = LocalDecoder(self.model.backend, self.model.special_ids, description=None)
        aligner = Aligner(self.model.tokenizer, decoder, self.model.limits, self.model.mechanisms)
        scored = asyncio.run(aligner.align(pairs, AligningOptions(alignment="none", backward=self.backward)))
        return [text.hypotheses[0].score for text in scored]


def rerank(translations: Sequence[Translation], judges: Sequence[Judge]) -> list[Translation]:
    """Sorts the hypotheses of each translation, the best first, and gives them their new scores.

    A new score is the hypothesis's own plus, by each judge, its weight times its score, all normalised for length as
    the service does it. `log_prob` stays. Hypotheses without a finite score stay behind all others, in their order.

    Raises:
        TextTooLongError: a text is longer than a judge takes.
    """
    pairs = [
        GivenPair(translation["source"]["text"], hypothesis["text"])
        for translation in translations
        for hypothesis in translation["hypotheses"]
    ]
    weighted = [[judge.weight * score for score in judge.score(pairs)] for judge in judges]
    further_scores = iter([sum(scores) for scores in zip(*weighted, strict=True)])
    return [
        translation | {"hypotheses": _sort([(each, next(further_scores)) for each in translation["hypotheses"]])}
        for translation in translations
    ]


def rerank_what_fits(translations: Sequence[Translation], judges: Sequence[Judge]) -> tuple[list[Translation], int]:
    """As `rerank`, but hypotheses that are too long for a judge, or whose source is, stay in their order.

    They lose their scores, which could not be compared with those of others.

    Returns:
        The translations in their order, and how many of them were too long.
    """
    try:
        return rerank(translations, judges), 0
    except TextTooLongError:
        if len(translations) == 1:
            return [_without_scores(translations[0])], 1
    parts = [rerank_what_fits([translation], judges) for translation in translations]
    return [each for part, _ in parts for each in part], sum(count for _, count in parts)


def _without_scores(translation: Translation) -> Translation:
    return translation | {"hypotheses": [each | {"score": None} for each in translation["hypotheses"]]}


def _sort(with_further_scores: Sequence[tuple[dict[str, Any], float]]) -> list[dict[str, Any]]:
    new = [hypothesis | {"score": _add(hypothesis["score"], score)} for hypothesis, score in with_further_scores]
    return sorted(new, key=lambda each: _NO_SCORE if each["score"] is None else each["score"], reverse=True)


def _add(own: float | None, further: float) -> float | None:
    """The new score, to the digits of the old; None where it is no finite number, which JSON does not know."""
    return None if own is None or not math.isfinite(own + further) else round(own + further, SCORE_DIGITS)
