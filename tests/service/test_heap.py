"""What the C library keeps of freed memory, seen from outside: resident pages, and glibc's own count of arenas."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.heap import give_back_memory, share_one_arena

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")

BLOCK_BYTES = 32_768
BLOCKS = 2_000

COUNT_ARENAS = """
import ctypes, sys, threading
from service.heap import share_one_arena

if sys.argv[1] == "shared":
    share_one_arena()
together = threading.Barrier(4)

def allocate():
    block = bytes(100_000)
    together.wait()  # all are alive, and hold a block, at the same time

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""


def resident_bytes() -> int:
    pages = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert pages
    return int(pages.group(1)) * 1024


def arenas(how: str) -> int:
    command = [sys.executable, "-c", COUNT_ARENAS, how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("<heap ")


def test_freed_memory_is_given_back() -> None:
    blocks = [bytes([1]) * BLOCK_BYTES for _ in range(BLOCKS)]
    kept = blocks[::200]  # so that nothing can simply be cut off at the end of the heap
    full = resident_bytes()
    del blocks
    give_back_memory()
    assert resident_bytes() < full - 0.8 * BLOCKS * BLOCK_BYTES
    assert all(block == bytes([1]) * BLOCK_BYTES for block in kept)


def test_all_threads_share_an_arena() -> None:
    assert arenas("apart") > 1
    assert arenas("shared") == 1


def test_nothing_happens_where_the_c_library_cannot_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    share_one_arena()
    give_back_memory()
