"""How much time is spent inside onnxruntime: the rest of a decoding step is Python, search and copies of arrays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import onnxruntime

RUN_METHODS = ("run", "run_with_iobinding", "run_with_ort_values")
ENCODER_INPUT = "source_ids"


class RuntimeClock:
    """Adds up the time of every session's runs in this process, that of encoders and of decoder steps apart."""

    def __init__(self) -> None:
        self.encoder_s = 0.0
        self.step_s = 0.0
        self.calls = 0
        self._encoders: dict[int, bool] = {}
        for name in RUN_METHODS:
            setattr(onnxruntime.InferenceSession, name, self._timed(getattr(onnxruntime.InferenceSession, name)))

    def reset(self) -> None:
        """Starts from nothing."""
        self.encoder_s = self.step_s = 0.0
        self.calls = 0

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(session: onnxruntime.InferenceSession, *arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(session, *arguments, **options)
            finally:
                self._count(session, time.perf_counter() - start)

        return run

    def _count(self, session: onnxruntime.InferenceSession, duration_s: float) -> None:
        key = id(session)
        if key not in self._encoders:
            self._encoders[key] = any(node.name == ENCODER_INPUT for node in session.get_inputs())
        self.calls += 1
        if self._encoders[key]:
            self.encoder_s += duration_s
        else:
            self.step_s += duration_s
