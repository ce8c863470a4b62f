"""How a query is compared with keys: the additive and the multiplicative score, as bases of the mechanisms.

Shapes: B batch, S source length, D memory depth, Q query depth, U attention units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from model_export.attention.mechanism import AttentionMechanism


def _computed_again(function: Callable[..., Any]) -> Callable[..., Any]:
    """On JAX, computes for the gradient again what `function` makes on its way, instead of keeping it."""
    return keras.remat(function) if keras.backend.backend() == "jax" else function


@_computed_again  # in training an array (B, S, U) for each step would be written, and read once
def compare_by_sum(query: Any, keys: Any, weights: Any) -> Any:
    """`sum_u weights_u tanh(query + keys)_u`: scores (B, S) of a query (B, U), keys (B, S, U) and weights (U,)."""
    return ops.sum(ops.tanh(keys + query[:, None, :]) * weights, axis=-1)


class ScoringMechanism(AttentionMechanism):
    """Base of mechanisms that project the memory to keys of width U and score a query against them.

    Args:
        units: U.
        memory, memory_sequence_length: see `AttentionMechanism`.
    """

    def __init__(self, units: int, memory: Any = None, memory_sequence_length: Any = None, **kwargs: Any) -> None:
        super().__init__(memory, memory_sequence_length, **kwargs)
        self.units = units

    def _add_memory_layer(self) -> None:
        """Adds the projection of the memory, after all other weights: the originals' order."""
        self.memory_layer = keras.layers.Dense(self.units, use_bias=False, name="memory_layer", dtype=self.dtype_policy)

    def build_for(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        """See `AttentionMechanism.build_for`."""
        if memory_depth is not None and not self.memory_layer.built:
            self.memory_layer.build((None, None, memory_depth))
        super().build_for(query_depth, memory_depth)

    def project_keys(self, values: Any) -> Any:
        """The keys (B, S, U) of `values` (B, S, D)."""
        return self.memory_layer(values)

    def score(self, query: Any, keys: Any) -> Any:
        """Scores (B, S) of `query` (B, Q) against `keys` (B, S, U), not yet masked."""
        raise NotImplementedError

    def _cast(self, weight: Any) -> Any:
        """A weight in the dtype of computation, which Keras casts within `__call__` only."""
        return ops.cast(weight, self.compute_dtype)

    def _add_bias(self, scores: Any, bias: Any) -> Any:
        """Adds a scalar weight, if there is one."""
        return scores if bias is None else scores + self._cast(bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        return {**super().get_config(), "units": self.units}


class AdditiveScore(ScoringMechanism):
    """`score_s = sum_u v_u tanh(query W_q + key_s)_u`; normalised: `sum_u g v_u / ||v|| tanh(query W_q + key_s + b)_u`.

    Source: Bahdanau et al. 2015 (arXiv:1409.0473), section A.1.2, with the new decoder state as the query; weight
    normalisation: Salimans & Kingma 2016 (arXiv:1602.07868), equation 2.

    Args:
        units: U.
        memory, memory_sequence_length: see `AttentionMechanism`.
        normalize: whether v is normalised, with a gain g and a bias b.
        kernel_initializer: of v.
        score_bias: initial value of a scalar added to the score; None for no such weight.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        normalize: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        score_bias: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, memory, memory_sequence_length, **kwargs)
        self.normalize = normalize
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.attention_v = self.add_weight(name="attention_v", shape=(units,), initializer=self.kernel_initializer)
        self.attention_score_bias = _scalar(self, "attention_score_bias", score_bias)
        self.attention_g = _scalar(self, "attention_g", units**-0.5 if normalize else None)
        self.attention_b = (
            self.add_weight(name="attention_b", shape=(units,), initializer="zeros") if normalize else None
        )
        self.query_layer = keras.layers.Dense(units, use_bias=False, name="query_layer", dtype=self.dtype_policy)
        self._add_memory_layer()

    def build_for(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        """See `AttentionMechanism.build_for`."""
        if query_depth is not None and not self.query_layer.built:
            self.query_layer.build((None, query_depth))
        super().build_for(query_depth, memory_depth)

    def score(self, query: Any, keys: Any) -> Any:
        """Scores (B, S) of `query` (B, Q) against `keys` (B, S, U), not yet masked."""
        projected = self.query_layer(query)
        weights = self._cast(self.attention_v)
        if self.normalize:
            projected = projected + self._cast(self.attention_b)
            weights = self._cast(self.attention_g) * weights * ops.rsqrt(ops.sum(ops.square(weights)))
        return self._add_bias(compare_by_sum(projected, keys, weights), self.attention_score_bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), "normalize": self.normalize, "kernel_initializer": initializer}


class MultiplicativeScore(ScoringMechanism):
    """`score_s = query . key_s`, times g if scaled; the query must be as wide as the keys.

    Source: Luong et al. 2015 (arXiv:1508.04025), section 3.1, the score "general"; with the memory projected once,
    each step is a plain dot product.

    Args:
        units: U.
        memory, memory_sequence_length: see `AttentionMechanism`.
        scale: whether scores are multiplied by a weight g.
        score_bias: initial value of a scalar added to the score; None for no such weight.
    """

    def __init__(
        self,
        units: int,
        memory: Any = None,
        memory_sequence_length: Any = None,
        scale: bool = False,
        score_bias: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, memory, memory_sequence_length, **kwargs)
        self.scale = scale
        self.attention_g = _scalar(self, "attention_g", 1.0 if scale else None)
        self.attention_score_bias = _scalar(self, "attention_score_bias", score_bias)
        self._add_memory_layer()

    def build_for(self, query_depth: int | None = None, memory_depth: int | None = None) -> None:
        """See `AttentionMechanism.build_for`.

        Raises:
            ValueError: queries are not as wide as keys.
        """
        if query_depth is not None:
            self._check_query_depth(query_depth)
        super().build_for(query_depth, memory_depth)

    def _check_query_depth(self, query_depth: int) -> None:
        if query_depth != self.units:
            name = type(self).__name__
            raise ValueError(f"{name}: the query depth ({query_depth}) must equal units ({self.units})")

    def score(self, query: Any, keys: Any) -> Any:
        """Scores (B, S) of `query` (B, U) against `keys` (B, S, U), not yet masked."""
        self._check_query_depth(query.shape[-1])
        scores = ops.squeeze(ops.matmul(keys, query[:, :, None]), axis=-1)
        if self.attention_g is not None:
            scores = scores * self._cast(self.attention_g)
        return self._add_bias(scores, self.attention_score_bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; a memory is state and is not among them."""
        return {**super().get_config(), "scale": self.scale}


def _scalar(layer: keras.layers.Layer, name: str, initial: float | None) -> Any:
    """Adds a scalar weight, or none without an initial value."""
    if initial is None:
        return None
    return layer.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(initial))
