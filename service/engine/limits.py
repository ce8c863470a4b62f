"""What the engine may take on at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.domain import DecodingJob

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
        max_request_s: how long a request may take from its arrival to its last sentence; None for ever.
    """

    max_live_rows: int = DEFAULT_MAX_LIVE_ROWS
    max_padded_memory_tokens: int = DEFAULT_MAX_PADDED_MEMORY_TOKENS
    max_queue: int = DEFAULT_MAX_QUEUE
    max_queue_wait_s: float | None = DEFAULT_MAX_QUEUE_WAIT_S
    max_request_s: float | None = None

    def part(self, batches: int) -> EngineLimits:
        """The budgets of each of several batches that are decoded at the same time."""
        rows, tokens = (max(1, budget // batches) for budget in (self.max_live_rows, self.max_padded_memory_tokens))
        return replace(self, max_live_rows=rows, max_padded_memory_tokens=tokens)

    def allow(self, load: Load) -> bool:
        """Whether a load is within the budgets."""
        return load.rows <= self.max_live_rows and load.rows * load.width <= self.max_padded_memory_tokens


@dataclass(frozen=True, slots=True)
class Load:
    """What a decoding batch holds: rows that its sentences may need, and source positions of each row."""

    rows: int = 0
    width: int = 0

    def plus(self, job: DecodingJob) -> Load:
        """The load with another sentence."""
        return Load(self.rows + job.options.rows, max(self.width, len(job.source_ids)))
