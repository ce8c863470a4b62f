"""The command `interlinear`, in this process except where standard streams matter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.api.schemas import TranslationModel
from service.cli import main
from tests.service.tiny_bundle import write_bundle

PATIENCE_S = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_bundle(directory / "tiny")
    return directory


def settings_options(models: Path) -> list[str]:
    return ["--models-dir", str(models), "--built-in-models", "false", "--log-level", "error"]


def translate(models: Path, *arguments: str) -> int:
    return main(["translate", *settings_options(models), *arguments])


def run_process(*arguments: str, standard_input: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        input=standard_input,
        capture_output=True,
        timeout=PATIENCE_S,
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
        check=False,
    )


@pytest.mark.parametrize("command", [[], ["serve"], ["translate"], ["align"], ["models"], ["models", "install"]])
def test_help_is_given(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    assert "interlinear" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["serve", "--wings", "2"],
        ["translate", "--beam-size", "0"],
        ["translate", "--beam-size", "4", "--num-hypotheses", "5", "--jsonl"],
        ["translate", "--num-hypotheses", "2"],
        ["translate", "--alignment", "fuzzy"],
        ["translate", "--num-alternatives", "2"],
        ["translate", "--diagnostics"],
        ["align", "--diagnostics"],
        ["translate", "--sampling-top-k", "3", "--beam-size", "2"],
        ["translate", "--sampling-temperature", "0.5"],
        ["translate", "--repetition-penalty", "0.5"],
        ["translate", "--search-mode", "tfa", "--no-repeat-ngram-size", "2"],
        ["align", "--symmetrise", "grow"],
        ["align", "--link-threshold", "0"],
        ["align", "--beam-size", "2"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: interlinear" in capsys.readouterr().err


def test_every_line_gives_a_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes(b"the cat sat\n\nwe like tea\r\n  \n")
    two.write_bytes("a dog \u2028 ran\nno line feed at the end".encode())
    assert translate(models, str(one), str(two), "--beam-size", "2") == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 6 + 1
    assert lines[1].strip() == lines[3].strip() == lines[6] == ""


def test_many_lines_come_out_in_order(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["tea " * (number % 7 + 1) + str(number) for number in range(600)]
    file = tmp_path / "many.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    assert translate(models, str(file), "--beam-size", "1", "--jsonl", "--alignment", "none") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["source"]["text"] for line in lines] == texts


def test_json_lines_are_what_the_api_gives(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the cat sat. we like tea\n", encoding="utf-8")
    assert translate(models, str(file), "--jsonl", "--num-hypotheses", "2") == 0
    [line] = capsys.readouterr().out.splitlines()
    translation = TranslationModel.model_validate_json(line)
    assert len(translation.hypotheses) == 2
    assert translation.hypotheses[0].sentences[1].alignment is not None
    assert translation.hypotheses[0].other_alignments == []


def test_diagnostics_stand_in_json_lines(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the cat sat\n", encoding="utf-8")
    assert translate(models, str(file), "--jsonl") == 0
    assert TranslationModel.model_validate_json(capsys.readouterr().out).hypotheses[0].diagnostics is None
    assert translate(models, str(file), "--jsonl", "--diagnostics") == 0
    assert TranslationModel.model_validate_json(capsys.readouterr().out).hypotheses[0].diagnostics is not None


def test_every_decoding_option_has_its_place(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("the cat sat\n", encoding="utf-8")
    options = ["--sampling-top-k", "4", "--sampling-temperature", "2", "--seed", "3", "--num-hypotheses", "2"]
    options += ["--repetition-penalty", "1.2", "--no-repeat-ngram-size", "2", "--suppress-token", "<unk>"]
    options += ["--replace-unknowns", "--num-alternatives", "2", "--length-penalty", "0.5", "--coverage-penalty", "0.1"]
    lines = []
    for _ in range(2):
        assert translate(models, str(file), "--jsonl", *options) == 0
        lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    translation = TranslationModel.model_validate_json(lines[0])
    assert len(translation.hypotheses) == 2
    assert all(len(token.alternatives or []) == 2 for token in translation.hypotheses[0].tokens)


def test_a_token_that_cannot_be_suppressed_is_named(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("tea\n", encoding="utf-8")
    assert translate(models, str(file), "--suppress-token", "no such token") == 1
    assert "suppressed_tokens[0]" in capsys.readouterr().err


def test_bad_utf8_names_file_and_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(b"tea\nbre\xffad\nmat\n")
    assert translate(models, str(file)) == 1
    captured = capsys.readouterr()
    assert captured.err == f"interlinear: error: {file}:2: not valid UTF-8 (byte 4 of the line)\n"
    assert captured.out.count("\n") == 1  # the line before it


def test_a_nul_names_file_and_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nul.txt"
    file.write_bytes(b"tea\nte\0a\n")
    assert translate(models, str(file)) == 1
    assert capsys.readouterr().err == f"interlinear: error: {file}:2: must not contain NUL characters\n"


def test_a_seed_without_draws_is_refused(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        translate(models, "--seed", "3")
    assert "--seed has no meaning without --sampling-top-k" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5"])
def test_numbers_of_options_are_checked(models: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        translate(models, f"--beam-size={number}")
    error = capsys.readouterr().err
    assert f"argument --beam-size: must be a whole number of at least 1, not '{number}'" in error


def test_a_line_too_long_names_file_and_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "long.txt"
    file.write_text("tea\n" + "tea#" * 50 + "\n", encoding="utf-8")
    assert translate(models, str(file)) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"interlinear: error: {file}:2: a sentence that cannot be parted has ")
    assert captured.err.count("\n") == captured.out.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["/does/not/exist.txt"], "/does/not/exist.txt: No such file or directory"),
        (["--model", "other"], "model: not installed"),
        (["--target-language", "de"], "target_language: not served"),
        (["--precision", "int8"], "precisions"),
        (["--threads", "none"], "INTERLINEAR_THREADS: "),
    ],
)
def test_errors_are_one_line_and_exit_with_1(
    models: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate(models, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("interlinear: error: ")
    assert complaint in error
    assert error.count("\n") == 1


def test_standard_input_is_read_and_nothing_else_is_written(models: Path) -> None:
    arguments = ["translate", *settings_options(models), "-"]
    done = run_process(*arguments, standard_input="caf\u00e9\ntea\n".encode(), LC_ALL="C", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("utf-8").count("\n") == 2


def test_unknown_variables_are_warned_of(models: Path) -> None:
    arguments = ["translate", *settings_options(models)[:4]]
    done = run_process(*arguments, INTERLINEAR_MAX_QEUE="3")
    assert done.returncode == 0
    assert b"INTERLINEAR_MAX_QEUE has no effect; did you mean INTERLINEAR_MAX_QUEUE?" in done.stderr
