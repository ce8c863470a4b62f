"""The rules that turn a log-probability into the score by which hypotheses are ranked.

Source: Wu et al. 2016, "Google's Neural Machine Translation System", arXiv:1609.08144, equation 14.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.domain import FloatArray

FloatsLike = npt.NDArray[np.floating[Any]]

# A source token that never got attention (hard attention, underflow) would cost infinitely much.
MINIMUM_COVERAGE = 1e-9


def length_penalty(lengths: npt.NDArray[np.integer[Any]], weight: FloatsLike) -> npt.NDArray[np.float64]:
    """What log-probabilities are divided by: `((5 + length) / 6) ** weight`.

    Args:
        lengths: (n,), target tokens, end of sentence included.
        weight: (n,), 0 for no normalisation.
    """
    return np.asarray(((5.0 + lengths) / 6.0) ** weight, dtype=np.float64)


def coverage_penalty(attention_sums: FloatArray, weight: FloatsLike) -> npt.NDArray[np.float64]:
    """What is added to the score of a complete hypothesis: `weight * sum_t log(min(attention_sum_t, 1))`, at most 0.

    Args:
        attention_sums: (n, source_len), attention that each source token got over all target tokens, the mean over the
            mechanisms where there are several; padding has 1.
        weight: (n,).
    """
    covered = np.clip(attention_sums.astype(np.float64), MINIMUM_COVERAGE, 1.0)
    return np.asarray(weight * np.log(covered).sum(axis=1))
