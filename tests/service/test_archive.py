"""Archives that hold a bundle are unpacked; archives that pretend to are refused, before anything leaves its place."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from service.bundle import archive
from service.bundle.archive import unpack_archive
from service.errors import BundleError

FILES = {"manifest.json": b"{}", "tokenizer.model": b"abc" * 1000}


def tar_gz(path: Path, *entries: tarfile.TarInfo, files: dict[str, bytes] = FILES) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def zipped(path: Path, *entries: zipfile.ZipInfo, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
        for entry in entries:
            packed.writestr(entry, b"x")
    return path


def unpacked(source: Path) -> dict[str, bytes]:
    directory = source.with_name("unpacked")
    directory.mkdir()
    unpack_archive(source, directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refused(source: Path) -> BundleError:
    """The error; nothing is written but into the directory, and no link."""
    before = set(source.parent.rglob("*"))
    with pytest.raises(BundleError) as caught:
        unpacked(source)
    after = set(source.parent.rglob("*")) - before
    assert all(path.is_relative_to(source.with_name("unpacked")) and not path.is_symlink() for path in after)
    return caught.value


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize("directory", ["", "eng-spa/", "./", "./eng-spa/"])
def test_files_come_out_as_they_went_in(tmp_path: Path, pack: Callable[..., Path], directory: str) -> None:
    if pack is zipped and directory.startswith("./"):
        directory = directory.removeprefix("./")
    files = {directory + name: content for name, content in FILES.items()}
    assert unpacked(pack(tmp_path / "archive", files=files)) == FILES


def test_directory_entries_are_taken(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("eng-spa")
    entry.type = tarfile.DIRTYPE
    files = {f"eng-spa/{name}": content for name, content in FILES.items()}
    assert unpacked(tar_gz(tmp_path / "archive", entry, files=files)) == FILES


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "a/../../evil", "a/b/evil", "a/../evil", ".hidden", "a\\..\\evil", "..", "C:evil"],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, pack: Callable[..., Path], name: str) -> None:
    assert refused(pack(tmp_path / "archive", files={**FILES, name: b"evil"})).field == "names"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("encoder.onnx")
    entry.type, entry.linkname = kind, "/etc/passwd"
    assert "link" in refused(tar_gz(tmp_path / "archive", entry)).problem


def test_a_directory_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("../evil")
    entry.type = tarfile.DIRTYPE
    assert refused(tar_gz(tmp_path / "archive", entry)).field == "names"


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("encoder.onnx")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "link" in refused(zipped(tmp_path / "archive", entry)).problem


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_a_name_twice_is_refused_whatever_its_case(tmp_path: Path, pack: Callable[..., Path]) -> None:
    assert "twice" in refused(pack(tmp_path / "archive", files={**FILES, "MANIFEST.json": b""})).problem


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_files_of_several_directories_are_refused(tmp_path: Path, pack: Callable[..., Path]) -> None:
    files = {"a/manifest.json": b"{}", "b/tokenizer.model": b""}
    assert "directory" in refused(pack(tmp_path / "archive", files=files)).problem


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_too_many_files_are_refused(tmp_path: Path, pack: Callable[..., Path]) -> None:
    files = FILES | {f"file{number}": b"" for number in range(archive.MAX_FILES)}
    assert refused(pack(tmp_path / "archive", files=files)).field == "size"


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_what_would_be_too_large_is_refused_before_it_is_written(
    tmp_path: Path, pack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 2_000)
    assert refused(pack(tmp_path / "archive")).field == "size"
    assert not (tmp_path / "unpacked" / "tokenizer.model").exists()


def test_a_header_that_pretends_to_be_long_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    with gzip.open(tmp_path / "archive", "wb") as packed:
        packed.write(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))
    assert refused(tmp_path / "archive").field in ("size", "content")


@pytest.mark.parametrize("pack", [tar_gz, zipped])
def test_an_archive_without_a_manifest_is_refused(tmp_path: Path, pack: Callable[..., Path]) -> None:
    assert refused(pack(tmp_path / "archive", files={"tokenizer.model": b""})).file == "manifest.json"


@pytest.mark.parametrize("pack", [tar_gz, zipped])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_part_of_an_archive_is_refused(tmp_path: Path, pack: Callable[..., Path], keep: float) -> None:
    content = pack(tmp_path / "archive", files={**FILES, "noise": bytes(range(256)) * 20}).read_bytes()
    (tmp_path / "archive").write_bytes(content[: int(len(content) * keep)])
    refused(tmp_path / "archive")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = gzip.decompress(tar_gz(tmp_path / "archive").read_bytes())
    second = 2 * tarfile.BLOCKSIZE  # behind a header and a content of one block each
    changed = content[:second] + b"#" + content[second + 1 :]
    damaged = gzip.compress(changed)[:-8] + gzip.compress(content)[-8:]  # with the old checksum
    (tmp_path / "archive").write_bytes(damaged)
    error = refused(tmp_path / "archive")
    assert error.field == "content"
    assert "CRC check failed" in str(error)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x1f\x8b broken", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    assert refused(tmp_path / "archive").field == "content"
