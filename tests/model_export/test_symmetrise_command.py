"""`interlinear-export symmetrise`: hand-made links of both directions, line by line, and what is wrong with files."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from model_export.cli import main, make_parser
from service.symmetrisation import LinkMethod
from tests.model_export.commands import fail

# 1: 1-1 is diagonal to 0-0 and 1-2 beside it, with target 2 free: both grow. 3-4 stands alone, its words are free: the
#    end adds it. 0-4 stands alone as well, but source 0 has its link: never.
# 2: nothing in common. 0-0 comes first (forward), which leaves 0-1 without a free source.
# 3: an empty line on one side. 4: the same links in another order, one of them twice.
FORWARD = ["0-0 1-1 0-4", "0-0", "", "2-1 0-0"]
REVERSE = ["0-0 1-2 3-4", "0-1", "1-0", "0-0 2-1 0-0"]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[str | Path]:
    forward, reverse = write(tmp_path / "forward", FORWARD), write(tmp_path / "reverse", REVERSE)
    return ["symmetrise", "--forward", forward, "--reverse", reverse, "--output", tmp_path / "out" / "links"]


def run(arguments: list[str | Path], *options: str) -> list[str]:
    assert main([*map(str, arguments), *options]) == 0
    return Path(arguments[-1]).read_text(encoding="ascii").split("\n")


def test_links_grow_and_end_with_words_that_have_nothing(
    files: list[str | Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files) == ["0-0 1-1 1-2 3-4", "0-0", "1-0", "0-0 2-1", ""]
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "6 forward and 7 reverse links make 8 (grow-diag-final-and)",
        f"wrote 4 lines to {files[-1]}",
    ]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("intersection", ["0-0", "", "", "0-0 2-1", ""]),
        ("union", ["0-0 0-4 1-1 1-2 3-4", "0-0 0-1", "1-0", "0-0 2-1", ""]),
    ],
)
def test_other_methods_are_those_of_sets(files: list[str | Path], method: str, expected: list[str]) -> None:
    assert run(files, "--method", method) == expected


def test_every_method_for_links_can_be_named(files: list[str | Path]) -> None:
    for method in get_args(LinkMethod):
        assert make_parser().parse_args([*map(str, files), "--method", method]).method == method


def test_a_malformed_link_is_named_with_file_and_line_and_nothing_is_replaced(
    files: list[str | Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(files)
    write(Path(files[4]), [*REVERSE[:2], "0-0 1:2", ""])
    shown = fail(capsys, *files)
    assert shown == f"{files[4]}: line 3: '1:2' is no link; a link is SOURCE-TARGET, words counted from 0 (0-0 1-2)"
    output = Path(files[-1])
    assert output.read_text(encoding="ascii").split("\n") == before
    assert [path.name for path in output.parent.iterdir()] == [output.name]


@pytest.mark.parametrize(("shorter", "longer"), [(2, 4), (4, 2)])
def test_files_of_different_length_are_refused(
    files: list[str | Path], shorter: int, longer: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path(files[shorter]), ["0-0"] * 3)
    assert fail(capsys, *files) == f"{files[shorter]}: line 4 is missing: {files[longer]} has more lines"


def test_a_missing_file_is_named(files: list[str | Path], capsys: pytest.CaptureFixture[str]) -> None:
    Path(files[2]).unlink()
    assert fail(capsys, *files) == f"{files[2]}: cannot be read: No such file or directory"
