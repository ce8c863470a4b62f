from __future__ import annotations

from pathlib import Path

import pytest

from model_export.cli import main
from model_export.errors import ConfigError
from model_export.staged_file import keep_inputs


def test_an_input_is_refused_as_output_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\n", encoding="utf-8")
    (tmp_path / "link.tsv").symlink_to("pairs.tsv")
    (tmp_path / "other.tsv").touch()
    keep_inputs(tmp_path / "new.tsv", [tmp_path / "pairs.tsv"])
    keep_inputs(tmp_path / "other.tsv", [tmp_path / "missing.tsv", None, tmp_path / "pairs.tsv"])
    keep_inputs(None, [tmp_path / "pairs.tsv"])
    for name in ("pairs.tsv", "link.tsv"):
        with pytest.raises(ConfigError, match=rf"--output: .*{name} is an input as well; choose another file"):
            keep_inputs(tmp_path / name, [tmp_path / "other.tsv", tmp_path / "pairs.tsv"])


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ("A cat.\tUn chat.\n", ["augment", "--joined", "0", "--unpunctuated", "1", "--input", "FILE"]),
        ("0-0\n", ["symmetrise", "--forward", "FILE", "--reverse", "FILE"]),
        ("0-0\n", ["vote", "--input", "FILE", "FILE"]),
        ("{}\n", ["rerank", "--input", "FILE", "--reverse", "model", "0.3"]),
        ("{}\n", ["distil", "--input", "FILE"]),
    ],
)
def test_commands_do_not_write_over_what_they_read(
    content: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text(content, encoding="utf-8")
    arguments = [str(file) if argument == "FILE" else argument for argument in [*command, "--output", "FILE"]]
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"interlinear-export: --output: {file} is an input as well; choose another file\n"
    assert file.read_text(encoding="utf-8") == content


def test_names_that_commands_give_are_checked_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = {
        "eng.train.tsv": ["split", "FILE", "--name", "eng", "--output", str(tmp_path)],
        "source.words": ["words", "--input", "FILE", "--output", str(tmp_path)],
        "test.tsv": ["evaluate", "--bundle", "none", "--test", "FILE", "--translations", "FILE"],
    }
    for name, command in commands.items():
        file = tmp_path / name
        file.write_text("A cat.\tUn chat.\n", encoding="utf-8")
        assert main([str(file) if argument == "FILE" else argument for argument in command]) == 1
        assert f"{file} is an input as well; choose another file" in capsys.readouterr().err
        assert file.read_text(encoding="utf-8") == "A cat.\tUn chat.\n"
