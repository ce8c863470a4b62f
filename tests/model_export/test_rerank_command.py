"""`interlinear-export rerank`: the built-in models judge hand-made hypotheses, and their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_export.cli import main
from service.cli import main as run_service
from tests.model_export.commands import fail

BUILT_IN = Path(__file__).parents[2] / "service" / "models"
FORWARD, REVERSE = BUILT_IN / "eng-fra", BUILT_IN / "fra-eng"

# By their own scores the hypotheses for the second and the third source stand in the wrong order.
STATION = ("Where is the station?", [("Où est la gare ?", -0.5), ("Où est la voiture ?", -0.6)])
DOG = ("I have a dog.", [("J'ai un chat.", -0.5), ("J'ai un chien.", -0.6), ("", None)])
WATER = ("He drinks water.", [("Il mange du pain.", -0.5), ("Elle boit.", None), ("Il boit de l'eau.", -0.7)])


def translated(source: str, hypotheses: list[tuple[str, float | None]]) -> dict[str, Any]:
    """What `interlinear translate --jsonl` says of a text, as far as it matters here, and further fields."""
    told = [{"text": text, "score": score, "log_prob": -9.0} for text, score in hypotheses]
    return {"source": {"text": source, "words": []}, "hypotheses": told, "truncated": False}


def write(path: Path, *lines: tuple[str, list[tuple[str, float | None]]]) -> Path:
    path.write_text("".join(json.dumps(translated(*line)) + "\n" for line in lines), encoding="utf-8")
    return path


def run(path: Path, *options: str | Path) -> list[dict[str, Any]]:
    """Runs the command on a file; returns the lines of its output."""
    output = path.with_name("reranked.jsonl")
    assert main(["rerank", "--input", str(path), "--output", str(output), *map(str, options)]) == 0
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def texts(line: dict[str, Any]) -> list[str]:
    return [hypothesis["text"] for hypothesis in line["hypotheses"]]


def align(pair: str, model: str, path: Path, capsys: pytest.CaptureFixture[str]) -> float:
    """The score that `interlinear align` gives a pair's second side."""
    path.write_text(pair + "\n", encoding="utf-8")
    capsys.readouterr()
    assert run_service(["align", "--model", model, "--jsonl", "--log-level", "error", str(path)]) == 0
    return float(json.loads(capsys.readouterr().out)["target"]["score"])


@pytest.mark.parametrize("judge", [("--reverse", REVERSE, "0.3"), ("--forward", FORWARD, "0.3")])
def test_a_further_model_sorts_hypotheses(
    tmp_path: Path, judge: tuple[str | Path, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "in.jsonl", STATION, DOG, WATER)
    station, dog, water = run(path, *judge)
    assert texts(station) == ["Où est la gare ?", "Où est la voiture ?"]
    assert texts(dog) == ["J'ai un chien.", "J'ai un chat.", ""]
    assert texts(water) == ["Il boit de l'eau.", "Il mange du pain.", "Elle boit."]
    assert "3 translations: 2 with another first hypothesis\n" in capsys.readouterr().out


def test_scores_are_sums_and_all_other_fields_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", DOG)
    judges = ("--reverse", REVERSE, "0.25", "--forward", FORWARD, "0.5", "--forward", FORWARD, "1")
    (dog,) = run(path, *judges)
    forward = align("I have a dog.\tJ'ai un chien.", "eng-fra", tmp_path / "pair", capsys)
    backward = align("J'ai un chien.\tI have a dog.", "fra-eng", tmp_path / "pair", capsys)
    best = dog["hypotheses"][0]
    assert best["score"] == pytest.approx(-0.6 + 1.5 * forward + 0.25 * backward, abs=3e-5)
    assert best["log_prob"] == -9.0
    assert dog["hypotheses"][-1] == {"text": "", "score": None, "log_prob": -9.0}
    assert dog["source"] == {"text": "I have a dog.", "words": []}
    assert dog["truncated"] is False


def test_what_is_too_long_for_a_judge_keeps_its_order_but_not_its_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, best, second_best = "dog " * 2000, "chien " * 2000, "chat " * 2000
    long = (source, [(best, -0.5), (second_best, -0.6)])
    path = write(tmp_path / "in.jsonl", DOG, long)
    first, second = run(path, "--reverse", REVERSE, "0.3")
    assert texts(first)[0] == "J'ai un chien."
    assert second == translated(source, [(best, None), (second_best, None)])
    assert "1 longer than a model takes: left in their order, without scores\n" in capsys.readouterr().out


def test_what_the_service_writes_is_taken_and_distil_takes_what_comes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, hypotheses, output = tmp_path / "text", tmp_path / "in.jsonl", tmp_path / "out.tsv"
    source.write_text("I have a dog.\n", encoding="utf-8")
    options = ("--model", "eng-fra", "--jsonl", "--num-hypotheses", "3", "--log-level", "error")
    assert run_service(["translate", *options, str(source)]) == 0
    hypotheses.write_text(capsys.readouterr().out, encoding="utf-8")
    (line,) = run(hypotheses, "--reverse", REVERSE, "0.3")
    scores = [hypothesis["score"] for hypothesis in line["hypotheses"]]
    assert scores == sorted(scores, reverse=True)
    assert main(["distil", "--input", str(tmp_path / "reranked.jsonl"), "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == f"I have a dog.\t{texts(line)[0]}\n"


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf", "much"])
def test_a_weight_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], weight: str) -> None:
    path, output = write(tmp_path / "in.jsonl", DOG), tmp_path / "out.jsonl"
    shown = fail(capsys, "rerank", "--input", path, "--output", output, "--forward", FORWARD, weight)
    assert shown == f"{FORWARD}: the weight behind it must be a number above 0, not {weight!r}"
    assert not output.exists()


def test_a_model_of_the_wrong_direction_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", DOG)
    options = ("rerank", "--input", path, "--output", tmp_path / "out.jsonl", "--forward", FORWARD, "1")
    shown = fail(capsys, *options, "--reverse", FORWARD, "1")
    assert shown == f"--reverse: {FORWARD} translates en to fr, not fr to en"
    shown = fail(capsys, *options, "--forward", REVERSE, "1")
    assert shown == f"--forward: {REVERSE} translates fr to en, not en to fr"


def test_an_empty_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    assert fail(capsys, "rerank", "--input", path, "--output", output, "--reverse", REVERSE, "1") == (
        f"{path}: holds no translation"
    )
    assert not output.exists()


def test_without_a_further_model_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "in.jsonl", DOG)
    shown = fail(capsys, "rerank", "--input", path, "--output", tmp_path / "out.jsonl")
    assert shown == "--forward, --reverse: name at least one further model"


def test_a_malformed_line_is_named_and_nothing_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = write(tmp_path / "in.jsonl", DOG), tmp_path / "reranked.jsonl"
    output.write_text("before", encoding="utf-8")
    path.write_bytes(path.read_bytes() + b"{}\n")
    shown = fail(capsys, "rerank", "--input", path, "--output", output, "--reverse", REVERSE, "0.3")
    assert shown.startswith(f"{path}: line 2: source: Field required")
    assert output.read_text(encoding="utf-8") == "before"


def test_missing_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, output = tmp_path / "missing", tmp_path / "out.jsonl"
    shown = fail(capsys, "rerank", "--input", missing, "--output", output, "--reverse", REVERSE, "0.3")
    assert shown == f"{missing}: cannot be read: No such file or directory"
    path = write(tmp_path / "in.jsonl", DOG)
    shown = fail(capsys, "rerank", "--input", path, "--output", output, "--reverse", missing, "0.3")
    assert str(missing) in shown
