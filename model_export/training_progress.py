"""How far training has come, and how well it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan


@dataclass
class Progress:
    """How far training has come.

    Attributes:
        epoch: the epoch in progress, from 0.
        step_in_epoch: batches of it already used.
        step: batches used altogether.
        best_dev_loss: lowest negative log-likelihood per token on dev so far, in nats.
        epochs_since_best: epochs ended since then.
        history: one entry per ended epoch: `step`, `train_nll`, `dev_nll`, and where dev has word alignments
            `dev_alignments_loss` and `dev_aligner_loss`, as far as they are trained on.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_dev_loss: float = float("inf")
    epochs_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class BatchLosses:
    """What one batch gave.

    Attributes:
        means: per loss its mean over the target tokens that it is about, in nats.
        tokens: per loss how many these are.
    """

    means: dict[str, float]
    tokens: Mapping[str, float]


class TokenMeans:
    """Means over the target tokens of many batches; Keras starts its metrics anew with every batch it is handed."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._tokens: dict[str, float] = {}

    def add(self, losses: BatchLosses) -> None:
        """Adds a batch."""
        for name, mean in losses.means.items():
            self._totals[name] = self._totals.get(name, 0.0) + mean * losses.tokens[name]
            self._tokens[name] = self._tokens.get(name, 0.0) + losses.tokens[name]

    @property
    def values(self) -> dict[str, float]:
        """The mean of each loss that was added, NaN of one without a token."""
        return {name: total / self._tokens[name] if self._tokens[name] else nan for name, total in self._totals.items()}
