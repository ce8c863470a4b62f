"""Several processes behind one address: work shared, counts added up, deaths survived, no process left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.service.service_process import (
    PATIENCE_S,
    ROOT,
    command,
    metric,
    refused_start,
    serving,
    wait_until,
)
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

STOPS_WITHIN_S = 20  # a process that has not heard the signal would be killed later


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    write_bundle(directory / "tiny")
    return directory


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in found.split()]


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked about since (a zombie) has."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def translate(address: str) -> int:
    answer = httpx2.post(f"{address}/translate", json={"text": "the cat sat", "max_decoding_length": 5})
    return answer.status_code


def test_metrics_are_those_of_all_processes(models: Path) -> None:
    with serving(models, "--processes", "3") as (process, address):
        assert len(children(process.pid)) == 3
        before = metric(address, "sentences_total")
        assert before == 6  # each has warmed up with two
        assert [translate(address) for _ in range(20)] == [200] * 20
        assert metric(address, "sentences_total") == before + 20
        text = httpx2.get(f"{address}/metrics").text
        assert re.search(r'^interlinear_model_info{model="tiny",.*} 1.0$', text, re.MULTILINE)
        assert re.search(r'^interlinear_http_requests_total{.*route="/translate".*} 20.0$', text, re.MULTILINE)


def test_a_process_that_dies_is_replaced_and_others_serve_meanwhile(tmp_path: Path) -> None:
    write_bundle(tmp_path / "tiny")
    with serving(tmp_path, "--processes", "2") as (process, address):
        first, second = children(process.pid)
        assert metric(address, "sentences_total") == 4  # each has warmed up with two
        write_manifest(write_bundle(tmp_path / "later"), make_manifest() | {"name": "later"})
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: is_gone(first))
        assert [translate(address) for _ in range(10)] == [200] * 10
        assert metric(address, "sentences_total") == 4 + 10  # what the dead one counted does not vanish
        wait_until(lambda: len(set(children(process.pid)) - {first}) == 2)
        assert second in children(process.pid)
        wait_until(lambda: metric(address, "sentences_total") == 4 + 10 + 2)  # the new one has warmed up
        for _ in range(10):  # all serve what was there at the start
            assert len(httpx2.get(f"{address}/models").json()["models"]) == 1
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "ended with exit code -9; another takes its place" in log
        assert "Traceback" not in log


def test_no_process_outlives_the_supervisor(models: Path) -> None:
    with serving(models, "--processes", "2") as (process, _):
        members = children(process.pid)
        process.kill()
        process.wait(PATIENCE_S)
        for member in members:
            wait_until(lambda member=member: is_gone(member))  # type: ignore[misc]


def test_a_second_service_on_the_address_is_refused(models: Path) -> None:
    with serving(models, "--processes", "2") as (_, address):
        port = address.rpartition(":")[2]
        line = refused_start(models, "--port", port, "--processes", "2")
    assert line == f"interlinear: error: cannot listen on 127.0.0.1, port {port}: Address already in use"


def test_a_process_that_cannot_start_again_is_tried_again_and_others_serve(tmp_path: Path) -> None:
    encoder = write_bundle(tmp_path / "tiny") / "encoder.fp32.onnx"
    with serving(tmp_path, "--processes", "2") as (process, address):
        whole = encoder.read_bytes()
        encoder.write_bytes(b"not a graph")
        os.kill(children(process.pid)[0], signal.SIGKILL)
        lines = iter(process.stderr.readline, "")  # type: ignore[union-attr]
        assert "cannot start again: " in next(line for line in lines if "cannot start" in line)
        assert "exit code 1; another takes its place in 2 s" in next(
            line for line in lines if "takes its place" in line
        )
        assert translate(address) == 200
        encoder.write_bytes(whole)
        assert "ready" in next(line for line in lines if "service.main" in line)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_processes_are_started_ends_all_at_once(models: Path, ending: signal.Signals) -> None:
    with subprocess.Popen(command(models, "--processes", "4"), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: bool(children(process.pid)))
        process.send_signal(ending)
        _, log = process.communicate(timeout=STOPS_WITHIN_S)
        assert process.returncode == 0
        assert log.count("\n") == 1 + log.count(" model tiny") + log.count(" ready")
        assert f"stopping on {ending.name}" in log
