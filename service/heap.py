"""What the C library's allocator keeps of memory that has been freed, and how to have it give that back.

Batches need their largest arrays for seconds only. glibc keeps such memory for later, in an arena for each thread:
under load up to 97 MB of it was measured in a process that used 73.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8  # of glibc's malloc.h


def share_one_arena() -> None:
    """Lets all threads allocate from one arena, so that what one has freed is the next one's; to be called before any.

    Without effect where the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Returns the pages that nothing is in to the system, in some milliseconds; without effect as above."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(ctypes.c_size_t(0))  # other threads run meanwhile: ctypes has let Python's lock go
