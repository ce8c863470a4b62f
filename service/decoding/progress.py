"""What a caller can be told of jobs before all of them are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from service.decoding.lane import Hypotheses
from service.domain import SettledTokens


@dataclass(frozen=True, slots=True)
class Progress:
    """What is new of one job: more of its tokens are certain, or it is done. Neither says that it has started.

    Attributes:
        index: the job's, among those of its call.
        tokens: those that are certain since the last time.
        hypotheses: the result; the tokens of which nothing was told before are among it.
    """

    index: int
    tokens: SettledTokens | None = None
    hypotheses: Hypotheses | None = None


Listener: TypeAlias = Callable[[Sequence[Progress]], None]
"""Is told what is new of the jobs of a call, on the caller's event loop, once for each step that brings something."""
