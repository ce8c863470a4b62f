"""The rules that turn a log-probability into the score by which hypotheses are ranked, each with its source."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.domain import BoolArray, FloatArray

FloatsLike = npt.NDArray[np.floating[Any]]
IntsLike = npt.NDArray[np.integer[Any]]
ScoreArray = npt.NDArray[np.float64]

# A source token that never got attention (hard attention, underflow) would cost infinitely much.
MINIMUM_COVERAGE = 1e-9


def length_penalty(lengths: IntsLike, weight: FloatsLike) -> ScoreArray:
    """What log-probabilities are divided by: `((5 + length) / 6) ** weight`.

    Source: Wu et al. 2016, "Google's Neural Machine Translation System", arXiv:1609.08144, equation 14.

    Args:
        lengths: (n,), target tokens, end of sentence included.
        weight: (n,), 0 for no normalisation.
    """
    return np.asarray(((5.0 + lengths) / 6.0) ** weight, dtype=np.float64)


def coverage_penalty(attention_sums: FloatArray, weight: FloatsLike) -> ScoreArray:
    """What is added to the score of a complete hypothesis: `weight * sum_t log(min(attention_sum_t, 1))`, at most 0.

    Source: Wu et al. 2016, arXiv:1609.08144, equation 14.

    Args:
        attention_sums: (n, source_len), attention that each source token got over all target tokens, the mean over the
            mechanisms where there are several; padding has 1.
        weight: (n,).
    """
    covered = np.clip(attention_sums.astype(np.float64), MINIMUM_COVERAGE, 1.0)
    # Added one by one, so that padding cannot change the result by the order of the additions.
    return np.asarray(weight * np.log(covered).cumsum(axis=1)[:, -1])


def repetition_penalty(log_probs: FloatsLike, repeated: BoolArray, penalty: FloatsLike) -> ScoreArray:
    """Log-probabilities (negative) of tokens that the hypothesis holds already, multiplied by `penalty`.

    The paper divides the logits by it. A normalised logarithm has no positive values, for which dividing is right;
    multiplying a negative one lowers it as dividing a positive one does. Other tokens keep their log-probability.

    Source: Keskar et al. 2019, "CTRL: A Conditional Transformer Language Model for Controllable Generation",
    arXiv:1909.05858, section 4.1.

    Args:
        log_probs: (n, candidates).
        repeated: (n, candidates), whether the hypothesis holds the token.
        penalty: (n,), at least 1, which changes nothing.
    """
    return np.where(repeated, log_probs * penalty[:, np.newaxis], log_probs).astype(np.float64)


def sample(log_probs: ScoreArray, top_k: IntsLike, temperature: FloatsLike, uniform: FloatsLike) -> IntsLike:
    """Draws one of the `top_k` best candidates, with probabilities proportional to `exp(log_prob / temperature)`.

    Source: Fan et al. 2018, "Hierarchical Neural Story Generation", arXiv:1805.04833, section 5.4 (top-k sampling);
    the draw inverts the cumulative distribution.

    Args:
        log_probs: (n, candidates), -inf where a token must not follow.
        top_k: (n,), at least 1.
        temperature: (n,), positive.
        uniform: (n,), uniformly distributed in [0, 1).

    Returns:
        (n,) the column drawn.
    """
    order = np.argsort(-log_probs, axis=1, kind="stable")
    ranked = np.take_along_axis(log_probs, order, axis=1)
    with np.errstate(invalid="ignore"):  # a row that nothing may follow
        relative = (ranked - ranked[:, :1]) / temperature[:, np.newaxis]
    within = np.arange(log_probs.shape[1]) < top_k[:, np.newaxis]
    weights = np.where(within, np.exp(relative), 0.0)
    cumulative = np.cumsum(weights, axis=1)
    place = (cumulative <= uniform[:, np.newaxis] * cumulative[:, -1:]).sum(axis=1)
    place = np.minimum(place, (weights > 0).sum(axis=1) - 1)  # where the product was rounded up to the whole sum
    return np.take_along_axis(order, place[:, np.newaxis], axis=1)[:, 0]
