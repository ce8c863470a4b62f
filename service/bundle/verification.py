"""Whether the parts of a bundle agree: manifest with itself, with the files, with the tokenizer.

Whether the graphs agree with the manifest is checked where they are loaded, in `service.onnx_backend`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from service.bundle.manifest import MANIFEST_FILE, FileEntry, Manifest
from service.bundle.normalization import NORMALIZATION
from service.bundle.tensor_contract import verify_tensors
from service.bundle.tokenizer import Tokenizer
from service.errors import BundleError


def fingerprint(path: Path) -> FileEntry:
    """A file's entry in the manifest.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(sha256=digest, size=path.stat().st_size)


def verify_manifest(manifest: Manifest) -> None:
    """Checks that the manifest agrees with itself and with this version of the service.

    Raises:
        BundleError: naming the field.
    """
    _verify_special_ids(manifest)
    _verify_references(manifest)
    _verify_primary_mechanism(manifest)
    _verify_lengths(manifest)
    verify_tensors(manifest)
    found = manifest.tokenizer.normalization
    if found != NORMALIZATION:
        problem = f"the model was trained with {found!r}, this version of the service has {NORMALIZATION!r}"
        raise BundleError(MANIFEST_FILE, "tokenizer.normalization", problem)


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Checks that every listed file is there and unchanged.

    Raises:
        BundleError: naming the file, and which of its properties is wrong.
    """
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise BundleError(name, "file", f"is listed in {MANIFEST_FILE} and missing")
        try:
            found = fingerprint(path)
        except OSError as error:
            raise BundleError(name, "file", f"cannot be read: {error.strerror}") from error
        if found.size != expected.size:
            raise BundleError(name, "size", f"is {found.size} bytes; {MANIFEST_FILE} says {expected.size}")
        if found.sha256 != expected.sha256:
            raise BundleError(name, "sha256", f"is {found.sha256}; {MANIFEST_FILE} says {expected.sha256}")


def verify_tokenizer(manifest: Manifest, tokenizer: Tokenizer) -> None:
    """Checks that the tokenizer is the one that the manifest describes.

    Raises:
        BundleError: naming the tokenizer file and the field of the manifest it contradicts.
    """
    declared = manifest.tokenizer
    if tokenizer.vocabulary_size != declared.vocabulary_size:
        problem = f"is {tokenizer.vocabulary_size}; {MANIFEST_FILE} says {declared.vocabulary_size}"
        raise BundleError(declared.file, "tokenizer.vocabulary_size", problem)
    found = {"pad": tokenizer.pad_id, "bos": tokenizer.bos_id, "eos": tokenizer.eos_id, "unk": tokenizer.unk_id}
    for token, expected in declared.special_ids.model_dump().items():
        if found[token] != expected:
            problem = f"is {found[token]}; {MANIFEST_FILE} says {expected}"
            raise BundleError(declared.file, f"tokenizer.special_ids.{token}", problem)


def _verify_special_ids(manifest: Manifest) -> None:
    size = manifest.tokenizer.vocabulary_size
    ids = manifest.tokenizer.special_ids.model_dump()
    for token, token_id in ids.items():
        if token_id >= size:
            problem = f"is {token_id}, outside a vocabulary of {size}"
            raise BundleError(MANIFEST_FILE, f"tokenizer.special_ids.{token}", problem)
    if len(set(ids.values())) < len(ids):
        raise BundleError(MANIFEST_FILE, "tokenizer.special_ids", f"must all be different; got {ids}")
    if size <= len(ids):
        raise BundleError(MANIFEST_FILE, "tokenizer.vocabulary_size", "leaves no token besides the special ones")


def _verify_references(manifest: Manifest) -> None:
    references = {"tokenizer.file": manifest.tokenizer.file}
    for precision, variant in manifest.precisions.items():
        references[f"precisions.{precision}.encoder"] = variant.encoder
        references[f"precisions.{precision}.decoder_step"] = variant.decoder_step
    for field, name in references.items():
        if name not in manifest.files:
            raise BundleError(MANIFEST_FILE, field, f"names {name}, which `files` does not list")


def _verify_primary_mechanism(manifest: Manifest) -> None:
    primary = manifest.attention_mechanisms[0]
    if primary.normalized != manifest.normalized:
        found, said = (str(value).lower() for value in (primary.normalized, manifest.normalized))
        problem = f"is {found}, and `normalized`, which is about the same mechanism, {said}"
        raise BundleError(MANIFEST_FILE, "mechanisms.0.normalized", problem)
    named = manifest.architecture.get("attention_mechanism", primary.name)
    if primary.name != named:
        problem = f"is {primary.name}, and `architecture.attention_mechanism`, which is the same mechanism, {named}"
        raise BundleError(MANIFEST_FILE, "mechanisms.0.name", problem)


def _verify_lengths(manifest: Manifest) -> None:
    preferred, most = manifest.preferred_source_tokens, manifest.max_source_tokens
    if preferred is not None and preferred > most:
        raise BundleError(MANIFEST_FILE, "preferred_source_tokens", f"is {preferred}; max_source_tokens is {most}")
