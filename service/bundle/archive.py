"""Bundle archives (.tar.gz, .zip): unpacked without trust in what they say of themselves.

An archive holds the files of one bundle, either at its top or in one directory, and nothing else. Names that lead
elsewhere, links, devices, and more or larger files than any bundle has are refused before they are written.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from service.bundle.manifest import MANIFEST_FILE
from service.errors import BundleError

MAX_FILES: Final = 64
"""A bundle has two graphs for each precision, and four other files."""

MAX_UNPACKED_BYTES: Final = 2 << 30
"""Some hundred times what the largest models of this kind have."""

_CHUNK_BYTES: Final = 1 << 20
_MAX_READ_BYTES: Final = 1 << 24  # more at once is asked for by nothing but headers that pretend to be long
_NAME: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?(?P<file>[A-Za-z0-9][A-Za-z0-9._-]*)\Z")
_DIRECTORY: Final = re.compile(r"(?:\./|[A-Za-z0-9][A-Za-z0-9._-]*/)?\Z")

_UNREADABLE: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(NotImplementedError, ValueError),  # compressed or encoded in ways of their own
)


class _Member:
    """A file of an archive: where it stands there, how large it is said to be, and its content."""

    def __init__(self, name: str, size: int, content: IO[bytes]) -> None:
        self.name = name
        self.size = size
        self.content = content


class _BoundedGzip(gzip.GzipFile):
    """Gives up on archives that expand without end, and on headers that would be read into memory as a whole."""

    def read(self, size: int | None = -1) -> bytes:
        """Reads up to `size` bytes."""
        if size is None or not 0 <= size <= _MAX_READ_BYTES or self.tell() > MAX_UNPACKED_BYTES + _MAX_READ_BYTES:
            raise BundleError("archive", "size", "is not that of a bundle when unpacked")
        return super().read(size)


def unpack_archive(archive: Path, destination: Path) -> None:
    """Writes the files of an archive into a directory that exists and is empty.

    Raises:
        BundleError: it is no archive, is damaged, or holds anything but the files of one bundle; `file` is a name in
            the archive, or `archive`. What was written until then stays.
    """
    total, seen, parents = 0, set[str](), set[str]()
    try:
        for member in _members(archive):
            match = _NAME.match(member.name)
            if match is None:
                raise BundleError("archive", "names", f"{member.name[:80]!r} cannot be a file of a bundle")
            name = match["file"]
            parents.add(member.name.removesuffix(name))
            if name.casefold() in seen or len(parents) > 1:
                raise BundleError(name, "file", "is in the archive twice, or not in the directory of the others")
            seen.add(name.casefold())
            total += member.size
            if len(seen) > MAX_FILES or total > MAX_UNPACKED_BYTES:
                limits = f"{MAX_FILES} files and {MAX_UNPACKED_BYTES >> 20} MB when unpacked"
                raise BundleError("archive", "size", f"has more than {limits}, which no bundle has")
            _write(member, destination / name)
    except _UNREADABLE as error:
        raise BundleError(
            "archive", "content", f"cannot be unpacked: {str(error)[:200] or type(error).__name__}"
        ) from None
    if MANIFEST_FILE.casefold() not in seen:
        raise BundleError(MANIFEST_FILE, "file", "is missing: this is no bundle")


def _write(member: _Member, path: Path) -> None:
    left = member.size
    with path.open("xb") as file:
        while chunk := member.content.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            file.write(chunk)
    if left:
        raise BundleError(path.name, "size", "is not what the archive says")


def _members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"\x1f\x8b"):
        return _tar_members(archive)
    if start.startswith(b"PK"):
        return _zip_members(archive)
    raise BundleError("archive", "content", "is neither a .tar.gz nor a .zip file")


def _tar_members(archive: Path) -> Iterator[_Member]:
    with _BoundedGzip(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as tar:
        directories = 0
        for entry in tar:
            if entry.isdir() and _DIRECTORY.match(entry.name.rstrip("/") + "/"):
                directories += 1
                if directories > MAX_FILES:
                    raise BundleError("archive", "names", "holds too many directories")
                continue
            content = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
            if content is None:
                raise BundleError("archive", "names", f"{entry.name[:80]!r} is a link or no ordinary file")
            yield _Member(entry.name.removeprefix("./"), entry.size, content)
        while unpacked.read(_CHUNK_BYTES):  # to the end, where the checksum stands: a broken name looks like the end
            pass


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)
            is_directory = entry.filename.endswith("/")
            if is_directory and _DIRECTORY.match(entry.filename):
                continue
            if is_directory or kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
                raise BundleError(
                    "archive", "names", f"{entry.filename[:80]!r} is a link, encrypted or no ordinary file"
                )
            with packed.open(entry) as content:
                yield _Member(entry.filename, entry.file_size, content)
