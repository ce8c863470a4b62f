"""Results as people and programs read them: a Markdown page of tables, and JSON with every round."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmark.machine import WorkMeter, describe_machine

MOST_OTHER_CORES = 0.1
"""Processor time that others may use, in cores, before figures count as disturbed."""

NOT_VALID = "**NOT VALID**"


@dataclass(frozen=True)
class Table:
    """A table under a heading; numbers are rounded by their size, see `render_number`."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str] = ()

    def render(self) -> str:
        """As Markdown."""
        cells = [[_render_cell(cell) for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        lines = [f"## {self.heading}", "", _render_row(self.columns, widths)]
        lines.append(_render_row(["-" * width for width in widths], widths))
        lines += [_render_row(row, widths) for row in cells]
        return "\n".join([*lines, *(line for note in self.notes for line in ("", note))])


def _render_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"


def _render_cell(cell: object) -> str:
    if isinstance(cell, float):
        return render_number(cell)
    return "" if cell is None else str(cell).replace("|", "\\|")


def render_number(value: float) -> str:
    """Three digits or more, no more decimals than they take: 0.123, 1.23, 12.3, 123, 12,345; nothing for NaN."""
    if math.isnan(value):
        return ""
    decimals = max(0, min(3, 2 - math.floor(math.log10(abs(value))))) if value else 0
    return f"{value:,.{decimals}f}"


@dataclass
class Report:
    """Collects one benchmark's results from its start to its end.

    Attributes:
        name: of the files.
        title: of the page.
        quick: figures of a quick run say nothing.
        notes: what every reader of the tables has to know.
        tables: in the order of the page.
        data: everything measured, for JSON.
    """

    name: str
    title: str
    quick: bool
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=describe_machine)
    _meter: WorkMeter = field(default_factory=WorkMeter)

    def write(self, directory: Path) -> None:
        """Writes `<name>.md` and `<name>.json` and prints the page; for when all that was started has ended."""
        other = self._meter.read()
        self.machine["used by other processes meanwhile"] = f"{other.other_cores:.2f} cores"
        self.machine["stolen by the hypervisor meanwhile"] = f"{other.stolen_cores:.2f} cores"
        problems = self._problems(other.other_cores)
        page = self._render(problems)
        content = {
            "benchmark": self.name,
            "command": " ".join(["python", "-m", f"tests.benchmark.{self.name}", *sys.argv[1:]]),
            "valid": not problems,
            "problems": problems,
            "machine": self.machine,
            "notes": self.notes,
            **self.data,
        }
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.name}.md").write_text(page, encoding="utf-8")
        (directory / f"{self.name}.json").write_text(
            json.dumps(_without_nan(content), indent=1) + "\n", encoding="utf-8"
        )
        print(page)
        print(f"written to {directory / self.name}.md and .json", file=sys.stderr)

    def _problems(self, other_cores: float) -> list[str]:
        problems = ["a quick run: too short, too few rounds"] if self.quick else []
        if other_cores > MOST_OTHER_CORES:
            problems.append(f"other processes used {other_cores:.2f} cores while it ran")
        return problems

    def _render(self, problems: Sequence[str]) -> str:
        warning = [f"{NOT_VALID}: {'; '.join(problems)}.", ""] if problems else []
        machine = Table("Machine", ("", ""), list(self.machine.items()))
        notes = [f"- {note}" for note in self.notes]
        parts = [[f"# {self.title}", "", *warning, *notes]]
        parts += [[table.render()] for table in (*self.tables, machine)]
        return "\n\n".join("\n".join(part).rstrip() for part in parts) + "\n"


def _without_nan(value: Any) -> Any:
    """NaN is no JSON: what could not be measured becomes null."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
