"""Attention over all positions at once: Bahdanau's and Luong's mechanisms, as tfa.seq2seq had them."""

from __future__ import annotations

from typing import Any

import keras

from model_export.attention.memory import Memory
from model_export.attention.probability import mask_scores, mask_weights, probability_function
from model_export.attention.scoring import AdditiveScore, MultiplicativeScore, ScoringMechanism


class SoftmaxMechanism(ScoringMechanism):
    """What both mechanisms share: the weights of a step are those that `probability_fn` makes of its scores alone.

    Stands before the score among a mechanism's bases; `**kwargs` go to the score.

    Args:
        units, memory, memory_sequence_length: see `ScoringMechanism`.
        probability_fn: `softmax` or `hardmax`.

    Raises:
        ValueError: `probability_fn` is unknown; or see `AttentionMechanism.setup_memory`.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        probability_fn: str = "softmax",
        **kwargs: Any,
    ) -> None:
        probabilities = probability_function(probability_fn)
        super().__init__(units, memory, memory_sequence_length, **kwargs)
        self.probability_fn = probability_fn
        self._probabilities = probabilities
        self.prepare_given_memory()  # by now the score has made all weights

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        """See `AttentionMechanism.align`; `previous` is not read."""
        scores = mask_scores(self.score(query, memory.keys), memory.mask)
        return mask_weights(self._probabilities(scores), memory.mask)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        return {**super().get_config(), "probability_fn": self.probability_fn}


@keras.saving.register_keras_serializable("interlinear")
class BahdanauAttention(SoftmaxMechanism, AdditiveScore):
    """Additive attention; the score is that of `AdditiveScore`.

    Args:
        units: width U of the space in which scores are computed.
        memory: (B, S, D), remembered as by `setup_memory`; None for the pure form, or for a later one.
        memory_sequence_length: (B,) int32, how many entries of each row of `memory` are real.
        normalize: whether v is normalised, with a gain and a bias.
        probability_fn: `softmax`, or `hardmax`, which puts all weight on the best position and passes no gradient.
        kernel_initializer: of v.
        dtype: of weights and computation; None for Keras's default.
        name: the layer's.

    Raises:
        ValueError: `probability_fn` is unknown; or see `AttentionMechanism.setup_memory`.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        normalize: bool = False,
        probability_fn: str = "softmax",
        kernel_initializer: Any = "glorot_uniform",
        dtype: Any = None,
        name: str = "bahdanau_attention",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            memory,
            memory_sequence_length,
            normalize=normalize,
            kernel_initializer=kernel_initializer,
            probability_fn=probability_fn,
            dtype=dtype,
            name=name,
            **kwargs,
        )


@keras.saving.register_keras_serializable("interlinear")
class LuongAttention(SoftmaxMechanism, MultiplicativeScore):
    """Multiplicative attention; the score is that of `MultiplicativeScore`.

    Args:
        units: width U of the keys; queries must have the same.
        memory, memory_sequence_length: see `BahdanauAttention`.
        scale: whether scores are multiplied by a weight.
        probability_fn: `softmax` or `hardmax`, see `BahdanauAttention`.
        dtype, name: see `BahdanauAttention`.

    Raises:
        ValueError: `probability_fn` is unknown; or, with the first query, it is not `units` wide.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        scale: bool = False,
        probability_fn: str = "softmax",
        dtype: Any = None,
        name: str = "luong_attention",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            memory,
            memory_sequence_length,
            scale=scale,
            probability_fn=probability_fn,
            dtype=dtype,
            name=name,
            **kwargs,
        )
