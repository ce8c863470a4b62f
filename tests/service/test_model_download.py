"""`interlinear models install` with URLs: a server on this machine stands for those elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service import model_installation
from service.errors import InstallationError
from service.model_download import check_url
from tests.service.installing import assert_nothing_is_left, install, pack_tiny, sha256


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_tiny(tmp_path_factory.mktemp("packed"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


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
