"""Starts sides and measures them in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmark.machine import ROOT
from tests.benchmark.sides.cell import Cell

HEAD_START_S = 0.05  # time for the start signal to reach every process


@dataclass(frozen=True)
class SideSpec:
    """How to start a side.

    Attributes:
        name: in tables.
        module: what its processes run; see `worker.serve`.
        options: given to each process.
        processes: how many work at the same time, independently of each other.
        cores: how many cores all of them together can use.
        environment: variables of its processes, besides those of this one.
        max_batch: the largest batch that says anything about it.
        max_beam_size: the widest search that it can do.
    """

    name: str
    module: str
    options: Mapping[str, Any]
    processes: int = 1
    cores: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    max_batch: int | None = None
    max_beam_size: int | None = None

    def can_do(self, cell: Cell) -> bool:
        """Whether the cell is measured."""
        return cell.batch <= (self.max_batch or cell.batch) and cell.beam_size <= (self.max_beam_size or cell.beam_size)


@dataclass(frozen=True)
class Measurement:
    """One side in one cell in one round.

    Attributes:
        side: its name.
        cell: what was measured.
        round: counted from 0.
        sentences_per_s: of all its processes and lanes together.
        durations_s: of every call, a batch each.
        figures: what the side itself measured besides, summed over its processes.
    """

    side: str
    cell: Cell
    round: int
    sentences_per_s: float
    durations_s: tuple[float, ...]
    figures: Mapping[str, float]

    @property
    def tokens_per_s(self) -> float:
        """Target tokens."""
        return self.sentences_per_s * self.cell.target_length

    def as_json(self) -> dict[str, Any]:
        """Without the single durations."""
        content = {name: value for name, value in asdict(self).items() if name != "durations_s"}
        return {**content, "tokens_per_s": self.tokens_per_s, "calls": len(self.durations_s)}


class RunningSide:
    """A side's processes."""

    def __init__(self, spec: SideSpec) -> None:
        self.spec = spec
        self.peak_memory_mb = 0.0
        command = [sys.executable, "-m", spec.module, json.dumps(dict(spec.options))]
        self._processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **spec.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(spec.processes)
        ]

    def wait_until_ready(self) -> None:
        """Returns when all processes have loaded their models."""
        self._answers()

    def prepare(self, cell: Mapping[str, Any]) -> None:
        """Makes inputs and warms up."""
        self._tell({"prepare": dict(cell)})
        self._answers()

    def run(self, seconds: float) -> list[dict[str, Any]]:
        """Measures what was prepared; what each process measured."""
        self._tell({"run": seconds, "start_at": time.perf_counter() + HEAD_START_S})
        return self._answers()

    def measure(self, cell: Cell, seconds: float, round_number: int) -> Measurement:
        """Prepares and runs a cell of a side that translates batches."""
        self.prepare(asdict(cell))
        answers = self.run(seconds)
        lanes = [lane for answer in answers for lane in answer["durations_s"]]
        known = {"durations_s", "peak_memory_mb"}
        figures = {name: sum(answer[name] for answer in answers) for name in answers[0] if name not in known}
        rate = sum(cell.batch * len(lane) / sum(lane) for lane in lanes)
        durations = tuple(duration for lane in lanes for duration in lane)
        return Measurement(self.spec.name, cell, round_number, rate, durations, figures)

    def stop(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _tell(self, command: Mapping[str, Any]) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.write(json.dumps(command) + "\n")
                process.stdin.flush()

    def _answers(self) -> list[dict[str, Any]]:
        """One answer of each process.

        Raises:
            RuntimeError: a process has ended.
        """
        lines = [process.stdout.readline() if process.stdout else "" for process in self._processes]
        if not all(lines):
            raise RuntimeError(f"{self.spec.name}: a process has failed; see its message above")
        answers: list[dict[str, Any]] = [json.loads(line) for line in lines]
        memory = sum(answer.get("peak_memory_mb", 0.0) for answer in answers)
        self.peak_memory_mb = max(self.peak_memory_mb, memory)
        return answers


@contextmanager
def running(specs: Sequence[SideSpec]) -> Iterator[list[RunningSide]]:
    """Starts sides, one after the other, and ends them all."""
    with ExitStack() as stack:
        sides = []
        for spec in specs:
            print(f"starting {spec.name}", file=sys.stderr)
            side = RunningSide(spec)
            stack.callback(side.stop)
            side.wait_until_ready()
            sides.append(side)
        yield sides


def measure_in_turns(
    sides: Sequence[RunningSide], cells: Sequence[Cell], rounds: int, seconds: float
) -> list[Measurement]:
    """Measures every cell of every side in every round; in each cell the sides follow each other directly.

    Args:
        sides: running.
        cells: what to measure.
        rounds: how often; the sides' order turns from round to round.
        seconds: of each measurement.
    """
    measurements = []
    for number in range(rounds):
        for cell in cells:
            for place in range(len(sides)):
                side = sides[(place + number) % len(sides)]
                if side.spec.can_do(cell):
                    measurements.append(side.measure(cell, seconds, number))
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return measurements
