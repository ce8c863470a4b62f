"""The attention layers of tf.keras 2.14 on those of Keras 3, and mechanisms that give them to an encoder-decoder.

Keras 3 computes what tf.keras 2.14 computed; every reference case of both layers comes out within 2e-6, those with a
row whose positions are all masked included (the weights are then uniform over all of them). It differs in this:

- The constructor's flag `causal`, deprecated in 2.14, is gone. The layers here still take it.
- Over a memory of one position it warns that a softmax over one number is 1. The layers here do not.
- `training=None` means inference outside of a training loop; 2.14 asked the global learning phase, which is gone.
- A `seed` for dropout is new, and kept.

Shapes: B batch, T queries, S source length, D depth, E value depth.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from model_export.attention.mechanism import AttentionMechanism
from model_export.attention.memory import Memory
from model_export.attention.probability import mask_scores, mask_weights, softmax


def check_dropout(dropout: float) -> None:
    """Checks the share of weights that training drops.

    Raises:
        ValueError: it is not between 0 and 1, or is 1.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a share of at least 0 and below 1, not {dropout}")


class _OriginalCall(keras.layers.Layer):
    """What both layers add to Keras's; comes before Keras's class among the bases."""

    causal: bool

    def scores(self, query: Any, key: Any) -> Any:
        """Scores (B, T, S) of `query` (B, T, D) against `key` (B, S, D), neither masked nor normalised."""
        return self._calculate_scores(query=query, key=key)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attends.

        Args:
            inputs: list `[query (B, T, D), value (B, S, E)]` or `[query, value, key (B, S, D)]`; without a key, the
                value is the key.
            mask: list `[query_mask (B, T), value_mask (B, S)]` of bool, True = real; either may be None. A masked
                value has no weight; the result of a masked query is 0, its scores are not touched.
            training: whether dropout acts.
            return_attention_scores: whether the weights are returned too.
            use_causal_mask: whether query t sees positions up to t only.

        Returns:
            Result (B, T, E); with `return_attention_scores`, also the weights (B, T, S).
        """
        with warnings.catch_warnings():
            if inputs[1].shape[1] == 1:
                warnings.filterwarnings("ignore", message="You are using a softmax over axis")
            return super().call(
                inputs,
                mask=mask,
                training=training,
                return_attention_scores=return_attention_scores,
                use_causal_mask=use_causal_mask or self.causal,
            )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "causal": self.causal}


@keras.saving.register_keras_serializable("interlinear")
class Attention(_OriginalCall, keras.layers.Attention):
    """Attention by dot product or, with `score_mode="concat"`, by `w sum_d tanh(g (query + key))_d`.

    Source: Luong et al. 2015 (arXiv:1508.04025), section 3.1, the score "dot".

    Args:
        use_scale: whether a weight g, initially 1, multiplies the scores (`dot`) or the sums (`concat`).
        score_mode: `dot` or `concat`.
        dropout: share of the weights that training drops.
        seed: of that dropout.
        causal: as the call argument `use_causal_mask`, for all calls.
        **kwargs: Keras's: name, dtype, trainable.

    Raises:
        ValueError: `score_mode` is unknown, or `dropout` is no share.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        check_dropout(dropout)
        super().__init__(use_scale=use_scale, score_mode=score_mode, dropout=dropout, seed=seed, **kwargs)
        self.causal = causal


@keras.saving.register_keras_serializable("interlinear")
class AdditiveAttention(_OriginalCall, keras.layers.AdditiveAttention):
    """Attention by `sum_d g_d tanh(query + key)_d`.

    Source: Bahdanau et al. 2015 (arXiv:1409.0473), section A.1.2, without the projections.

    Args:
        use_scale: whether there is a weight g (D,), initially glorot_uniform; otherwise it is 1.
        dropout: share of the weights that training drops.
        seed: of that dropout.
        causal: as the call argument `use_causal_mask`, for all calls.
        **kwargs: Keras's: name, dtype, trainable.

    Raises:
        ValueError: `dropout` is no share.
    """

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        check_dropout(dropout)
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **kwargs)
        self.causal = causal


class KerasLayerMechanism(AttentionMechanism):
    """Base of mechanisms that score by one of the layers above.

    The memory is not projected: keys are the values, and queries must be as deep as the memory. Weights and context
    are those of the layer for one query under the memory's mask, but a position outside the mask gets weight 0 whatever
    its score, where the layer subtracts 1e9 and makes a row that is all masked uniform. In training, dropout acts on
    the weights, which then no longer sum to 1.

    Args:
        layer: gives the scores.
        dropout: share of the weights that training drops.
        seed: of that dropout.
        memory, memory_sequence_length: see `AttentionMechanism`.

    Raises:
        ValueError: `dropout` is no share.
    """

    has_keys = False

    def __init__(
        self,
        layer: Attention | AdditiveAttention,
        dropout: float = 0.0,
        seed: int | None = None,
        memory: Any = None,
        memory_sequence_length: Any = None,
        **kwargs: Any,
    ) -> None:
        check_dropout(dropout)
        super().__init__(memory, memory_sequence_length, **kwargs)
        self.layer = layer
        self.dropout = dropout
        self.seed = seed
        self.weight_dropout = keras.layers.Dropout(dropout, seed=seed, name="weight_dropout", dtype=self.dtype_policy)
        self.prepare_given_memory()

    def build_for(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        """See `AttentionMechanism.build_for`.

        Raises:
            ValueError: queries are not as deep as the memory.
        """
        super().build_for(query_depth, memory_depth)
        self._check_depths(**self._depths)
        depth = next(iter(self._depths.values()), None)
        if depth is not None and not self.layer.built:
            self.layer.build([(None, None, depth), (None, None, depth)])

    def _check_depths(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        if None not in (query_depth, memory_depth) and query_depth != memory_depth:
            raise ValueError(
                f"{type(self).__name__}: the query depth ({query_depth}) must equal the memory depth ({memory_depth}); "
                "Keras's attention layers project neither"
            )

    def align(self, query: Any, memory: Memory, previous: Any, training: bool = False) -> Any:
        """See `AttentionMechanism.align`; `previous` is not read."""
        if not self.layer.built:
            self.build_for(query.shape[-1], memory.values.shape[-1])
        self._check_depths(query.shape[-1], memory.values.shape[-1])
        scores = ops.squeeze(self.layer.scores(query[:, None, :], memory.keys), axis=1)  # (B, S)
        weights = mask_weights(softmax(mask_scores(scores, memory.mask)), memory.mask)
        return self.weight_dropout(weights, training=training)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        arguments = {"use_scale": self.layer.use_scale, "dropout": self.dropout, "seed": self.seed}
        return {**super().get_config(), **arguments}


@keras.saving.register_keras_serializable("interlinear")
class KerasAttentionMechanism(KerasLayerMechanism):
    """`Attention` as the attention of an encoder-decoder; see `KerasLayerMechanism`.

    Args:
        use_scale, score_mode, dropout, seed: see `Attention`.
        memory, memory_sequence_length: see `AttentionMechanism`.
        dtype: of weights and computation; None for Keras's default.
        **kwargs: Keras's: name, trainable.

    Raises:
        ValueError: `score_mode` is unknown, or `dropout` is no share.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        memory: Any = None,
        memory_sequence_length: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        layer = Attention(use_scale, score_mode, name="attention", dtype=dtype)
        super().__init__(layer, dropout, seed, memory, memory_sequence_length, dtype=dtype, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        return {**super().get_config(), "score_mode": self.layer.score_mode}


@keras.saving.register_keras_serializable("interlinear")
class KerasAdditiveAttentionMechanism(KerasLayerMechanism):
    """`AdditiveAttention` as the attention of an encoder-decoder; see `KerasLayerMechanism`.

    Args:
        use_scale, dropout, seed: see `AdditiveAttention`.
        memory, memory_sequence_length: see `AttentionMechanism`.
        dtype: of weights and computation; None for Keras's default.
        **kwargs: Keras's: name, trainable.

    Raises:
        ValueError: `dropout` is no share.
    """

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        memory: Any = None,
        memory_sequence_length: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        layer = AdditiveAttention(use_scale, name="attention", dtype=dtype)
        super().__init__(layer, dropout, seed, memory, memory_sequence_length, dtype=dtype, **kwargs)
