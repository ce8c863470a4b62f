"""Every command of `interlinear-export` that the READMEs show, or `make model` runs, is one that the parser takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from model_export.cli import make_parser

ROOT = Path(__file__).parents[2]
COMMAND = "interlinear-export"


def commands_of(text: str) -> list[list[str]]:
    """The arguments of each line that runs `interlinear-export`; a backslash continues a line."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    lines = [re.sub(r"^([A-Z_]+=\S* )+", "", line) for line in lines if COMMAND in line]  # without its environment
    words = [shlex.split(line, comments=True) for line in lines]
    return [each[1:] for each in words if each and Path(each[0]).name == COMMAND]


def parse(arguments: list[str]) -> Namespace:
    try:
        return make_parser().parse_args(arguments)
    except SystemExit as end:
        raise AssertionError(f"not taken: {shlex.join(arguments)}") from end


@pytest.mark.parametrize("path", ["README.md", "model_export/README.md"])
def test_commands_of_the_readme_are_taken(path: str) -> None:
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", (ROOT / path).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    commands = [command for block in blocks for command in commands_of(block)]
    assert commands
    for command in commands:
        parse(command)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """The stem of three files of pairs."""
    for part in ("train", "dev", "test"):
        (tmp_path / f"pairs.{part}.tsv").write_text("a\tb\n", encoding="utf-8")
    return tmp_path / "pairs"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_model_is_made_by_commands_that_are_taken(pairs: Path) -> None:
    settings = {"NAME": "there", "FROM": "fr", "TO": "en", "SWAP": "1", "PAIRS": pairs, "GOLD": f"{pairs}.test.tsv"}
    arguments = [f"{name}={value}" for name, value in settings.items()]
    make = ["make", "--dry-run", "--always-make", "--no-print-directory", f"VENV={pairs.parent}", *arguments, "model"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    parsed = [parse(command) for command in commands_of(done.stdout)]
    names = [command.command.split(":")[1].removeprefix("run_") for command in parsed]
    assert names == ["words", "symmetrise", "training", "export", *["evaluation"] * 4, "archive"]
    words, symmetrise, train, export, tune, report, test, greedy, archive = parsed
    assert symmetrise.output == train.alignments[0] == Path(f"{pairs}.links")
    assert (train.source_language, train.target_language) == ("fr", "en")
    assert [each.swap for each in (train, export, tune, report, test, greedy)] == [True] * 6
    assert train.output == export.run == Path("runs/there")
    assert {each.bundle for each in (tune, report, test, greedy, archive)} == {export.output} == {Path("bundles/there")}
    assert [each.record for each in (tune, report, test, greedy)] == [True] * 4
    assert test.test == greedy.test == Path(f"{pairs}.test.tsv")
    assert (test.beam_size, greedy.beam_size, greedy.preferred_source_tokens) == (4, 1, None)  # the bundle knows it
    assert (tune.part, tune.tune_threshold, report.part, report.tune_threshold) == ("tune", True, "report", False)
    assert words.input == train.train == [Path(f"{pairs}.train.tsv")]
    assert archive.output == Path("bundles/there.tar.gz")
