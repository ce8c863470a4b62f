"""What the C library's allocator does with memory that training has freed."""

from __future__ import annotations

import ctypes
from typing import Final

from service.heap import share_one_arena

_M_TRIM_THRESHOLD: Final = -1  # of glibc's malloc.h
_M_MMAP_MAX: Final = -4


def keep_freed_memory() -> None:
    """Lets the process keep what it frees, for the next training step, which needs arrays of the same sizes.

    By default glibc takes every large array from the system and returns it at once, so each step waits until the system
    has cleared tens of thousands of pages. Without effect where the C library is not glibc.
    """
    share_one_arena()  # an arena of a thread's own cannot hold arrays above 64 MB
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # never
