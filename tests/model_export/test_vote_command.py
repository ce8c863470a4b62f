"""`interlinear-export vote`: hand-made links of three aligners, line by line, and what is wrong with files."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.cli import main
from tests.model_export.commands import fail

FIRST = ["0-0 1-1 0-4", "0-0", "", "2-1 0-0"]
SECOND = ["0-0 1-2 3-4", "0-1", "1-0", "0-0 2-1 0-0"]  # a link that stands there twice has one vote
THIRD = ["0-0 3-4 10-2", "0-1", "1-0", ""]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_voters(directory: Path, third: list[str]) -> list[str]:
    voters = (("first", FIRST), ("second", SECOND), ("third", third))
    return [str(write(directory / name, lines)) for name, lines in voters]


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        ("1", ["0-0 0-4 1-1 1-2 3-4 10-2", "0-0 0-1", "1-0", "0-0 2-1"]),
        ("2", ["0-0 3-4", "0-1", "1-0", "0-0 2-1"]),
        ("3", ["0-0", "", "", ""]),
    ],
)
def test_links_stay_that_enough_files_have(
    tmp_path: Path, least: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "links"
    assert main(["vote", "--input", *write_voters(tmp_path, THIRD), "--least", least, "--output", str(output)]) == 0
    assert output.read_text(encoding="ascii").split("\n") == [*expected, ""]
    count = sum(len(line.split()) for line in expected)
    assert capsys.readouterr().out.splitlines() == [
        f"{count} links stand in at least {least} of 3 files",
        f"wrote 4 lines to {output}",
    ]


def test_a_voter_with_fewer_lines_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, _, third = voters = write_voters(tmp_path, THIRD[:2])
    shown = fail(capsys, "vote", "--input", *voters, "--output", tmp_path / "links")
    assert shown == f"{third}: line 3 is missing: {first} has more lines"
    assert not (tmp_path / "links").exists()


@pytest.mark.parametrize("least", [0, 4])
def test_votes_that_no_link_can_have_are_refused(
    tmp_path: Path, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    voters = write_voters(tmp_path, THIRD)
    shown = fail(capsys, "vote", "--input", *voters, "--least", least, "--output", tmp_path / "links")
    assert shown == "--least: must be from 1 to the number of files of --input, 3"
