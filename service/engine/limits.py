"""What the engine may take on at once."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MAX_LIVE_ROWS = 256
DEFAULT_MAX_PADDED_MEMORY_TOKENS = 32_768
DEFAULT_MAX_QUEUE = 1024
DEFAULT_MAX_QUEUE_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Budgets of one engine.

    Attributes:
        max_live_rows: hypotheses (sentences x beam size) advanced together by one step.
        max_padded_memory_tokens: live rows x longest source sentence, which bounds memory. A single sentence
            that exceeds either budget is decoded alone.
        max_queue: sentences that may wait.
        max_queue_wait_s: how long a request may wait for its first sentence to start; None for ever.
    """

    max_live_rows: int = DEFAULT_MAX_LIVE_ROWS
    max_padded_memory_tokens: int = DEFAULT_MAX_PADDED_MEMORY_TOKENS
    max_queue: int = DEFAULT_MAX_QUEUE
    max_queue_wait_s: float | None = DEFAULT_MAX_QUEUE_WAIT_S

    def allow(self, sentences: int, beam_size: int, longest: int) -> bool:
        """Whether a batch of `sentences`, the longest of `longest` source tokens, is within the budgets."""
        rows = sentences * beam_size
        return sentences == 1 or (rows <= self.max_live_rows and rows * longest <= self.max_padded_memory_tokens)
