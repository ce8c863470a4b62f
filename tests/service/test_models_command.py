"""`interlinear models`: archives from files and from a server on this machine, verified before anything is replaced."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model_export.bundle_archive import write_archive
from service import model_installation
from service.bundle.reader import read_bundle
from service.cli import main
from service.errors import InstallationError
from service.loading import find_bundles
from service.model_download import check_url
from service.settings import load_settings
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a bundle named `tiny`, with its checksum beside it."""
    directory = tmp_path_factory.mktemp("packed")
    write_bundle(directory / "tiny")
    write_archive(directory / "tiny", directory / "tiny.tar.gz")
    return directory / "tiny.tar.gz"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def install(models: Path, source: object, *options: str) -> int:
    return main(["models", "install", str(source), "--models-dir", str(models), "--built-in-models", "false", *options])


def list_models(models: Path, built_in: str = "false") -> int:
    return main(["models", "list", "--models-dir", str(models), "--built-in-models", built_in])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_checksum(packed: Path, tmp_path: Path, name: str = "model.tar.gz") -> Path:
    copy = tmp_path / name
    copy.write_bytes(packed.read_bytes())
    return copy


def assert_nothing_is_left(models: Path, *names: str) -> None:
    assert sorted(path.name for path in models.iterdir()) == sorted(names)


# --- Files ------------------------------------------------------------------------------------------------------


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


def test_graphs_are_verified_before_they_are_used(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / "encoder.fp32.onnx").write_bytes(b"no graph")
    write_manifest(tmp_path / "tiny", make_manifest(("fp32",)))
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
    assert "spoilt: cannot be served" in captured.out
    assert "1 of the bundles cannot be served" in captured.err


def test_built_in_models_are_listed(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    assert list_models(models, built_in="true") == 0
    assert "eng-fra: en to fr, int8" in capsys.readouterr().out


# --- From the network -------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves what a test puts into `files`, sends elsewhere what is in `moved`, and promises more where told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.promised: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        if self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
        else:
            self.send_response(404 if content is None else 200)
        size = len(content or b"")
        self.send_header("Content-Length", str(self.server.promised.get(self.path, size)))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_archive_is_installed_from_a_url_with_the_checksum_beside_it(
    packed: Path, models: Path, server: Server
) -> None:
    server.files["/tiny.tar.gz"] = packed.read_bytes()
    server.files["/tiny.tar.gz.sha256"] = f"{sha256(packed)}  tiny.tar.gz\n".encode()
    server.moved["/latest"] = f"{server.url}/tiny.tar.gz"
    assert install(models, f"{server.url}/tiny.tar.gz") == 0
    assert install(models, f"{server.url}/latest", "--sha256", sha256(packed), "--force") == 0
    assert_nothing_is_left(models, "tiny")


def test_a_url_without_any_checksum_is_refused(
    packed: Path, models: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/tiny.tar.gz"] = packed.read_bytes()
    assert install(models, f"{server.url}/tiny.tar.gz") == 1
    assert "give its checksum with --sha256" in capsys.readouterr().err
    server.files["/tiny.tar.gz.sha256"] = b"<html>"
    assert install(models, f"{server.url}/tiny.tar.gz") == 1
    assert "is no SHA-256 checksum" in capsys.readouterr().err
    assert_nothing_is_left(models)


def test_what_arrives_wrong_is_not_installed(
    packed: Path, models: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--sha256", sha256(packed))
    assert install(models, f"{server.url}/none.tar.gz", *options) == 1
    assert "there is nothing" in capsys.readouterr().err
    server.files["/tiny.tar.gz"] = packed.read_bytes()[:-1] + b"!"
    assert install(models, f"{server.url}/tiny.tar.gz", *options) == 1
    assert "its SHA-256 is" in capsys.readouterr().err
    server.promised["/tiny.tar.gz"] = packed.stat().st_size + 1
    assert install(models, f"{server.url}/tiny.tar.gz", *options) == 1
    assert f"ended after {packed.stat().st_size} of" in capsys.readouterr().err
    monkeypatch.setattr(model_installation, "MAX_UNPACKED_BYTES", 100)
    assert install(models, f"{server.url}/tiny.tar.gz", *options) == 1
    assert "has more than 100 bytes" in capsys.readouterr().err
    assert_nothing_is_left(models)


def test_a_server_that_is_not_there_is_an_error_of_one_line(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(models, "http://127.0.0.1:9/tiny.tar.gz", "--sha256", "0" * 64) == 1
    error = capsys.readouterr().err
    assert "cannot be reached" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "ftp://localhost/a",
        "file:///etc/passwd",
        "https://user:secret@example.com/a",
        "https:///a",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InstallationError) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://example.com/a", "http://localhost:1/a", "http://[::1]/a", "http://127.0.0.2/a"]
)
def test_these_urls_are_allowed(url: str) -> None:
    check_url(url)


def test_a_redirection_to_another_scheme_is_not_followed(
    models: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.moved["/a"] = "http://example.com/a"
    assert install(models, f"{server.url}/a", "--sha256", "0" * 64) == 1
    assert "must begin with https://" in capsys.readouterr().err
