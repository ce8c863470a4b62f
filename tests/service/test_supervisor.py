"""Several processes behind one address: work shared, counts added up, deaths survived, no process left behind."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import httpx2
import pytest

from tests.service.service_process import (
    PATIENCE_S,
    metric,
    refused_start,
    serving,
    wait_until,
)
from tests.service.tiny_bundle import write_bundle


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


def test_a_process_that_dies_is_replaced_and_others_serve_meanwhile(models: Path) -> None:
    with serving(models, "--processes", "2") as (process, address):
        first, second = children(process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: is_gone(first))
        assert [translate(address) for _ in range(10)] == [200] * 10
        wait_until(lambda: len(set(children(process.pid)) - {first}) == 2)
        assert second in children(process.pid)
        wait_until(lambda: metric(address, "sentences_total") >= 2 + 10 + 2)  # the new one has warmed up
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
