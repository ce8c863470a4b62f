"""Counts that the processes of a service share, so that what they may do together stays bounded."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import Final

_FORMAT: Final = "q"  # signed, 64 bits
_BYTES: Final = 8


class SharedCount:
    """A number for each process; every process sees all, and changes its own only.

    Args:
        counts: the numbers, in memory that the processes share; None for a process by itself.
        own: the index of this process's.
    """

    def __init__(self, counts: memoryview | None = None, own: int = 0) -> None:
        self._counts = memoryview(bytearray(_BYTES)).cast(_FORMAT) if counts is None else counts
        self._own = own
        self._counts[own] = 0  # a process that went before in this place has left its count

    @property
    def here(self) -> int:
        """That of this process."""
        count: int = self._counts[self._own]
        return count

    @property
    def everywhere(self) -> int:
        """The sum over all processes."""
        return sum(self._counts)

    def add(self, change: int) -> None:
        """Adds to this process's."""
        self._counts[self._own] += change


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """What the engines of one model have in all processes.

    Attributes:
        waiting: sentences that wait for their start.
        decoding: workers that have a batch.
        most_decoding: how many of them there should be at most; every process may have one all the same. None for as
            many as there are.
    """

    waiting: SharedCount = field(default_factory=SharedCount)
    decoding: SharedCount = field(default_factory=SharedCount)
    most_decoding: int | None = None


def share_counts(number: int, processes: int) -> list[memoryview]:
    """Rows of zeros, a number for each process, in memory shared with those that are forked from now on."""
    memory = memoryview(mmap.mmap(-1, max(1, number * processes) * _BYTES)).cast(_FORMAT)
    return [memory[row * processes : (row + 1) * processes] for row in range(number)]
