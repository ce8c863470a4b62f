"""`interlinear align`, in this process except where standard input matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from service.api.align_schemas import PairModel
from service.cli import main
from service.main import create_app
from tests.service.api_client import tiny_settings
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

PATIENCE_S = 60
PAIRS = (("the cat sat", "a dog ran"), ("we like tea", "she sings a long song"), ("a \u2603", "to the park."))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_bundle(directory / "tiny")
    backward = write_bundle(directory / "tiny-back")
    (backward / "manifest.json").unlink()
    languages = {"name": "tiny-back", "source_language": "fr", "target_language": "en"}
    write_manifest(backward, make_manifest() | languages)
    return directory


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS), encoding="utf-8")
    return file


def settings_options(models: Path) -> list[str]:
    return ["--models-dir", str(models), "--built-in-models", "false", "--log-level", "error"]


def align(models: Path, *arguments: str) -> int:
    return main(["align", *settings_options(models), *arguments])


def answers(models: Path, **options: object) -> list[dict[str, object]]:
    """What the API gives for the same pairs."""
    with TestClient(create_app(tiny_settings(models))) as client:
        sides = {"source": [pair[0] for pair in PAIRS], "target": [pair[1] for pair in PAIRS]}
        return client.post("/align", json=sides | options).json()["pairs"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", [None, "union", "grow-diag-final-and", "mean"])
def test_links_are_those_of_the_api(
    models: Path, pairs_file: Path, method: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--symmetrise", method] if method else []
    assert align(models, str(pairs_file), "--link-threshold", "0.05", *chosen) == 0
    expected = answers(models, link_threshold=0.05, **({"symmetrisation": method} if method else {}))
    pharaoh = [pair["target"]["alignment"]["pharaoh"] for pair in expected]  # type: ignore[index]
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in pharaoh)
    assert any(pharaoh)


def test_json_lines_are_what_the_api_gives(models: Path, pairs_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(models, str(pairs_file), "--jsonl") == 0
    lines = capsys.readouterr().out.splitlines()
    for line in lines:
        PairModel.model_validate_json(line)
    assert [json.loads(line) for line in lines] == answers(models)


def test_given_words_are_linked_as_they_are(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "words.tsv"
    file.write_text("the cat  do n't sit .\tun chat\u00a0noir\n", encoding="utf-8")
    assert align(models, str(file), "--words", "--jsonl") == 0
    pair = json.loads(capsys.readouterr().out)
    assert [word["text"] for word in pair["source"]["words"]] == ["the", "cat", "do", "n't", "sit", "."]
    assert [word["text"] for word in pair["target"]["words"]] == ["un", "chat\u00a0noir"]
    assert pair["source"]["text"] == "the cat don't sit."


def test_a_pair_is_drawn(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "pair.tsv", tmp_path / "pair.svg"
    file.write_text("the cat sat\ta <b> dog\n\n", encoding="utf-8")
    assert align(models, str(file), "--plot", str(picture), "--plot-form", "text") == 0
    assert capsys.readouterr().out.count("\n") == 2  # links are written as well
    texts = [text.text for text in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["the", "cat", "sat", "a", "<", "b", ">", "dog"]


def test_pairs_are_drawn_by_the_number_of_their_line(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("tea\ttea\n\ncat\tdog\n", encoding="utf-8")
    assert align(models, str(file), "--plot", str(tmp_path / "pair-%d.svg"), "--plot-units", "tokens") == 0
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["pair-1.svg", "pair-3.svg"]
    assert "cat" in "".join(ElementTree.parse(tmp_path / "pair-3.svg").getroot().itertext())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("one.svg", "holds one pair, but there are more: with %d in its name, as in pair-%d.svg, each gets a file"),
        ("missing/%d.svg", "1.svg: No such file or directory"),
    ],
)
def test_pictures_that_cannot_be_written_are_said(
    models: Path, pairs_file: Path, tmp_path: Path, name: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align(models, str(pairs_file), "--plot", str(tmp_path / name)) == 1
    error = capsys.readouterr().err
    assert error.startswith("interlinear: error: --plot: ")
    assert complaint in error


def test_drawing_needs_soft_alignments(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        align(models, "--jsonl", "--alignment", "hard", "--plot", "pair.svg")
    assert "--plot needs --alignment soft" in capsys.readouterr().err


def test_other_formats_than_svg_are_not_drawn(
    models: Path, pairs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        align(models, str(pairs_file), "--plot", str(tmp_path / "pair.png"))
    assert "--plot draws SVG only" in capsys.readouterr().err


def test_empty_lines_and_sides_give_empty_lines(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gaps.tsv"
    file.write_text("tea\ttea\n\n \t\ntea\t\n\ttea\n", encoding="utf-8")
    assert align(models, str(file), "--link-threshold", "0.001") == 0
    assert capsys.readouterr().out == "0-0\n\n\n\n\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("tea", "must be source<TAB>target, has 1 columns"),
        ("tea\ttea\ttea", "must be source<TAB>target, has 3 columns"),
        ("a " * 70 + "\ttea", "source: has 71 tokens; at most 64 are aligned (end of sentence included)"),
    ],
)
def test_a_bad_line_is_named_after_those_before_it(
    models: Path, tmp_path: Path, line: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.tsv"
    file.write_text(f"tea\ttea\n{line}\n", encoding="utf-8")
    assert align(models, str(file)) == 1
    captured = capsys.readouterr()
    assert captured.err == f"interlinear: error: {file}:2: {complaint}\n"
    assert captured.out.count("\n") == 1


def test_symmetrising_without_the_other_model_says_so(
    models: Path, pairs_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "alone" / "tiny")
    assert align(tmp_path / "alone", str(pairs_file), "--symmetrise", "intersection") == 1
    error = capsys.readouterr().err
    assert error == (
        "interlinear: error: symmetrisation: needs a model for fr to en as well; there is tiny (en to fr)\n"
    )


def test_standard_input_is_read(models: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "align", *settings_options(models)],
        input="th\u00e9\ttea\n".encode() * 300,
        capture_output=True,
        timeout=PATIENCE_S,
        env=os.environ,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 300
