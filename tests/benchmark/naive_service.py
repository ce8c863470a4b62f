"""The alternative that the HTTP benchmark compares with: one request, one batch-of-one greedy loop.

What one gets by putting the same two graphs behind FastAPI the obvious way: the same tokenizer and the same sessions,
a thread per request, no batching across requests, the token matrix as the only alignment.
"""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.bundle.reader import read_bundle
from service.onnx_backend import BackendOptions, load_backend
from service.threads import usable_cpus
from tests.benchmark.naive import translate_naively
from tests.benchmark.sides.catalogue import BUILT_IN_BUNDLE

MAX_LENGTH = 100


def create_app() -> FastAPI:
    """The whole service."""
    bundle = read_bundle(BUILT_IN_BUNDLE)
    backend = load_backend(bundle, BackendOptions("cpu", None, usable_cpus()))
    tokenizer = bundle.tokenizer
    app = FastAPI()

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/translate")
    def translate(body: dict[str, Any]) -> dict[str, Any]:
        source_ids = [*tokenizer.encode_ids(body["text"]), tokenizer.eos_id]
        translation = translate_naively(backend, source_ids, bundle.manifest.special_ids, MAX_LENGTH)
        attention = [[round(float(weight), 4) for weight in row] for row in translation.attention]
        return {"text": tokenizer.decode(translation.target_ids).text, "alignment": attention}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), port=int(os.environ["INTERLINEAR_PORT"]), log_level="warning")
