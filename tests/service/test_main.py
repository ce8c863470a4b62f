"""The life of the serving process: start, refusal to start, signals, draining."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx2
import pytest

from service.discovery import find_bundles
from service.errors import BundleError, ConfigurationError
from service.loading import load_models
from tests.service.api_client import running_app, tiny_settings
from tests.service.service_process import (
    PATIENCE_S,
    break_bundle,
    metric,
    read_all,
    refused_start,
    send,
    send_request,
    serving,
    wait_until,
)
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

STREAM = "/translate/stream"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_bundle(directory / "tiny")
    return directory


def test_the_process_serves_and_ends_quietly_on_sigterm(models: Path) -> None:
    with serving(models) as (process, address):
        answer = httpx2.post(f"{address}/translate", json={"text": "the cat sat", "max_decoding_length": 5})
        assert answer.status_code == 200
        assert httpx2.get(f"{address}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "Traceback" not in log


@pytest.mark.parametrize("processes", ["1", "2"])
def test_accepted_requests_are_answered_after_sigterm(models: Path, processes: str) -> None:
    with serving(models, "--processes", processes) as (process, address):
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
    one_by_one = ["--processes", "1", "--max-live-rows", "1"]  # so that it takes much longer than that
    with serving(models, "--shutdown-timeout-s", "1", *one_by_one) as (process, address):
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


def test_a_bundle_in_place_of_the_directory_that_holds_it_is_an_error(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "tiny")
    with pytest.raises(ConfigurationError, match="tiny is a bundle itself; name the directory that holds it"):
        find_bundles(tiny_settings(bundle))


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
