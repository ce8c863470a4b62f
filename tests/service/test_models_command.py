"""`interlinear models`: archives are verified before anything is replaced; what would be served is listed."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from model_export.bundle_archive import write_archive
from service.bundle.reader import read_bundle
from service.cli import main
from service.discovery import find_bundles
from service.settings import load_settings
from tests.service.installing import assert_nothing_is_left, install, list_models, pack_tiny, sha256
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_tiny(tmp_path_factory.mktemp("packed"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def without_checksum(packed: Path, tmp_path: Path, name: str = "model.tar.gz") -> Path:
    copy = tmp_path / name
    copy.write_bytes(packed.read_bytes())
    return copy


def test_an_archive_is_installed_under_its_models_name(
    packed: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(models, without_checksum(packed, tmp_path)) == 0
    assert capsys.readouterr().out.startswith("tiny: en to fr, fp32, ")
    assert read_bundle(models / "tiny").manifest.name == "tiny"
    assert_nothing_is_left(models, "tiny")
    assert list_models(models) == 0
    assert str(models / "tiny") in capsys.readouterr().out


def test_a_zip_is_installed_as_well(packed: Path, models: Path, tmp_path: Path) -> None:
    write_archive(packed.with_name("tiny"), tmp_path / "tiny.zip")
    assert install(models, tmp_path / "tiny.zip") == 0
    assert_nothing_is_left(models, "tiny")


def test_checksums_are_verified(packed: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = without_checksum(packed, tmp_path)
    assert install(models, copy, "--sha256", "0" * 64) == 1
    assert f"its SHA-256 is {sha256(copy)}; it should be {'0' * 64}" in capsys.readouterr().err
    copy.with_name("model.tar.gz.sha256").write_text(f"{'1' * 64}  model.tar.gz\n")
    assert install(models, copy) == 1
    assert "it should be 1111" in capsys.readouterr().err
    assert install(models, copy, "--sha256", "short") == 1
    assert "64 hexadecimal digits" in capsys.readouterr().err
    assert_nothing_is_left(models)
    assert install(models, copy, "--sha256", sha256(copy).upper()) == 0  # which goes before the file


def test_an_installed_model_gives_way_only_when_told(
    packed: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(models, packed) == 0
    (models / "tiny" / "remark.txt").write_text("of the first one")
    assert install(models, packed) == 1
    assert "--force replaces it" in capsys.readouterr().err
    assert (models / "tiny" / "remark.txt").exists()
    assert install(models, packed, "--force") == 0
    assert not (models / "tiny" / "remark.txt").exists()
    assert_nothing_is_left(models, "tiny")


def test_what_is_no_bundle_is_never_replaced(packed: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (models / "tiny").mkdir(parents=True)
    assert install(models, packed, "--force") == 1
    assert "it is no bundle" in capsys.readouterr().err
    assert_nothing_is_left(models, "tiny")


def test_a_name_that_another_directory_serves_is_refused(
    packed: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(models / "elsewhere")  # its model is named `tiny` too
    assert install(models, packed, "--force") == 1
    assert "there is a model named tiny in" in capsys.readouterr().err
    assert_nothing_is_left(models, "elsewhere")


def test_a_broken_bundle_is_replaced_and_another_one_is_in_nobodys_way(packed: Path, models: Path) -> None:
    for name in ("tiny", "other"):
        write_bundle(models / name)
        (models / name / "tokenizer.model").write_bytes(b"")
    assert install(models, packed, "--force") == 0
    assert read_bundle(models / "tiny").manifest.name == "tiny"


def test_a_service_that_starts_meanwhile_sees_nothing_half_done(models: Path) -> None:
    write_bundle(models / "tiny")
    write_bundle(models / ".install-x")
    settings = load_settings({"models_dir": str(models), "built_in_models": "false"})
    assert find_bundles(settings) == [models / "tiny"]


def test_a_bundle_that_could_not_be_served_is_refused_and_named(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "tiny")
    manifest = json.loads((tmp_path / "tiny" / "manifest.json").read_text())
    manifest["files"]["tokenizer.model"]["sha256"] = "0" * 64
    (tmp_path / "tiny" / "manifest.json").write_text(json.dumps(manifest))
    source = tmp_path / "tiny.tar.gz"
    with tarfile.open(source, "w:gz") as tar:
        tar.add(tmp_path / "tiny", "tiny")
    assert install(models, source) == 1
    assert f"{source}: tokenizer.model: sha256: is " in capsys.readouterr().err
    assert_nothing_is_left(models)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_graphs_are_verified_before_they_are_used(
    models: Path, tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "tiny", precisions=(precision,))
    (tmp_path / "tiny" / f"encoder.{precision}.onnx").write_bytes(b"no graph")
    write_manifest(tmp_path / "tiny", make_manifest((precision,)))
    write_archive(tmp_path / "tiny", tmp_path / "tiny.tar.gz")
    assert install(models, tmp_path / "tiny.tar.gz") == 1
    assert "tiny.tar.gz: encoder." in capsys.readouterr().err
    assert_nothing_is_left(models)


def test_files_that_the_manifest_does_not_list_are_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / "run.sh").write_text("echo")
    with tarfile.open(tmp_path / "tiny.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "tiny", "tiny")
    assert install(models, tmp_path / "tiny.tar.gz") == 1
    assert "run.sh: file: is not listed in manifest.json" in capsys.readouterr().err


def test_an_interrupted_replacement_leaves_the_old_model(
    packed: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install(models, packed) == 0
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "bundle":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert install(models, packed, "--force") == 1
    assert read_bundle(models / "tiny").manifest.name == "tiny"
    assert_nothing_is_left(models, "tiny")


def test_a_missing_file_and_a_missing_directory_are_named(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install(models, tmp_path / "none.zip") == 1
    assert "none.zip: cannot be read: No such file" in capsys.readouterr().err
    monkeypatch.delenv("INTERLINEAR_MODELS_DIR", raising=False)
    assert main(["models", "install", "a.zip"]) == 1
    assert "INTERLINEAR_MODELS_DIR: must be set" in capsys.readouterr().err


def test_a_broken_bundle_is_listed_as_such(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bundle(models / "good")
    write_bundle(models / "spoilt")
    (models / "spoilt" / "tokenizer.model").write_bytes(b"")
    assert list_models(models) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("tiny: en to fr")
    assert captured.err.startswith("interlinear: error: the service would not start: cannot be served: ")
    assert str(models / "spoilt" / "tokenizer.model") in captured.err


def test_two_bundles_of_one_name_are_listed_as_such(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bundle(models / "one")
    write_bundle(models / "other")
    assert list_models(models) == 1
    expected = f"two models have the name tiny: {models / 'one'} and {models / 'other'}"
    assert expected in capsys.readouterr().err


def test_built_in_models_are_listed(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    assert list_models(models, built_in="true") == 0
    assert "eng-fra: en to fr, int8" in capsys.readouterr().out
