"""Monotonic attention: a source position, once passed, is never attended again.

Source: Raffel et al. 2017 (arXiv:1704.00784), section 2.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from model_export.attention.memory import Memory
from model_export.attention.monotonic_alignments import mode_function
from model_export.attention.probability import mask_scores
from model_export.attention.scoring import AdditiveScore, MultiplicativeScore, ScoringMechanism


class MonotonicMechanism(ScoringMechanism):
    """What both monotonic mechanisms share: a choosing probability per position, and a recurrence over positions.

    Alignments before the first step lie on the first position. Rows sum to at most 1, and may be all 0. Stands before
    the score among a mechanism's bases; `**kwargs` go to the score.

    Args:
        units, memory, memory_sequence_length: see `ScoringMechanism`.
        sigmoid_noise, sigmoid_noise_seed, score_bias_init, mode: see `BahdanauMonotonicAttention`.

    Raises:
        ValueError: `mode` is unknown, or `sigmoid_noise` no standard deviation; or see
            `AttentionMechanism.setup_memory`.
    """

    normalized = False
    carries_alignments = True

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        sigmoid_noise: float = 0.0,
        sigmoid_noise_seed: int | None = None,
        score_bias_init: float = 0.0,
        mode: str = "parallel",
        **kwargs: Any,
    ) -> None:
        recurrence = mode_function(mode)
        if not 0 <= sigmoid_noise < math.inf:
            raise ValueError(
                f"sigmoid_noise: expected a standard deviation, finite and at least 0, not {sigmoid_noise}"
            )
        super().__init__(units, memory, memory_sequence_length, score_bias=score_bias_init, **kwargs)
        self.sigmoid_noise = sigmoid_noise
        self.sigmoid_noise_seed = sigmoid_noise_seed
        self.score_bias_init = score_bias_init
        self.mode = mode
        self._recurrence = recurrence
        self._noise = keras.random.SeedGenerator(sigmoid_noise_seed, name="sigmoid_noise") if sigmoid_noise else None
        self.prepare_given_memory()  # by now the score has made all weights

    def first_alignments(self, memory: Memory) -> Any:
        """All weight on the first position, (B, S)."""
        values = memory.values[:, :, 0]
        return ops.concatenate([ops.ones_like(values[:, :1]), ops.zeros_like(values[:, 1:])], axis=1)

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        """See `AttentionMechanism.align`."""
        scores = self.score(query, memory.keys)
        if training and self._noise is not None:  # only large scores outweigh it; section 2.5
            noise = keras.random.normal(ops.shape(scores), dtype=scores.dtype, seed=self._noise)
            scores = scores + self.sigmoid_noise * noise
        return self._recurrence(mask_scores(scores, memory.mask), previous)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        return {
            **super().get_config(),
            "sigmoid_noise": self.sigmoid_noise,
            "sigmoid_noise_seed": self.sigmoid_noise_seed,
            "score_bias_init": self.score_bias_init,
            "mode": self.mode,
        }


@keras.saving.register_keras_serializable("interlinear")
class BahdanauMonotonicAttention(MonotonicMechanism, AdditiveScore):
    """Monotonic attention over the additive score.

    Args:
        units: width U of the space in which scores are computed.
        memory: (B, S, D), remembered as by `setup_memory`; None for the pure form, or for a later one.
        memory_sequence_length: (B,) int32, how many entries of each row of `memory` are real.
        normalize: whether v is normalised, with a gain and a bias.
        sigmoid_noise: standard deviation of the noise that training, and nothing else, adds to scores, so that
            probabilities become discrete; the original added it always.
        sigmoid_noise_seed: of that noise.
        score_bias_init: initial value of the scalar added to scores; negative ones make early positions less likely.
        mode: `parallel` (fast, for training), `recursive` (exact) or `hard` (discrete, for decoding).
        kernel_initializer: of v.
        dtype: of weights and computation; None for Keras's default.
        name: the layer's.

    Raises:
        ValueError: `mode` is unknown, or `sigmoid_noise` no standard deviation; or see
            `AttentionMechanism.setup_memory`.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        normalize: bool = False,
        sigmoid_noise: float = 0.0,
        sigmoid_noise_seed: int | None = None,
        score_bias_init: float = 0.0,
        mode: str = "parallel",
        kernel_initializer: Any = "glorot_uniform",
        dtype: Any = None,
        name: str = "bahdanau_monotonic_attention",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            memory,
            memory_sequence_length,
            normalize=normalize,
            kernel_initializer=kernel_initializer,
            sigmoid_noise=sigmoid_noise,
            sigmoid_noise_seed=sigmoid_noise_seed,
            score_bias_init=score_bias_init,
            mode=mode,
            dtype=dtype,
            name=name,
            **kwargs,
        )


@keras.saving.register_keras_serializable("interlinear")
class LuongMonotonicAttention(MonotonicMechanism, MultiplicativeScore):
    """Monotonic attention over the multiplicative score.

    Args:
        units: width U of the keys; queries must have the same.
        memory, memory_sequence_length: see `BahdanauMonotonicAttention`.
        scale: whether scores are multiplied by a weight.
        sigmoid_noise, sigmoid_noise_seed, score_bias_init, mode: see `BahdanauMonotonicAttention`.
        dtype, name: see `BahdanauMonotonicAttention`.

    Raises:
        ValueError: `mode` is unknown, or `sigmoid_noise` no standard deviation; or, with the first query, it is not
            `units` wide.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        scale: bool = False,
        sigmoid_noise: float = 0.0,
        sigmoid_noise_seed: int | None = None,
        score_bias_init: float = 0.0,
        mode: str = "parallel",
        dtype: Any = None,
        name: str = "luong_monotonic_attention",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            memory,
            memory_sequence_length,
            scale=scale,
            sigmoid_noise=sigmoid_noise,
            sigmoid_noise_seed=sigmoid_noise_seed,
            score_bias_init=score_bias_init,
            mode=mode,
            dtype=dtype,
            name=name,
            **kwargs,
        )
