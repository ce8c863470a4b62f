"""Bundles are written whole or not at all, and every figure in them agrees with the files."""

from __future__ import annotations

from pathlib import Path

import onnx.parser
import pytest

from model_export.bundle_writer import describe_graph, record_scores, staged_directory, write_manifest
from model_export.errors import ConfigError
from model_export.model_card import render_model_card
from service.bundle.manifest import Score
from service.bundle.reader import read_bundle
from service.bundle.verification import fingerprint
from service.errors import BundleError
from tests.service.tiny_bundle import write_bundle


def score(value: float, metric: str = "BLEU", beam_size: int = 4, precision: str = "int8") -> Score:
    return Score(
        metric=metric,
        value=value,
        signature="nrefs:1|tok:13a",
        data="test.tsv",
        precision=precision,
        beam_size=beam_size,
        command="measure",
    )


# --- Directories ------------------------------------------------------------------------------------------------


def test_a_staged_directory_takes_its_place_at_the_end(tmp_path: Path) -> None:
    destination = tmp_path / "deep" / "bundle"
    with staged_directory(destination) as staging:
        (staging / "file").write_text("new", encoding="utf-8")
        assert not destination.exists()
    assert (destination / "file").read_text(encoding="utf-8") == "new"
    assert list(destination.parent.iterdir()) == [destination]


def test_a_staged_directory_replaces_a_bundle_whole(tmp_path: Path) -> None:
    destination = write_bundle(tmp_path / "bundle")
    with staged_directory(destination) as staging:
        (staging / "file").write_text("new", encoding="utf-8")
        read_bundle(destination)  # still there, and still whole
    assert [path.name for path in destination.iterdir()] == ["file"]
    assert list(tmp_path.iterdir()) == [destination]


def write_half(destination: Path) -> None:
    with staged_directory(destination) as staging:
        (staging / "file").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    destination = write_bundle(tmp_path / "bundle")
    with pytest.raises(KeyboardInterrupt):
        write_half(destination)
    read_bundle(destination)
    assert list(tmp_path.iterdir()) == [destination]


def test_what_an_earlier_export_left_half_done_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".bundle.part"
    left.mkdir()
    (left / "old").write_text("half", encoding="utf-8")
    with staged_directory(tmp_path / "bundle") as staging:
        assert list(staging.iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_an_empty_directory_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with staged_directory(tmp_path / "bundle") as staging:
        (staging / "file").write_text("new", encoding="utf-8")
    assert (tmp_path / "bundle" / "file").exists()


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, kind: str) -> None:
    destination = tmp_path / "documents"
    if kind == "file":
        destination.write_text("mine", encoding="utf-8")
    else:
        destination.mkdir()
        (destination / "letter").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="documents: is there and is no bundle"), staged_directory(destination):
        pytest.fail("the block must not run")
    assert destination.exists()
    assert list(tmp_path.iterdir()) == [destination]


# --- Manifests --------------------------------------------------------------------------------------------------


def test_the_manifest_has_the_fingerprint_of_every_file(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    manifest = read_bundle(bundle).manifest
    (bundle / "encoder.fp32.onnx").write_bytes(b"another graph")
    written = write_manifest(bundle, manifest)
    assert written.files["encoder.fp32.onnx"].size == len(b"another graph")
    assert {name: fingerprint(bundle / name) for name in written.files} == dict(written.files)
    assert read_bundle(bundle).manifest == written
    assert {path.name for path in bundle.iterdir()} == {*written.files, "manifest.json"}


def test_tensors_are_described_with_names_for_what_varies() -> None:
    graph = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> graph (float[a, b, 3] x, int32[n] ids) => (bool[a, m] y) '
        "{ y = Identity (x) }"
    )
    described = describe_graph(graph, {"x": ("rows", "source_len"), "ids": ("rows",), "y": ("rows", "candidates")})
    assert [(spec.name, spec.dtype, spec.shape) for spec in (*described.inputs, *described.outputs)] == [
        ("x", "float32", ("rows", "source_len", 3)),
        ("ids", "int32", ("rows",)),
        ("y", "bool", ("rows", "candidates")),
    ]


# --- Scores -----------------------------------------------------------------------------------------------------


def test_scores_are_recorded_in_manifest_and_card(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    record_scores(bundle, [score(31.25), score(55.5, metric="chrF")])
    manifest = read_bundle(bundle).manifest
    assert [(each.metric, each.value) for each in manifest.scores] == [("BLEU", 31.25), ("chrF", 55.5)]
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == render_model_card(manifest)
    assert "31.25" in card


def test_the_same_measurement_is_replaced_and_another_is_kept(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    record_scores(bundle, [score(30.0), score(29.0, beam_size=1), score(30.5, precision="fp32")])
    record_scores(bundle, [score(31.0)])
    recorded = {(each.precision, each.beam_size): each.value for each in read_bundle(bundle).manifest.scores}
    assert recorded == {("int8", 4): 31.0, ("int8", 1): 29.0, ("fp32", 4): 30.5}
    assert len(read_bundle(bundle).manifest.scores) == 3


def test_scores_are_recorded_in_sound_bundles_only(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "tokenizer.model").write_bytes(b"changed")
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="tokenizer.model"):
        record_scores(bundle, [score(31.0)])
    assert (bundle / "manifest.json").read_bytes() == before
