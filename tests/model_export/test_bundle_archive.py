"""Archives: the same bundle gives the same bytes, with a checksum beside them that other tools read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from model_export.cli import main
from service.bundle.archive import unpack_archive
from tests.service.tiny_bundle import write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "directory")


@pytest.mark.parametrize("name", ["tiny.tar.gz", "tiny.tgz", "tiny.zip"])
def test_an_archive_holds_the_bundle_and_does_not_depend_on_the_time(bundle: Path, tmp_path: Path, name: str) -> None:
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
        assert main(["archive", "--bundle", str(bundle), "--output", str(tmp_path / directory / name)]) == 0
        for path in bundle.iterdir():
            path.touch()
    content = (tmp_path / "one" / name).read_bytes()
    assert (tmp_path / "two" / name).read_bytes() == content
    written = (tmp_path / "one" / f"{name}.sha256").read_text(encoding="utf-8")
    assert written == f"{hashlib.sha256(content).hexdigest()}  {name}\n"
    (tmp_path / "unpacked").mkdir()
    unpack_archive(tmp_path / "one" / name, tmp_path / "unpacked")
    unpacked = {path.name: path.read_bytes() for path in (tmp_path / "unpacked").iterdir()}
    assert unpacked == {path.name: path.read_bytes() for path in bundle.iterdir()}


def test_files_that_are_not_the_bundles_stay_out(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny")
    (bundle / "notes.txt").write_text("private")
    assert main(["archive", "--bundle", str(bundle), "--output", str(tmp_path / "tiny.zip")]) == 0
    (tmp_path / "unpacked").mkdir()
    unpack_archive(tmp_path / "tiny.zip", tmp_path / "unpacked")
    assert not (tmp_path / "unpacked" / "notes.txt").exists()


def test_a_broken_bundle_is_not_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "tiny")
    (bundle / "tokenizer.model").write_bytes(b"")
    assert main(["archive", "--bundle", str(bundle), "--output", str(tmp_path / "tiny.zip")]) == 1
    assert "tokenizer.model: size" in capsys.readouterr().err
    assert not (tmp_path / "tiny.zip").exists()


def test_a_name_that_says_nothing_of_the_kind_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["archive", "--bundle", str(bundle), "--output", str(tmp_path / "tiny.rar")]) == 1
    assert "must end in .tar.gz" in capsys.readouterr().err
    missing = ["--run", str(tmp_path), "--dev", "none.tsv", "--output", str(tmp_path / "b"), "--archive", "b.rar"]
    assert main(["export", *missing]) == 1
    assert "b.rar: an archive's name must end in" in capsys.readouterr().err
