"""What clients see when the service is in trouble: too much work, a failing model, a defect."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.service.api_client import MARKER, PATIENCE_S, check_problem, running_app


def test_a_full_queue_answers_at_once_with_retry_after(tmp_path: Path) -> None:
    with running_app(tmp_path, max_queue=1, max_queue_wait_s=60) as (client, backend), ThreadPoolExecutor(2) as clients:
        backend.hold()
        first = clients.submit(client.post, "/translate", json={"text": "a cat"})
        assert backend.held.wait(PATIENCE_S)
        second = clients.submit(client.post, "/translate", json={"text": "a dog"})
        engine = client.app.state.service.models.engines["tiny"]  # type: ignore[attr-defined]
        deadline = time.monotonic() + PATIENCE_S
        while engine.queue_length == 0:
            assert time.monotonic() < deadline
        answer = client.post("/translate", json={"text": MARKER})
        check_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        backend.release()
        assert first.result().status_code == second.result().status_code == 200


def test_waiting_too_long_answers_503(tmp_path: Path) -> None:
    with running_app(tmp_path, max_queue_wait_s=0.05) as (client, backend), ThreadPoolExecutor(1) as clients:
        backend.hold()
        first = clients.submit(client.post, "/translate", json={"text": "a cat"})
        assert backend.held.wait(PATIENCE_S)
        check_problem(client.post("/translate", json={"text": "a dog"}), 503, "overloaded")
        backend.release()
        assert first.result().status_code == 200


def test_a_request_of_more_sentences_than_can_wait_is_too_long(tmp_path: Path) -> None:
    with running_app(tmp_path, max_queue=2) as (client, _):
        answer = client.post("/translate", json={"text": "One. Two. Three."})
        check_problem(answer, 413, "text-too-long", "text")


def test_a_failing_model_says_nothing_of_itself_and_the_service_lives_on(tmp_path: Path) -> None:
    with running_app(tmp_path) as (client, backend):
        backend.broken = True
        answer = client.post("/translate", json={"text": ["a cat", "a dog"]})
        assert "secret" not in check_problem(answer, 500, "decoding-failed")["detail"]
        backend.broken = False
        assert client.post("/translate", json={"text": "a cat"}).status_code == 200


def test_a_defect_says_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError(MARKER)

    monkeypatch.setattr("service.api.answers.translation_answer", fail)
    with running_app(tmp_path) as (client, _):
        check_problem(client.post("/translate", json={"text": "a cat"}), 500, "internal-error")
        assert 'interlinear_problems_total{problem="internal-error"} 1.0' in client.get("/metrics").text
