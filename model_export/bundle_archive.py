"""Bundle archives: a bundle as one file, with its checksum beside it, as `interlinear models install` takes them."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Final

from model_export.errors import ConfigError
from service.bundle.manifest import MANIFEST_FILE
from service.bundle.reader import read_bundle
from service.bundle.verification import fingerprint
from service.model_installation import CHECKSUM_SUFFIX

TAR_SUFFIXES: Final = (".tar.gz", ".tgz")
ZIP_SUFFIX: Final = ".zip"
_EARLIEST_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)


def run_archive(arguments: Namespace) -> None:
    """`interlinear-export archive`: packs a bundle, and prints what to install."""
    checksum = write_archive(arguments.bundle, arguments.output)
    print(f"wrote {arguments.output} (SHA-256 {checksum}) and {arguments.output}{CHECKSUM_SUFFIX}")


def check_archive_name(path: Path) -> None:
    """Checks that the name says what kind of archive is wanted.

    Raises:
        ConfigError: it does not.
    """
    if not path.name.endswith((*TAR_SUFFIXES, ZIP_SUFFIX)):
        raise ConfigError(f"{path}: an archive's name must end in .tar.gz, .tgz or .zip")


def write_archive(bundle: Path, path: Path) -> str:
    """Packs a bundle's files into a directory of its name; the same bundle always gives the same bytes.

    Args:
        bundle: its directory.
        path: the archive; a file `<path>.sha256` is written beside it, as `sha256sum` writes it.

    Returns:
        The archive's SHA-256.

    Raises:
        BundleError: there is no valid bundle.
        ConfigError: the archive's name says nothing of its kind.
    """
    check_archive_name(path)
    manifest = read_bundle(bundle).manifest
    files = [bundle / name for name in sorted([MANIFEST_FILE, *manifest.files])]
    staging = path.with_name(f".{path.name}.part")
    try:
        write = _write_zip if path.name.endswith(ZIP_SUFFIX) else _write_tar
        write(manifest.name, files, staging)
        checksum = fingerprint(staging).sha256
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
    Path(f"{path}{CHECKSUM_SUFFIX}").write_text(f"{checksum}  {path.name}\n", encoding="utf-8")
    return checksum


def _write_tar(name: str, files: list[Path], path: Path) -> None:
    with (
        path.open("wb") as packed,
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for file in files:
            entry = tarfile.TarInfo(f"{name}/{file.name}")
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                tar.addfile(entry, content)


def _write_zip(name: str, files: list[Path], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for file in files:
            entry = zipfile.ZipInfo(f"{name}/{file.name}", _EARLIEST_ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes())
