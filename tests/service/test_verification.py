"""Reading bundles that are whole, and bundles with one thing wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.bundle.reader import read_bundle
from service.errors import BundleError
from tests.service.tiny_bundle import tensor, vocabulary_size, write_bundle, write_manifest
from tests.service.two_mechanisms import write_two_mechanisms


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("whole") / "tiny", precisions=("fp32", "int8"))


@pytest.fixture
def directory(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


def read_failure(directory: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        read_bundle(directory)
    assert "\n" not in str(caught.value)
    return caught.value


def change_manifest(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits the manifest and refreshes nothing else."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_whole_bundle_is_read(whole: Path) -> None:
    bundle = read_bundle(whole)
    assert bundle.path == whole
    assert bundle.manifest.name == "tiny"
    assert bundle.tokenizer.vocabulary_size == vocabulary_size()
    assert bundle.variant("int8").encoder == "encoder.int8.onnx"


def test_a_precision_it_lacks_is_refused_with_those_it_has(whole: Path) -> None:
    with pytest.raises(BundleError, match=r"precisions: has no 'fp16'; it has fp32, int8") as caught:
        read_bundle(whole).variant("fp16")
    assert caught.value.file == str(whole / "manifest.json")


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_directory_without_a_manifest_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    error = read_failure(tmp_path / name)
    assert error.file == str(tmp_path / name / "manifest.json")
    assert error.problem == "cannot be read: No such file or directory"


@pytest.mark.parametrize("name", ["tokenizer.model", "encoder.fp32.onnx", "decoder_step.int8.onnx", "MODEL_CARD.md"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    error = read_failure(directory)
    assert error.file == str(directory / name)
    assert error.field == "file"


def test_a_directory_in_place_of_a_file_is_refused(directory: Path) -> None:
    (directory / "MODEL_CARD.md").unlink()
    (directory / "MODEL_CARD.md").mkdir()
    assert read_failure(directory).field == "file"


def test_a_changed_file_is_named_with_its_hash(directory: Path) -> None:
    path = directory / "encoder.fp32.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    error = read_failure(directory)
    assert (error.file, error.field) == (str(path), "sha256")


def test_a_truncated_file_is_named_with_its_size(directory: Path) -> None:
    path = directory / "tokenizer.model"
    path.write_bytes(path.read_bytes()[:-1])
    error = read_failure(directory)
    assert (error.file, error.field) == (str(path), "size")


def test_a_tokenizer_that_is_none_is_refused(directory: Path) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "tokenizer.model").write_bytes(b"not a model")
    write_manifest(directory, manifest)
    assert read_failure(directory).file == str(directory / "tokenizer.model")


def mechanism(name: str, normalized: bool) -> dict[str, Any]:
    return {"name": name, "normalized": normalized}


def set_special_id(token: str, value: int) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["tokenizer"]["special_ids"].update({token: value})


@pytest.mark.parametrize(
    ("change", "file", "field"),
    [
        (lambda m: m["tokenizer"].update(vocabulary_size=33), "tokenizer.model", "tokenizer.vocabulary_size"),
        (lambda m: m["tokenizer"].update(normalization="x"), "manifest.json", "tokenizer.normalization"),
        (lambda m: m["tokenizer"].update(file="other.model"), "manifest.json", "tokenizer.file"),
        (lambda m: m["tokenizer"].update(vocabulary_size=4), "manifest.json", "tokenizer.vocabulary_size"),
        (set_special_id("unk", 5), "tokenizer.model", "tokenizer.special_ids.unk"),
        (set_special_id("eos", 32), "manifest.json", "tokenizer.special_ids.eos"),
        (set_special_id("eos", 1), "manifest.json", "tokenizer.special_ids"),
        (lambda m: m["files"].pop("encoder.int8.onnx"), "manifest.json", "precisions.int8.encoder"),
        (lambda m: m["precisions"]["fp32"].update(decoder_step="x"), "manifest.json", "precisions.fp32.decoder_step"),
        (lambda m: m.update(preferred_source_tokens=65), "manifest.json", "preferred_source_tokens"),
        (lambda m: m.update(mechanisms=[mechanism("luong", False)]), "manifest.json", "mechanisms.0.normalized"),
        (lambda m: m.update(mechanisms=[mechanism("bahdanau", True)]), "manifest.json", "mechanisms.0.name"),
    ],
)
def test_a_manifest_that_contradicts_something_is_refused(
    directory: Path, change: Callable[[dict[str, Any]], object], file: str, field: str
) -> None:
    change_manifest(directory, change)
    error = read_failure(directory)
    assert (error.file, error.field) == (str(directory / file), field)


@pytest.mark.parametrize(
    ("graph", "side", "index", "changed", "field"),
    [
        ("encoder", "inputs", 0, tensor("ids", "int32", "batch", "source_len"), "tensors.encoder.inputs"),
        (
            "encoder",
            "inputs",
            1,
            tensor("source_lengths", "int64", "batch"),
            "tensors.encoder.inputs.source_lengths",
        ),
        ("encoder", "outputs", 2, tensor("initial_state_0", "float32", "batch", 7), "tensors: state_0"),
        ("decoder_step", "inputs", 4, tensor("memory_keys", "float32", "r", "s", 7), "tensors: memory_keys"),
        (
            "decoder_step",
            "outputs",
            3,
            tensor("attention_weights", "float32", "rows"),
            "tensors.decoder_step.outputs.attention_weights",
        ),
    ],
)
def test_tensors_that_break_the_contract_are_named(
    directory: Path, graph: str, side: str, index: int, changed: dict[str, Any], field: str
) -> None:
    change_manifest(directory, lambda manifest: manifest["tensors"][graph][side].__setitem__(index, changed))
    error = read_failure(directory)
    assert (error.file, error.field) == (str(directory / "manifest.json"), field)


TWO_MECHANISMS = [mechanism("luong", True), mechanism("luong_monotonic", False)]


@pytest.mark.parametrize(
    ("mechanisms", "shape", "problem"),
    [
        (TWO_MECHANISMS, ["rows", "source_len"], "must be float32 with 3 dimensions; got float32 (rows, source_len)"),
        (
            TWO_MECHANISMS,
            ["rows", 3, "source_len"],
            "must be (rows, 2, source_len) for 2 mechanisms; got (rows, 3, source_len)",
        ),
        (
            TWO_MECHANISMS,
            ["rows", "mechanisms", "source_len"],
            "must be (rows, 2, source_len) for 2 mechanisms; got (rows, mechanisms, source_len)",
        ),
        (
            TWO_MECHANISMS[:1],
            ["rows", 1, "source_len"],
            "must be float32 with 2 dimensions; got float32 (rows, 1, source_len)",
        ),
        ([], ["rows", 2, "source_len"], "must be float32 with 2 dimensions; got float32 (rows, 2, source_len)"),
    ],
)
def test_attention_that_does_not_fit_the_mechanisms_is_named(
    directory: Path, mechanisms: list[dict[str, Any]], shape: list[int | str], problem: str
) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["mechanisms"] = mechanisms
        manifest["tensors"]["decoder_step"]["outputs"][3]["shape"] = shape

    change_manifest(directory, change)
    error = read_failure(directory)
    assert error.file == str(directory / "manifest.json")
    assert error.field == "tensors.decoder_step.outputs.attention_weights"
    assert error.problem == problem


def test_several_mechanisms_and_alignments_in_the_state_are_accepted(tmp_path: Path) -> None:
    manifest = read_bundle(write_two_mechanisms(tmp_path / "tiny")).manifest
    assert manifest.state == ("state_0", "alignments")
    assert len(manifest.attention_mechanisms) == 2


def test_a_tensor_too_many_is_refused(directory: Path) -> None:
    extra = tensor("extra", "float32", "rows")
    change_manifest(directory, lambda manifest: manifest["tensors"]["decoder_step"]["inputs"].append(extra))
    assert read_failure(directory).field == "tensors.decoder_step.inputs"
