"""Clients of a real app on a tiny bundle, with a backend that tests can hold up or break."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from service.api.align_schemas import AlignResponse
from service.api.schemas import ProblemModel
from service.bundle.reader import read_bundle
from service.decoding.backend import DecoderRows, StepOutput
from service.domain import IntArray
from service.main import create_app
from service.onnx_backend import BackendOptions, load_backend
from service.settings import Settings
from tests.service.tiny_bundle import write_bundle

PATIENCE_S = 10.0
MARKER = "pr1vate"
"""What tests send where it must not come back."""


class ControlledBackend:
    """The tiny bundle's own backend; `hold()` stops it before the next step, `broken` makes it fail."""

    def __init__(self, bundle: Path) -> None:
        self._backend = load_backend(read_bundle(bundle), BackendOptions("cpu"))
        self._open = threading.Event()
        self._open.set()
        self.held = threading.Event()
        self.broken = False
        self.steps = 0

    @property
    def vocabulary_size(self) -> int:
        return self._backend.vocabulary_size

    def hold(self) -> None:
        self.held.clear()
        self._open.clear()

    def release(self) -> None:
        self._open.set()

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        return self._backend.encode(source_ids, source_lengths)

    def decode_step(self, *arguments: Any) -> StepOutput:
        self.steps += 1
        if not self._open.is_set():
            self.held.set()
            self._open.wait(PATIENCE_S)
        if self.broken:
            raise ValueError("a secret of the backend")
        return self._backend.decode_step(*arguments)


def tiny_settings(models: Path, **values: Any) -> Settings:
    """Settings that serve the bundles in `models` alone."""
    values = {"threads": 1} | values  # so that tests can say what shares a batch and what waits
    return Settings(models_dir=models, built_in_models=False, **values)


@contextmanager
def running_app(
    directory: Path, write: Callable[[Path], Path] = write_bundle, **values: Any
) -> Iterator[tuple[TestClient, ControlledBackend]]:
    """A started app on a tiny bundle that `write` writes into `directory`; `values` are settings."""
    backend = ControlledBackend(write(directory / "tiny"))
    app = create_app(tiny_settings(directory, **values), backend)
    with TestClient(app, raise_server_exceptions=False) as client:
        try:
            yield client, backend
        finally:
            backend.release()


def check_problem(answer: Any, status: int, name: str, field: str | None = None) -> dict[str, Any]:
    """Checks that an answer is a problem of this kind that repeats nothing, and gives its JSON."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = ProblemModel.model_validate_json(answer.content)
    assert (problem.status, problem.type, problem.field) == (status, f"urn:interlinear:problem:{name}", field)
    assert MARKER not in answer.text
    assert "Traceback" not in answer.text
    return answer.json()  # type: ignore[no-any-return]


def align(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    """The pairs that come back, whose form is checked."""
    answer = client.post("/align", json=body)
    assert answer.status_code == 200, answer.text
    AlignResponse.model_validate_json(answer.content)
    return answer.json()["pairs"]  # type: ignore[no-any-return]
