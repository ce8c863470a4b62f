"""The process that measures one side: it reads commands from its standard input and answers on its standard output.

Each line is JSON. `{"prepare": cell}` makes a cell's inputs and translates them; `{"run": seconds, "start_at": time}`
measures; the time is that of `time.perf_counter`, whose clock all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TextIO

from tests.benchmark.sides.cell import Cell

WARM_UP_S = 0.3
MIN_CALLS = 2


class Side(Protocol):
    """Something that can be measured."""

    def prepare(self, cell: Mapping[str, Any]) -> None:
        """Makes the inputs of a cell and works on them until all that happens once has happened."""
        ...

    def run(self, seconds: float, start_at: float) -> dict[str, Any]:
        """Works on the cell from `start_at` on for some seconds; returns what was measured."""
        ...

    def close(self) -> None:
        """Ends what it has started."""
        ...


class BatchTranslator(Protocol):
    """Something that translates one batch after the other, in one or several lanes at the same time."""

    @property
    def lanes(self) -> int: ...

    def set_cell(self, cell: Cell) -> None:
        """Makes the inputs."""
        ...

    def translate(self, lane: int) -> Sequence[int]:
        """Translates the cell's batch; returns the lengths of what came out, in tokens."""
        ...

    def figures(self) -> dict[str, float]:
        """What else it knows about the calls since it was last asked."""
        ...


class BatchSide:
    """Measures a `BatchTranslator`: each lane calls it again and again, for the given time."""

    def __init__(self, translator: BatchTranslator) -> None:
        self._translator = translator
        self._pool = ThreadPoolExecutor(translator.lanes)

    def prepare(self, cell: Mapping[str, Any]) -> None:
        """See `Side`.

        Raises:
            RuntimeError: a translation has another length than the cell says.
        """
        sizes = Cell.of(cell)
        self._translator.set_cell(sizes)
        for lane in range(self._translator.lanes):
            lengths = self._translator.translate(lane)
            if len(lengths) != sizes.batch or set(lengths) != {sizes.target_length}:
                raise RuntimeError(f"{sizes} gave translations of {sorted(set(lengths))} tokens")
        self._in_lanes(lambda lane: repeat(lambda: self._translator.translate(lane), WARM_UP_S, time.perf_counter()))
        self._translator.figures()

    def run(self, seconds: float, start_at: float) -> dict[str, Any]:
        """See `Side`; the durations of all calls, lane by lane."""
        durations = self._in_lanes(
            lambda lane: repeat(lambda: self._translator.translate(lane), seconds, start_at, MIN_CALLS)
        )
        return {"durations_s": durations, **self._translator.figures()}

    def close(self) -> None:
        """See `Side`."""
        self._pool.shutdown()

    def _in_lanes(self, work: Callable[[int], list[float]]) -> list[list[float]]:
        if self._translator.lanes == 1:
            return [work(0)]
        return list(self._pool.map(work, range(self._translator.lanes)))


def repeat(call: Callable[[], object], seconds: float, start_at: float, min_calls: int = 1) -> list[float]:
    """Calls until the time is over, the last call to its end; returns each call's duration in seconds."""
    time.sleep(max(0.0, start_at - time.perf_counter()))
    durations: list[float] = []
    start = before = time.perf_counter()
    while before < start + seconds or len(durations) < min_calls:
        call()
        now = time.perf_counter()
        durations.append(now - before)
        before = now
    return durations


def serve(open_side: Callable[[Mapping[str, Any]], Side]) -> None:
    """Answers commands until there are no more; the side's options are the first argument, in JSON."""
    answers = _claim_standard_output()
    side = open_side(json.loads(sys.argv[1]))
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        result: dict[str, Any] = {}
        if "prepare" in command:
            side.prepare(command["prepare"])
        else:
            result = side.run(command["run"], command["start_at"])
        _answer(answers, {**result, "peak_memory_mb": peak_memory_mb()})
    side.close()


def _claim_standard_output() -> TextIO:
    """Keeps the standard output for answers: whatever libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, content: Mapping[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def peak_memory_mb() -> float:
    """The most memory that this process has held, in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(match.group(1)) * 1024 / 1e6 if match else float("nan")
