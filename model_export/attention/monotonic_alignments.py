"""The recurrences of monotonic attention: from scores and the alignments before to the next alignments.

All functions take `scores` e (B, S), the lowest number at padding, and `previous` a' (B, S), and return alignments a
(B, S). The probability of choosing position t is `p_t = sigmoid(e_t)`, hence 0 at padding. None needs a loop over the
source, so that none becomes one in an exported graph.

Source: Raffel et al. 2017 (arXiv:1704.00784), equations 9, 13 and 14 and appendix C.1; section 2.2 for `hard`. The
clipping is tfa.seq2seq's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from model_export.attention.probability import limits

SMALLEST_DIVISOR = 1e-10  # tfa.seq2seq's lower bound of what previous alignments are divided by


def parallel(scores: Any, previous: Any) -> Any:
    """Expected alignments by cumulative sums and products; drifts from `recursive` where products fall under 1e-10.

    `a_t = p_t c_t sum_{j<=t} a'_j / c_j` with `c_t = prod_{j<t} (1 - p_j)`.
    """
    passed = ops.exp(_exclusive_sum(_log_of_passing(scores)))
    shares = previous / ops.clip(passed, max(SMALLEST_DIVISOR, float(limits(passed).tiny)), 1.0)
    return ops.sigmoid(scores) * passed * ops.cumsum(shares, axis=1)


def recursive(scores: Any, previous: Any) -> Any:
    """Expected alignments, exact, in time and memory that grow with the square of the source length.

    `a_t = p_t q_t` with `q_t = (1 - p_{t-1}) q_{t-1} + a'_t`, here unrolled to `q_t = sum_{j<=t} a'_j prod_{j<=k<t}
    (1 - p_k)`; each product is a sum of logarithms of its own, so nothing cancels out.
    """
    positions = ops.arange(ops.shape(scores)[1], dtype="int32")
    from_start = ops.cast(positions[None, :] >= positions[:, None], scores.dtype)  # (j, k), 1 where k >= j
    passing = _log_of_passing(scores)[:, None, :] * from_start[None, :, :]  # (B, j, k)
    reach = ops.exp(_exclusive_sum(passing))  # (B, j, t)
    arriving = ops.sum(previous[:, :, None] * reach * from_start[None, :, :], axis=1)  # q, (B, S)
    return ops.sigmoid(scores) * arriving


def hard(scores: Any, previous: Any) -> Any:
    """The first position at or after the previous one whose score is above 0; no weight at all if there is none.

    Here p_t is 1 or 0; `p_t <- p_t sum_{j<=t} a'_j`, then `a_t = p_t prod_{j<t} (1 - p_j)`.
    """
    chosen = ops.cast(scores > 0, scores.dtype) * ops.cumsum(previous, axis=1)
    stay = 1.0 - chosen
    blocked = _exclusive_sum(ops.cast(stay <= 0.0, stay.dtype)) > 0.0  # a factor of 0 has no logarithm
    passed = ops.exp(_exclusive_sum(ops.log(ops.clip(stay, float(limits(stay).tiny), 1.0))))
    return chosen * ops.where(blocked, ops.zeros_like(passed), passed)


MODES: dict[str, Callable[[Any, Any], Any]] = {"parallel": parallel, "recursive": recursive, "hard": hard}


def mode_function(name: str) -> Callable[[Any, Any], Any]:
    """The recurrence of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in MODES:
        raise ValueError(f"mode: {name!r} is unknown; known are {', '.join(MODES)}")
    return MODES[name]


def _log_of_passing(scores: Any) -> Any:
    """`log(1 - p)`, not below the logarithm of the smallest number, which is tfa.seq2seq's bound.

    By way of p itself, as tfa.seq2seq has it, the digits of `1 - p` are lost where p is nearly 1, and what remains
    depends on how a runtime rounds.
    """
    return ops.maximum(ops.log_sigmoid(-scores), math.log(limits(scores).tiny))


def _exclusive_sum(array: Any) -> Any:
    """Sums along the last axis up to, and without, each position; keras.ops has no exclusive cumsum."""
    return ops.cumsum(ops.concatenate([ops.zeros_like(array[..., :1]), array[..., :-1]], axis=-1), axis=-1)
