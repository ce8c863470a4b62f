"""Writes bundles: whole or not at all, with every file's hash in the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from model_export.errors import ConfigError
from model_export.model_card import render_model_card
from model_export.staged_file import staged_file
from service.bundle.manifest import (
    MANIFEST_FILE,
    AlignmentInfo,
    DataType,
    GraphTensors,
    Manifest,
    OmissionInfo,
    Score,
    TensorSpec,
)
from service.bundle.reader import read_bundle
from service.bundle.verification import fingerprint

MODEL_CARD_FILE = "MODEL_CARD.md"

_DATA_TYPES: Mapping[int, DataType] = {
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.BOOL: "bool",
}


@contextmanager
def staged_directory(destination: Path) -> Iterator[Path]:
    """Gives an empty directory beside `destination` that takes its place if the block ends without an error.

    Raises:
        ConfigError: `destination` is there and is no bundle, so replacing it would destroy something else.
    """
    destination = destination.resolve()
    if destination.exists() and not _may_be_replaced(destination):
        raise ConfigError(f"{destination}: is there and is no bundle; choose another --output")
    staging = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        replaced = destination.with_name(f".{destination.name}.old")
        shutil.rmtree(replaced, ignore_errors=True)
        if destination.exists():
            destination.rename(replaced)
        staging.rename(destination)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _may_be_replaced(path: Path) -> bool:
    return path.is_dir() and ((path / MANIFEST_FILE).exists() or not any(path.iterdir()))


def describe_graph(graph: onnx.ModelProto, dimensions: Mapping[str, Sequence[str]]) -> GraphTensors:
    """Lists a graph's inputs and outputs as the manifest declares them.

    Args:
        graph: the graph.
        dimensions: names for the variable dimensions, per tensor, in order.
    """

    def describe(value: onnx.ValueInfoProto) -> TensorSpec:
        names = iter(dimensions[value.name])
        tensor = value.type.tensor_type
        shape = tuple(size.dim_value if size.HasField("dim_value") else next(names) for size in tensor.shape.dim)
        return TensorSpec(name=value.name, dtype=_DATA_TYPES[tensor.elem_type], shape=shape)

    return GraphTensors(
        inputs=tuple(describe(value) for value in graph.graph.input),
        outputs=tuple(describe(value) for value in graph.graph.output),
    )


def write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    """Writes the model card and the manifest, with fresh fingerprints of all other files; returns what was written."""
    with staged_file(directory / MODEL_CARD_FILE) as card:
        card.write(render_model_card(manifest))
    names = sorted(path.name for path in directory.iterdir() if path.name != MANIFEST_FILE)
    complete = manifest.model_copy(update={"files": {name: fingerprint(directory / name) for name in names}})
    with staged_file(directory / MANIFEST_FILE) as file:
        file.write(complete.model_dump_json(indent=2) + "\n")
    return complete


def record_scores(
    directory: Path,
    scores: Sequence[Score],
    alignment: AlignmentInfo | None = None,
    omission: OmissionInfo | None = None,
    preferred_source_tokens: int | None = None,
) -> Manifest:
    """Puts scores into an existing bundle's manifest and card; those of the same measurement are replaced.

    Args:
        directory: of the bundle.
        scores: new ones.
        alignment: a new rule from attention to links, if there is one.
        omission: a new rule for words left out, if there is one.
        preferred_source_tokens: from which length on sentences are parted, if that is new.

    Raises:
        BundleError: there is no valid bundle.
    """
    manifest = read_bundle(directory).manifest

    def measurement(score: Score) -> tuple[str, str, str, int | None]:
        return score.metric, score.data, score.precision, score.beam_size

    new = {measurement(score) for score in scores}
    kept = tuple(score for score in manifest.scores if measurement(score) not in new)
    tuned = {"alignment": alignment, "omission": omission, "preferred_source_tokens": preferred_source_tokens}
    changes = {name: value for name, value in tuned.items() if value is not None}
    return write_manifest(directory, manifest.model_copy(update={"scores": (*kept, *scores), **changes}))


def record_weaknesses(directory: Path, error_analysis: str) -> Manifest:
    """Puts what is known of a model's weaknesses into an existing bundle's manifest and card; what was there goes.

    Raises:
        BundleError: there is no valid bundle.
    """
    manifest = read_bundle(directory).manifest
    return write_manifest(directory, manifest.model_copy(update={"error_analysis": error_analysis}))
