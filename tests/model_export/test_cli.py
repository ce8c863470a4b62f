"""The command line: help at once, one clear line for whatever is wrong, and exit codes that scripts can rely on."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from model_export.cli import main
from model_export.splitting import assign_part
from tests.model_export.commands import fail, train
from tests.reversing_task import random_sentences, write_pairs

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "export", "split", "words", "symmetrise", "vote", "augment", "distil")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs.tsv", random_sentences(20, seed=6))
    return tmp_path / "pairs.tsv"


# --- Help and usage ---------------------------------------------------------------------------------------------

SHOW_HELP = """
import sys
from model_export.cli import main
for command in sys.argv[1:]:
    try:
        main([command, "--help"])
    except SystemExit as end:
        assert end.code == 0
print(sorted({"keras", "tensorflow", "onnx", "onnxruntime", "sentencepiece", "numpy"} & set(sys.modules)))
"""


def test_help_needs_none_of_the_big_packages() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW_HELP, *COMMANDS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"
    assert [f"usage: interlinear-export {command} " in done.stdout for command in COMMANDS] == [True] * len(COMMANDS)


def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert set(COMMANDS) <= set(shown)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["translate"],
        ["evaluate", "--test", "x.tsv"],
        ["evaluate", "--test", "x.tsv", "--run", "a", "--bundle", "b"],
        ["export", "--run", "a", "--dev", "b", "--output", "c", "--precision", "fp64"],
        ["split", "x.tsv", "--output", "y", "--columns", "two"],
    ],
)
def test_wrong_usage_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: interlinear-export" in capsys.readouterr().err


# --- Files that are not there -----------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, output = tmp_path / "missing.tsv", tmp_path / "run"
    cannot_be_read = f"{missing}: cannot be read: No such file or directory"
    assert fail(capsys, *train(missing, output)) == cannot_be_read
    assert fail(capsys, "split", missing, "--output", output) == cannot_be_read
    assert fail(capsys, "split", pairs, "--output", output, "--exclude", missing).startswith(
        f"{missing}: cannot be read"
    )
    assert fail(capsys, "evaluate", "--bundle", tmp_path, "--test", missing) == cannot_be_read
    assert fail(capsys, *train(pairs, output, "--tokenizer", missing)) == f"{missing}: No such file or directory"
    assert not output.exists()


def test_a_missing_bundle_is_named(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path / "none") in fail(capsys, "evaluate", "--bundle", tmp_path / "none", "--test", pairs)


def test_an_output_that_cannot_be_written_is_named(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(pairs / "run") in fail(capsys, *train(pairs, pairs / "run"))
    assert str(pairs / "out") in fail(capsys, "split", pairs, "--output", pairs / "out")


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_nothing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'tf2onnx'", name="tf2onnx")

    monkeypatch.setattr(importlib, "import_module", import_nothing)
    message = fail(capsys, "export", "--run", tmp_path, "--dev", tmp_path, "--output", tmp_path)
    assert message == "tf2onnx is not installed; run: pip install 'interlinear[export]'"


# --- Configurations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", "model: {units: -3}", "model.units: Input should be greater than or equal to 1"),
        ("config.yaml", "model: {unit: 3}", "model.unit: Extra inputs are not permitted"),
        ("config.yaml", "training: {epochs: many}", "training.epochs: Input should be a valid integer"),
        ("config.yaml", "model: [", "is no valid yaml"),
        ("config.toml", "model = {", "is no valid toml"),
        ("config.yaml", "- model", "file: Input should be a valid dictionary"),
        ("config.json", "{}", "unknown suffix '.json'; use .yaml, .yml or .toml"),
    ],
)
def test_a_bad_configuration_is_named_with_its_field(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    config = tmp_path / name
    config.write_text(text, encoding="utf-8")
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--config", config))
    assert shown.startswith(f"{config}: ")
    assert message in shown
    assert not (tmp_path / "run").exists()


def test_a_missing_configuration_is_named(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "none.yaml"
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--config", config))
    assert shown == f"{config}: cannot be read: No such file or directory"


def test_a_language_that_a_bundle_could_not_name_is_refused_at_once(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["English" if argument == "en" else argument for argument in train(pairs, tmp_path / "run")]
    assert fail(capsys, *arguments) == "--source-language: 'English' is no language code such as en, fr or pt-BR"


# --- Runs -------------------------------------------------------------------------------------------------------


def test_resuming_without_a_run_is_refused(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--resume"))
    assert shown == f"{tmp_path / 'run'}: no training run here (config.yaml is missing)"
    assert not (tmp_path / "run").exists()


def test_training_onto_a_run_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    shown = fail(capsys, *train(tmp_path / "missing.tsv", tmp_path))
    assert shown == f"{tmp_path}: holds a run already; go on with --resume or choose another --output"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("command", "begun", "message"),
    [
        ("training", True, "interrupted; go on with --resume"),
        ("training", False, "interrupted"),
        ("split", False, "interrupted"),
    ],
)
def test_an_interrupt_ends_with_code_130(
    command: str,
    begun: bool,
    message: str,
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = pairs.parent / "out"

    def interrupt(_: object) -> None:
        if begun:
            output.mkdir()
            (output / "config.yaml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(f"model_export.{command}_command.run_{command}", interrupt)
    arguments = train(pairs, output) if command == "training" else ["split", pairs, "--output", output]
    assert main([str(argument) for argument in arguments]) == 130
    assert capsys.readouterr().err == f"interlinear-export: {message}\n"


# --- Split ------------------------------------------------------------------------------------------------------


def test_split_writes_every_pair_to_the_part_of_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [f"{word} {number}" for word in ("owl", "fox", "hen") for number in range(100)]
    lines = [f"{source}\ttarget {index}\tauthor" for index, source in enumerate(sources)]
    raw = tmp_path / "raw.tsv"
    raw.write_text("\n".join([*lines, "a line without a target", ""]), encoding="utf-8")
    (tmp_path / "excluded.txt").write_text("Owl 7!\n", encoding="utf-8")
    arguments = ["split", str(raw), "--columns", "3", "--output", str(tmp_path / "parts"), "--name", "animals"]
    assert main([*arguments, "--exclude", str(tmp_path / "excluded.txt")]) == 0

    shown = capsys.readouterr().out
    assert "left out: wrong column count: 1 (line 301)" in shown
    for part in ("train", "dev", "test"):
        written = (tmp_path / "parts" / f"animals.{part}.tsv").read_text(encoding="utf-8").splitlines()
        expected = [
            f"{source}\ttarget {index}"
            for index, source in enumerate(sources)
            if assign_part(source) == part and source != "owl 7"
        ]
        assert written == expected
        assert f"{len(expected):>9,} pairs  {tmp_path / 'parts' / f'animals.{part}.tsv'}" in shown
    assert {assign_part(source) for source in sources} == {"train", "dev", "test"}
