"""Attention mechanisms: one small protocol, one class per scoring function.

A mechanism projects the memory once per sentence (`project_memory`) and then answers queries, one per decoder step:
query and state in, context, alignments and state out. It holds weights only.

Shapes: B batch, S source length, D memory depth, Q query depth, U attention units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

MASKED_SCORE = -3.4028235e38  # lowest float32: exp() of the difference to any real score is exactly 0


class Memory(NamedTuple):
    """What attention reads, prepared once per sentence.

    Attributes:
        keys: (B, S, U) float32, the projected memory that queries are compared with.
        values: (B, S, D) float32, the memory itself, zero at padding.
        mask: (B, S) bool, True = real token; at least one True per row.
    """

    keys: Any
    values: Any
    mask: Any


class AttentionMechanism(keras.layers.Layer):
    """Base of all mechanisms: masked softmax over scores, context as the weighted sum of values.

    Args:
        units: width U of the space in which scores are computed.
    """

    normalized = True  # whether every row of alignments sums to 1

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.memory_layer = keras.layers.Dense(units, use_bias=False, name="memory_layer")

    def build(self, query_depth: int, memory_depth: int) -> None:
        """Creates the weights for queries of depth Q and a memory of depth D."""
        self.memory_layer.build((None, memory_depth))
        self.built = True

    def project_memory(self, memory: Any, mask: Any) -> Memory:
        """Prepares `memory` (B, S, D) under `mask` (B, S)."""
        values = memory * ops.cast(mask, memory.dtype)[:, :, None]
        return Memory(self.memory_layer(values), values, mask)

    def initial_state(self, memory: Memory) -> tuple[Any, ...]:
        """State before the first step; empty for mechanisms without one."""
        return ()

    def score(self, query: Any, keys: Any) -> Any:
        """Compares `query` (B, Q) with `keys` (B, S, U).

        Returns:
            Scores (B, S), not yet masked.
        """
        raise NotImplementedError

    def call(self, query: Any, memory: Memory, state: tuple[Any, ...] = ()) -> tuple[Any, Any, tuple[Any, ...]]:
        """Attends once.

        Args:
            query: (B, Q).
            memory: as `project_memory` returned it.
            state: as `initial_state` or the step before returned it.

        Returns:
            context (B, D), alignments (B, S) that are exactly 0 at padding, next state.
        """
        scores = ops.where(memory.mask, self.score(query, memory.keys), MASKED_SCORE)
        alignments = ops.softmax(scores, axis=-1)
        context = ops.squeeze(ops.matmul(alignments[:, None, :], memory.values), axis=1)
        return context, alignments, state

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "units": self.units}


class BahdanauAttention(AttentionMechanism):
    """Additive attention: `score = v . tanh(W query + U value)`.

    Source: Bahdanau et al. 2015 (arXiv:1409.0473), section A.1.2, with the new decoder state as the query.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.query_layer = keras.layers.Dense(units, use_bias=False, name="query_layer")

    def build(self, query_depth: int, memory_depth: int) -> None:
        """Creates the weights for queries of depth Q and a memory of depth D."""
        self.query_layer.build((None, query_depth))
        self.attention_v = self.add_weight(name="attention_v", shape=(self.units,), initializer="glorot_uniform")
        super().build(query_depth, memory_depth)

    def score(self, query: Any, keys: Any) -> Any:
        """Compares `query` (B, Q) with `keys` (B, S, U); returns (B, S)."""
        hidden = ops.tanh(keys + self.query_layer(query)[:, None, :])  # (B, S, U)
        return ops.sum(hidden * self.attention_v, axis=-1)


class LuongAttention(AttentionMechanism):
    """Multiplicative attention: `score = query . W value`, for queries as wide as the keys.

    Source: Luong et al. 2015 (arXiv:1508.04025), section 3.1, the score "general"; with the memory projected once,
    each step is a plain dot product.
    """

    def build(self, query_depth: int, memory_depth: int) -> None:
        """Creates the weights; `query_depth` must equal `units`.

        Raises:
            ValueError: it does not.
        """
        if query_depth != self.units:
            raise ValueError(f"LuongAttention: units ({self.units}) must equal the query depth ({query_depth})")
        super().build(query_depth, memory_depth)

    def score(self, query: Any, keys: Any) -> Any:
        """Compares `query` (B, U) with `keys` (B, S, U); returns (B, S)."""
        return ops.squeeze(ops.matmul(keys, query[:, :, None]), axis=-1)


MECHANISMS: dict[str, type[AttentionMechanism]] = {
    "bahdanau": BahdanauAttention,
    "luong": LuongAttention,
}
