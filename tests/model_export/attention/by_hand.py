"""The mechanisms of tfa.seq2seq once more, as loops over positions in double precision, and what they are tried on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model_export.attention import (
    AttentionMechanism,
    BahdanauAttention,
    BahdanauMonotonicAttention,
    LuongAttention,
    LuongMonotonicAttention,
)

Array = npt.NDArray[Any]

UNITS = 4  # of keys, and of queries
DEPTH = 3  # of the memory
LENGTHS = np.array([5, 2, 1], dtype=np.int32)
MASK = np.arange(5) < LENGTHS[:, None]
SCATTERED_MASK = np.array([[True, False, True, True, False], [False, True, False, False, False], [True] * 5])

SOFT: dict[str, tuple[type[AttentionMechanism], dict[str, Any]]] = {
    "bahdanau": (BahdanauAttention, {}),
    "bahdanau-normalize": (BahdanauAttention, {"normalize": True}),
    "luong": (LuongAttention, {}),
    "luong-scale": (LuongAttention, {"scale": True}),
    "bahdanau_monotonic-parallel": (BahdanauMonotonicAttention, {"score_bias_init": -0.5}),
    "bahdanau_monotonic-recursive": (BahdanauMonotonicAttention, {"mode": "recursive"}),
    "bahdanau_monotonic-normalize": (BahdanauMonotonicAttention, {"normalize": True}),
    "luong_monotonic-parallel": (LuongMonotonicAttention, {}),
    "luong_monotonic-recursive": (LuongMonotonicAttention, {"mode": "recursive", "score_bias_init": -0.5}),
    "luong_monotonic-scale": (LuongMonotonicAttention, {"scale": True}),
}
HARD: dict[str, tuple[type[AttentionMechanism], dict[str, Any]]] = {
    "bahdanau-hardmax": (BahdanauAttention, {"probability_fn": "hardmax", "normalize": True}),
    "luong-hardmax": (LuongAttention, {"probability_fn": "hardmax", "scale": True}),
    "bahdanau_monotonic-hard": (BahdanauMonotonicAttention, {"mode": "hard", "normalize": True}),
    "luong_monotonic-hard": (LuongMonotonicAttention, {"mode": "hard", "scale": True}),
}
KINDS = SOFT | HARD
MONOTONIC = [kind for kind in KINDS if "monotonic" in kind]
OTHERS = [kind for kind in KINDS if "monotonic" not in kind]


def random_doubles(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Normally distributed float64 values."""
    return np.random.default_rng(seed).normal(scale=scale, size=shape)


def make(kind: str, dtype: str | None = None, **options: Any) -> Any:
    """A mechanism, not built."""
    mechanism_class, arguments = KINDS[kind]
    return mechanism_class(UNITS, dtype=dtype, **(arguments | options))


def make_with_weights(kind: str, dtype: str | None = "float64", **options: Any) -> Any:
    """A mechanism whose weights are all random, none zero or one."""
    mechanism = make(kind, dtype, **options)
    mechanism.build_for(query_depth=UNITS, memory_depth=DEPTH)
    for seed, weight in enumerate(mechanism.weights):
        weight.assign(random_doubles(*weight.shape, seed=seed + 10))
    return mechanism


def one_hot(position: int, size: int) -> list[float]:
    return [float(index == position) for index in range(size)]


def weight(mechanism: Any, name: str, otherwise: Any) -> Any:
    variable = getattr(mechanism, name, None)
    return otherwise if variable is None else np.asarray(variable, dtype=np.float64)


def score(mechanism: Any, query: Array, value: Array) -> float:
    """Of one query (Q,) against one vector (D,) of the memory."""
    key = value @ np.asarray(mechanism.memory_layer.kernel)
    bias = float(weight(mechanism, "attention_score_bias", 0.0))
    gain = float(weight(mechanism, "attention_g", 1.0))
    if not hasattr(mechanism, "attention_v"):
        return gain * sum(float(q * k) for q, k in zip(query, key, strict=True)) + bias
    projected = query @ np.asarray(mechanism.query_layer.kernel)
    vector = np.asarray(mechanism.attention_v)
    if mechanism.normalize:
        vector = gain * vector / math.sqrt(sum(float(v) ** 2 for v in vector))
        projected = projected + np.asarray(mechanism.attention_b)
    return sum(float(v) * math.tanh(k + q) for v, k, q in zip(vector, key, projected, strict=True)) + bias


def softmax(scores: Sequence[float]) -> list[float]:
    powers = [math.exp(value) for value in scores]
    return [power / sum(powers) for power in powers]


def hardmax(scores: Sequence[float]) -> list[float]:
    return one_hot(scores.index(max(scores)), len(scores))


def recursive(probabilities: Sequence[float], previous: Sequence[float]) -> list[float]:
    """Raffel et al. 2017, equations 13 and 14."""
    alignments, stay, arriving = [], 0.0, 0.0
    for probability, before in zip(probabilities, previous, strict=True):
        arriving = stay * arriving + before
        alignments.append(probability * arriving)
        stay = 1.0 - probability
    return alignments


def parallel(probabilities: Sequence[float], previous: Sequence[float]) -> list[float]:
    """Raffel et al. 2017, appendix C.1, divided by no less than 1e-10, as in tfa.seq2seq."""
    alignments, passed, shares = [], 1.0, 0.0
    for probability, before in zip(probabilities, previous, strict=True):
        shares += before / max(passed, 1e-10)
        alignments.append(probability * passed * shares)
        passed *= 1.0 - probability
    return alignments


def hard(chosen: Sequence[float], previous: Sequence[float]) -> list[float]:
    """Raffel et al. 2017, section 2.2: on from where the last step stopped to the next position that is chosen."""
    if 1.0 not in previous:
        return [0.0] * len(chosen)
    start = previous.index(1.0)
    stops = [position for position in range(start, len(chosen)) if chosen[position]]
    return one_hot(stops[0] if stops else -1, len(chosen))


def row_of_alignments(mechanism: Any, scores: Sequence[float], previous: Sequence[float]) -> list[float]:
    if not mechanism.carries_alignments:
        return {"softmax": softmax, "hardmax": hardmax}[mechanism.probability_fn](scores)
    if mechanism.mode == "hard":
        return hard([float(value > 0) for value in scores], previous)
    probabilities = [1.0 / (1.0 + math.exp(-value)) for value in scores]
    if mechanism.mode == "recursive":
        return recursive(probabilities, previous)
    return parallel(probabilities, previous)


def attend(mechanism: Any, query: Array, memory: Array, mask: Array, previous: Array) -> tuple[Array, Array]:
    """Contexts (B, D) and alignments (B, S): each sentence alone, its real positions only."""
    context, alignments = np.zeros((len(query), memory.shape[2])), np.zeros(mask.shape)
    for row in range(len(query)):
        positions = np.flatnonzero(mask[row])
        scores = [score(mechanism, query[row], memory[row, position]) for position in positions]
        before = [float(previous[row, position]) for position in positions]
        if mechanism.carries_alignments and not mask[row, 0]:  # where the first alignments lie, on padding
            before[0] += float(previous[row, : positions[0]].sum())
        for position, value in zip(positions, row_of_alignments(mechanism, scores, before), strict=True):
            alignments[row, position] = value
            context[row] += value * memory[row, position]
    return context, alignments
