"""Where made models are kept, and when they have to be made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmark.machine import ROOT

MAKERS = {
    "bundle": "tests.benchmark.models.random_bundle",
    "saved_model": "tests.benchmark.models.saved_model",
    "transformer": "tests.benchmark.models.random_transformer",
}
SOURCES = ("model_export", "service/bundle", "tests/benchmark/models")


def default_cache() -> Path:
    """The user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interlinear-benchmark"


def make_once(cache: Path, kind: str, options: Mapping[str, Any]) -> Path:
    """The directory of a model; it is made, in a process of its own, unless it is there.

    Args:
        cache: for all models.
        kind: one of `MAKERS`. Its module is run with the options in JSON and an empty directory to write to.
        options: all that the model depends on, besides the code of this repository.

    Raises:
        CalledProcessError: the making failed; it has said why.
    """
    directory = cache / f"{kind}-{_key(options)}"
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        staging = cache / f".{directory.name}.{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        print(f"making {kind} {dict(options)}", file=sys.stderr)
        command = [sys.executable, "-m", MAKERS[kind], json.dumps(dict(options)), str(staging)]
        environment = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
        try:
            subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdout=sys.stderr, check=True)
            staging.rename(directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return directory


def _key(options: Mapping[str, Any]) -> str:
    """Changes with the options, and with the code that makes models."""
    digest = hashlib.sha256(json.dumps(dict(options), sort_keys=True).encode())
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
