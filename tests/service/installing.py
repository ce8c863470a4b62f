"""Short ways to install models and to see what is there afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path

from model_export.bundle_archive import write_archive
from service.cli import main
from tests.service.tiny_bundle import write_bundle


def pack_tiny(directory: Path) -> Path:
    """An archive of a bundle named `tiny`, with its checksum beside it."""
    write_bundle(directory / "tiny")
    write_archive(directory / "tiny", directory / "tiny.tar.gz")
    return directory / "tiny.tar.gz"


def install(models: Path, source: object, *options: str) -> int:
    return main(["models", "install", str(source), "--models-dir", str(models), "--built-in-models", "false", *options])


def list_models(models: Path, built_in: str = "false") -> int:
    return main(["models", "list", "--models-dir", str(models), "--built-in-models", built_in])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_nothing_is_left(models: Path, *names: str) -> None:
    assert sorted(path.name for path in models.iterdir()) == sorted(names)
