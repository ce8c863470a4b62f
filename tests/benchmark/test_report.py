from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmark.report import Report, Table, render_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.012"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (-3.21, "-3.21"),
        (float("nan"), ""),
    ],
)
def test_numbers_have_three_digits_or_more(value: float, text: str) -> None:
    assert render_number(value) == text


def test_a_table_is_aligned_markdown() -> None:
    table = Table("Speed", ("side", "tokens/s"), [["a | b", 1234.5], ["none", None]], ["A note."])
    assert table.render() == (
        "## Speed\n"
        "\n"
        "| side   | tokens/s |\n"
        "| ------ | -------- |\n"
        "| a \\| b | 1,234    |\n"
        "| none   |          |\n"
        "\n"
        "A note."
    )


def test_a_table_without_rows_still_has_its_head() -> None:
    assert Table("Empty", ("one", "two"), []).render().endswith("| one | two |\n| --- | --- |")


def test_a_report_is_written_as_a_page_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("speed", "Speed", quick=True, notes=["Weights are random."], machine={"cores": "2"})
    report.tables = [Table("Rates", ("side", "rate"), [["engine", 7]])]
    report.data = {"rounds": [1.5, float("nan"), {"p50": float("nan")}]}
    report.write(tmp_path / "results")
    page = (tmp_path / "results" / "speed.md").read_text(encoding="utf-8")
    assert page.startswith("# Speed\n\n**NOT VALID**: a quick run")
    assert "- Weights are random.\n\n## Rates\n\n| side" in page
    assert "| cores" in page
    content = json.loads((tmp_path / "results" / "speed.json").read_text(encoding="utf-8"))
    assert content["rounds"] == [1.5, None, {"p50": None}]
    assert not content["valid"]
    assert content["machine"]["cores"] == "2"
    assert page in capsys.readouterr().out
