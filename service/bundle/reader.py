"""From a directory to a verified bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.bundle.manifest import FORMAT_VERSION, MANIFEST_FILE, Manifest, PrecisionVariant
from service.bundle.tokenizer import Tokenizer
from service.bundle.verification import verify_files, verify_manifest, verify_tokenizer
from service.errors import BundleError


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle; its graphs are verified when they are loaded."""

    path: Path
    manifest: Manifest
    tokenizer: Tokenizer

    def variant(self, precision: str) -> PrecisionVariant:
        """The graphs of one precision.

        Raises:
            BundleError: the bundle has no such precision; names those it has.
        """
        variants = self.manifest.precisions
        if precision not in variants:
            problem = f"has no {precision!r}; it has {', '.join(sorted(variants))}"
            raise BundleError(str(self.path / MANIFEST_FILE), "precisions", problem)
        return variants[precision]


def read_bundle(path: Path) -> Bundle:
    """Reads and verifies a bundle.

    Raises:
        BundleError: naming the file, with its path, and the field.
    """
    try:
        manifest = _read_manifest(path)
        verify_manifest(manifest)
        verify_files(path, manifest)
        tokenizer = Tokenizer.from_file(path / manifest.tokenizer.file)
        verify_tokenizer(manifest, tokenizer)
    except BundleError as error:
        raise BundleError(str(path / error.file), error.field, error.problem) from error
    return Bundle(path=path, manifest=manifest, tokenizer=tokenizer)


def parse_manifest(content: bytes) -> Manifest:
    """Parses a manifest; the format version is looked at first, since all else depends on it.

    Raises:
        BundleError: naming the field.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(MANIFEST_FILE, "content", "is not valid JSON") from error
    if not isinstance(values, dict):
        raise BundleError(MANIFEST_FILE, "content", "must be a JSON object")
    version = values.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        problem = f"is {json.dumps(version)[:40]}; this version of the service reads {FORMAT_VERSION}"
        raise BundleError(MANIFEST_FILE, "format_version", problem)
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise BundleError(MANIFEST_FILE, field, first["msg"]) from error


def _read_manifest(path: Path) -> Manifest:
    try:
        content = (path / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise BundleError(MANIFEST_FILE, "file", f"cannot be read: {error.strerror}") from error
    return parse_manifest(content)
