"""The alternative that the HTTP benchmark compares with: one request, one batch-of-one greedy loop.

What one gets by putting the same two graphs behind FastAPI the obvious way: the same tokenizer and the same sessions,
a thread per request, no batching across requests, the token matrix as the only alignment.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from service.bundle.reader import read_bundle
from service.onnx_backend import BackendOptions, load_backend
from service.threads import usable_cpus

BUNDLE = Path(__file__).parents[2] / "service" / "models" / "eng-fra"
MAX_LENGTH = 100


def create_app() -> FastAPI:
    """The whole service."""
    bundle = read_bundle(BUNDLE)
    backend = load_backend(bundle, BackendOptions("cpu", None, usable_cpus()))
    tokenizer = bundle.tokenizer
    app = FastAPI()

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/translate")
    def translate(body: dict[str, Any]) -> dict[str, Any]:
        source_ids = [*tokenizer.encode_ids(body["text"]), tokenizer.eos_id]
        rows = backend.encode(np.array([source_ids], dtype=np.int32), np.array([len(source_ids)], dtype=np.int32))
        token = np.array([tokenizer.bos_id], dtype=np.int32)
        target_ids: list[int] = []
        attention: list[list[float]] = []
        while len(target_ids) < MAX_LENGTH and token[0] != tokenizer.eos_id:
            output = backend.decode_step(token, rows, token, 1)
            rows = replace(rows, state=output.state)
            token = output.candidate_ids[:, 0]
            target_ids.append(int(token[0]))
            attention.append([round(float(weight), 4) for weight in output.attention_weights[0, 0]])
        return {"text": tokenizer.decode(target_ids).text, "alignment": attention}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), port=int(os.environ["INTERLINEAR_PORT"]), log_level="warning")
