"""The life of the serving process: start, refusal to start, signals, draining."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from service.discovery import find_bundles
from service.errors import BundleError, ConfigurationError
from service.loading import load_models
from tests.service.api_client import running_app, tiny_settings
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

PATIENCE_S = 60
STREAM = "/translate/stream"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_bundle(directory / "tiny")
    return directory


def command(models: Path, *options: str) -> list[str]:
    built_in = ["--built-in-models", "false", "--models-dir", str(models)]
    return [sys.executable, "-m", "service.cli", "serve", "--port", "0", *built_in, *options]


@contextmanager
def serving(models: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A serving process and its address; killed at the end if it still runs."""
    process = subprocess.Popen(command(models, *options), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        [address] = next(found for line in lines if (found := re.findall(r"serving on (http://\S+)", line)))
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_process_serves_and_ends_quietly_on_sigterm(models: Path) -> None:
    with serving(models) as (process, address):
        answer = httpx2.post(f"{address}/translate", json={"text": "the cat sat", "max_decoding_length": 5})
        assert answer.status_code == 200
        assert httpx2.get(f"{address}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "Traceback" not in log


def send(address: str, body: str, length: int | None = None, path: str = "/translate") -> socket.socket:
    """Opens a connection and sends a request, or its beginning where `length` is more than that of `body`."""
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    connection.sendall(f"{head}Content-Length: {length or len(body)}\r\n\r\n{body}".encode())
    return connection


def send_request(address: str, sentences: int, length: int, path: str = "/translate") -> socket.socket:
    """Asks for `sentences` translations of exactly `length` tokens each."""
    values = {"text": ["tea and bread"] * sentences, "alignment": "none"}
    body = json.dumps(values | {"min_decoding_length": length, "max_decoding_length": length})
    return send(address, body, path=path)


def read_all(connection: socket.socket) -> str:
    return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


def metric(address: str, name: str) -> float:
    text = httpx2.get(f"{address}/metrics").text
    [value] = re.findall(rf"^interlinear_{name}{{.*}} (\S+)$", text, re.MULTILINE)
    return float(value)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_accepted_requests_are_answered_after_sigterm(models: Path) -> None:
    with serving(models) as (process, address):
        with (
            send_request(address, sentences=60, length=200) as connection,
            send_request(address, 60, 200, STREAM) as stream,
        ):
            beginning = stream.recv(1 << 16)
            wait_until(lambda: metric(address, "live_rows") > 0)
            process.send_signal(signal.SIGTERM)
            assert read_all(connection).startswith("HTTP/1.1 200 OK")
            assert beginning.startswith(b"HTTP/1.1 200 OK")
            assert "event: done" in read_all(stream)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0


def test_what_is_left_when_the_time_to_drain_is_up_gets_a_problem(models: Path) -> None:
    with serving(models, "--shutdown-timeout-s", "1") as (process, address):
        with (
            send_request(address, sentences=100, length=500) as busy,
            send(address, '{"text": ', length=100) as slow,
            send_request(address, 100, 500, STREAM) as stream,
        ):
            assert stream.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
            process.send_signal(signal.SIGTERM)
            for connection in (busy, slow):
                answer = read_all(connection)
                assert answer.startswith("HTTP/1.1 503 ")
                assert "urn:interlinear:problem:shutting-down" in answer
            _, _, last = read_all(stream).rpartition("event: ")
            assert last.startswith("error\ndata: ")
            assert "urn:interlinear:problem:shutting-down" in last
            assert last.endswith("\r\n0\r\n\r\n")  # the end of the answer
        _, log = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "Traceback" not in log


def test_a_client_that_leaves_frees_its_rows(models: Path) -> None:
    with serving(models) as (_, address):
        decoded = metric(address, "sentences_total")
        with send_request(address, sentences=100, length=500):
            wait_until(lambda: metric(address, "live_rows") > 0)
        wait_until(lambda: metric(address, "live_rows") + metric(address, "queue_length") == 0)
        assert metric(address, "sentences_total") == decoded


def break_bundle(models: Path, directory: Path) -> Path:
    shutil.copytree(models, directory)
    (directory / "tiny" / "encoder.fp32.onnx").write_bytes(b"not a graph")
    return directory


def refused_start(models: Path, *options: str, **environment: str) -> str:
    """The one line that a process says which does not start."""
    done = subprocess.run(
        command(models, *options),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    return line


def test_a_broken_bundle_stops_the_start_with_one_line(models: Path, tmp_path: Path) -> None:
    line = refused_start(break_bundle(models, tmp_path / "models"))
    assert line.startswith("interlinear: error: ")
    assert "encoder.fp32.onnx" in line


def test_a_wrong_setting_stops_the_start_with_one_line(models: Path) -> None:
    line = refused_start(models, INTERLINEAR_MAX_QUEUE="none")
    assert line.startswith("interlinear: error: INTERLINEAR_MAX_QUEUE: ")


def test_an_address_in_use_stops_the_start(models: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refused_start(models, "--port", port)
    assert line == f"interlinear: error: cannot listen on 127.0.0.1, port {port}: Address already in use"


def test_a_name_that_is_none_stops_the_start(models: Path) -> None:
    line = refused_start(models, "--host", "a..b")
    assert line == "interlinear: error: cannot listen on a..b, port 0: not a host name"


def test_an_app_on_a_broken_bundle_does_not_start(models: Path, tmp_path: Path) -> None:
    broken = break_bundle(models, tmp_path / "models")
    with pytest.raises(BundleError, match=r"encoder\.fp32\.onnx"):
        load_models(tiny_settings(broken))


def test_a_directory_without_bundles_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "no-bundle").mkdir()
    with pytest.raises(ConfigurationError, match="no model bundle"):
        find_bundles(tiny_settings(tmp_path))


def test_two_bundles_of_one_name_are_an_error(tmp_path: Path) -> None:
    write_bundle(tmp_path / "one")
    write_bundle(tmp_path / "two")
    with pytest.raises(ConfigurationError, match="two models have the name tiny"):
        load_models(tiny_settings(tmp_path))


def test_several_bundles_are_served_side_by_side(tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other")
    manifest = make_manifest() | {"name": "other", "source_language": "fr", "target_language": "en"}
    write_manifest(other, manifest)
    with running_app(tmp_path) as (client, _):
        assert [model["name"] for model in client.get("/models").json()["models"]] == ["other", "tiny"]
        answer = client.post("/translate", json={"text": "a", "source_language": "fr", "max_decoding_length": 3})
        assert answer.json()["model"] == "other"
