"""Commands of `interlinear-export` as several tests run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.cli import main


def fail(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs a command that must fail with exit code 1; returns its message, which must be one line."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    *progress, message = captured.err.splitlines()
    assert message.startswith("interlinear-export: ")
    assert not any("Traceback" in line or "interlinear-export:" in line for line in progress)
    return message.removeprefix("interlinear-export: ")


def train(train_file: Path, output: Path, *options: str | Path) -> list[str | Path]:
    """Arguments that train on one file, which is also the dev set."""
    languages = ("--source-language", "en", "--target-language", "fr")
    return ["train", *languages, "--train", train_file, "--dev", train_file, "--output", output, *options]
