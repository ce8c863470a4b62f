"""Puts model bundles into the directory that they are served from: verified first, whole or not at all."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.bundle.archive import MAX_UNPACKED_BYTES, unpack_archive
from service.bundle.manifest import MANIFEST_FILE
from service.bundle.reader import Bundle, read_bundle
from service.errors import BundleError, InstallationError
from service.model_download import download, is_url

CHECKSUM_SUFFIX: Final = ".sha256"

_MAX_CHECKSUM_BYTES: Final = 1 << 12
_CHECKSUM: Final = re.compile(r"\s*([0-9a-fA-F]{64})(?:\s|\Z)")  # as sha256sum writes it, or alone
_STAGING_PREFIX: Final = ".install-"


@dataclass(frozen=True, slots=True)
class InstallationOptions:
    """How a bundle is installed.

    Attributes:
        sha256: what the archive's SHA-256 must be, as hexadecimal; None looks for it beside the archive.
        replace: whether an installed model of the same name gives way.
        show_progress: whether to draw a bar while something is downloaded.
        check_graphs: checks the bundle's graphs; raises what is wrong with them.
    """

    sha256: str | None = None
    replace: bool = False
    show_progress: bool = False
    check_graphs: Callable[[Bundle], None] | None = None


def install_bundle(source: str, models_dir: Path, installed: Iterable[Path], options: InstallationOptions) -> Bundle:
    """Installs a bundle from an archive.

    Args:
        source: a file, or a URL.
        models_dir: the directory that gets it, under the model's name.
        installed: the directories of all bundles that are served so far.
        options: how.

    Returns:
        The bundle in its place.

    Raises:
        InstallationError: it cannot be had, is not what the checksum says, or its name is taken.
        BundleError: it is no bundle that could be served; names the archive, the file in it and the field.
    """
    wanted = _parse_checksum(options.sha256, "--sha256") if options.sha256 is not None else None
    with _staging_directory(models_dir) as staging:
        archive = staging / "archive"
        wanted = _fetch(source, archive, wanted, options) if is_url(source) else wanted or _checksum_beside(source)
        path = archive if is_url(source) else Path(source)
        _verify_checksum(source, path, wanted)
        bundle = _unpack(source, path, staging / "bundle", options)
        destination = models_dir / bundle.manifest.name
        _check_name(bundle.manifest.name, destination, installed, options.replace)
        _move_into_place(bundle.path, destination, staging / "replaced")
    return Bundle(destination, bundle.manifest, bundle.tokenizer)


@contextmanager
def _staging_directory(models_dir: Path) -> Iterator[Path]:
    """A directory in the same file system; a service that starts meanwhile sees no bundle in it."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=models_dir))
    except OSError as error:
        raise InstallationError(f"{models_dir}: cannot be written to: {error.strerror}") from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetch(url: str, archive: Path, wanted: str | None, options: InstallationOptions) -> str:
    """Downloads the archive, and its checksum before it unless that is known; returns the checksum."""
    if wanted is None:
        beside = url + CHECKSUM_SUFFIX
        path = archive.with_suffix(CHECKSUM_SUFFIX)
        if not download(beside, path, _MAX_CHECKSUM_BYTES):
            raise InstallationError(f"{url}: has no {CHECKSUM_SUFFIX} file beside it; give its checksum with --sha256")
        wanted = _parse_checksum(path.read_text(encoding="utf-8", errors="replace"), beside)
    if not download(url, archive, MAX_UNPACKED_BYTES, options.show_progress):
        raise InstallationError(f"{url}: there is nothing")
    return wanted


def _checksum_beside(source: str) -> str | None:
    path = Path(source + CHECKSUM_SUFFIX)
    if not path.is_file():
        return None  # the bundle's own checksums tell whether the file is damaged
    with path.open("rb") as file:
        return _parse_checksum(file.read(_MAX_CHECKSUM_BYTES).decode("utf-8", "replace"), str(path))


def _parse_checksum(text: str, place: str) -> str:
    match = _CHECKSUM.match(text)
    if match is None:
        raise InstallationError(f"{place}: is no SHA-256 checksum, which has 64 hexadecimal digits")
    return match[1].lower()


def _verify_checksum(source: str, path: Path, wanted: str | None) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InstallationError(f"{source}: cannot be read: {error.strerror}") from None
    if wanted is not None and found != wanted:
        raise InstallationError(f"{source}: its SHA-256 is {found}; it should be {wanted}")


def _unpack(source: str, archive: Path, directory: Path, options: InstallationOptions) -> Bundle:
    """Unpacks and verifies; nothing of an archive is used before that."""
    directory.mkdir()
    try:
        unpack_archive(archive, directory)
        bundle = read_bundle(directory)
        unlisted = {path.name for path in directory.iterdir()} - {MANIFEST_FILE, *bundle.manifest.files}
        if unlisted:
            raise BundleError(min(unlisted), "file", f"is not listed in {MANIFEST_FILE}")
        if options.check_graphs is not None:
            options.check_graphs(bundle)
    except BundleError as error:
        name = Path(error.file).name
        raise BundleError(source if name == "archive" else f"{source}: {name}", error.field, error.problem) from None
    return bundle


def _check_name(name: str, destination: Path, installed: Iterable[Path], replace: bool) -> None:
    for path in installed:
        if path.resolve() != destination.resolve() and _served_name(path) == name:
            raise InstallationError(f"there is a model named {name} in {path}; names must be unique")
    if destination.exists() and not (replace and (destination / MANIFEST_FILE).is_file()):
        hint = "--force replaces it" if (destination / MANIFEST_FILE).is_file() else "it is no bundle"
        raise InstallationError(f"{destination} is there already; {hint}")


def _served_name(path: Path) -> str | None:
    try:
        return read_bundle(path).manifest.name
    except BundleError:  # the service would not start on it; that is for its start, and for `list`, to say
        return None


def _move_into_place(bundle: Path, destination: Path, replaced: Path) -> None:
    """Renames, so that nobody sees half a bundle; what is replaced comes back if that fails."""
    try:
        if destination.exists():
            destination.rename(replaced)
        try:
            bundle.rename(destination)
        except OSError:
            if replaced.exists():
                replaced.rename(destination)
            raise
    except OSError as error:
        raise InstallationError(f"{destination}: cannot be written: {error.strerror}") from None
