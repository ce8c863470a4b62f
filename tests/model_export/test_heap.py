"""What freed memory costs when it is needed again."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROBE = """
import resource, sys, numpy
if sys.argv[1] == "kept":
    from model_export.heap import keep_freed_memory
    keep_freed_memory()
def fill():
    numpy.ones(100_000_000, dtype=numpy.int8)
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_memory_is_there_again_without_page_faults() -> None:
    faults = {
        way: int(subprocess.check_output([sys.executable, "-c", PROBE, way], text=True)) for way in ("kept", "default")
    }
    assert faults["kept"] < 50
    assert faults["kept"] < faults["default"] / 2
