"""How far training has come, and how well it went."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Progress:
    """How far training has come.

    Attributes:
        epoch: the epoch in progress, from 0.
        step_in_epoch: batches of it already used.
        step: batches used altogether.
        best_dev_loss: lowest negative log-likelihood per token on dev so far, in nats.
        epochs_since_best: epochs ended since then.
        history: one entry per ended epoch.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_dev_loss: float = float("inf")
    epochs_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class TokenMean:
    """Mean over the target tokens of many batches; Keras starts its metrics anew with every batch it is handed."""

    total: float = 0.0
    tokens: float = 0.0

    def add(self, mean: float, weights: np.ndarray) -> None:
        """Adds a batch: the mean over its tokens, and their weights (batch, target_len), 0 at padding."""
        self.total += mean * float(weights.sum())
        self.tokens += float(weights.sum())

    @property
    def value(self) -> float:
        """The mean, NaN without a token."""
        return self.total / self.tokens if self.tokens else float("nan")
