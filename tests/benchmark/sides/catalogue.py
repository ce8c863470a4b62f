"""The sides that benchmarks compare, and how each uses the cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.threads import usable_cpus
from tests.benchmark.machine import ROOT
from tests.benchmark.models.cache import make_once
from tests.benchmark.models.random_bundle import BUNDLE
from tests.benchmark.sides.pool import SideSpec

BUILT_IN_BUNDLE = ROOT / "service" / "models" / "eng-fra"
VOCABULARY_SIZE = 8000
RECURRENT = {"vocabulary_size": VOCABULARY_SIZE, "embedding_dim": 256, "units": 512}
RECURRENT_NAME = "256/512/512"
RECURRENT_NOTE = (
    f"{RECURRENT_NAME}: embeddings of 256, bidirectional GRU of 256 units in each direction, GRU decoder of 512, "
    "additive attention of 512, 8,000 words."
)
TRANSFORMERS = {
    "tiny": {"encoder_layers": 6, "decoder_layers": 2, "width": 256, "inner_width": 1536},
    "base": {"encoder_layers": 6, "decoder_layers": 6, "width": 512, "inner_width": 2048},
}

# glibc keeps memory between calls. The second is the largest threshold that it takes.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


@dataclass(frozen=True)
class Split:
    """How the cores are used: independent processes, in each of them lanes, in each of them threads."""

    processes: int = 1
    lanes: int = 1
    threads: int = 1

    @property
    def cores(self) -> int:
        """How many threads work at the same time."""
        return self.processes * self.lanes * self.threads

    def describe(self, lane: str) -> str:
        """In words; `lane` is what a lane is called."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        if self.processes > 1:
            return f"{self.processes} processes x {threads}"
        return f"{self.lanes} {lane} x {threads}" if self.lanes > 1 else threads


def splits(cores: int | None = None) -> list[Split]:
    """One thread, and the ways to use all cores."""
    count = cores or usable_cpus()
    return list(dict.fromkeys([Split(), Split(threads=count), Split(lanes=count), Split(processes=count)]))


@dataclass(frozen=True)
class RecurrentModel:
    """A bundle, and what tables call it."""

    name: str
    bundle: Path
    precisions: Sequence[str]


def random_recurrent(cache: Path) -> RecurrentModel:
    """The model of random weights, made if need be."""
    directory = make_once(cache, "bundle", RECURRENT)
    return RecurrentModel(RECURRENT_NAME, directory / BUNDLE, ("int8", "fp32"))


BUILT_IN = RecurrentModel("eng-fra (built in)", BUILT_IN_BUNDLE, ("int8",))


def engine_side(model: RecurrentModel, precision: str, split: Split, keep_memory: bool = False) -> SideSpec:
    """The engine's search and backend, without HTTP."""
    return SideSpec(
        name=f"{model.name}, {precision}, {split.describe('engines')}" + (", memory kept" if keep_memory else ""),
        module="tests.benchmark.sides.interlinear",
        options={
            "bundle": str(model.bundle),
            "precision": precision,
            "threads": split.threads,
            "lanes": split.lanes,
        },
        processes=split.processes,
        cores=split.cores,
        environment=KEEP_MEMORY if keep_memory else {},
    )


def naive_side(model: RecurrentModel, precision: str) -> SideSpec:
    """The loop of batch one over the same graphs."""
    return SideSpec(
        name=f"naive onnxruntime loop, {model.name}, {precision}, 1 thread",
        module="tests.benchmark.sides.naive_loop",
        options={"bundle": str(model.bundle), "precision": precision, "threads": 1},
        max_batch=1,
        max_beam_size=1,
    )


def saved_model_side(cache: Path, split: Split) -> SideSpec:
    """The model of random weights in TensorFlow; greedy."""
    bundle = make_once(cache, "bundle", RECURRENT)
    saved_model = make_once(cache, "saved_model", {"bundle": str(bundle)})
    return SideSpec(
        name=f"TensorFlow SavedModel, {RECURRENT_NAME}, fp32, {split.describe('clients')}",
        module="tests.benchmark.sides.saved_model",
        options={"saved_model": str(saved_model), "vocabulary_size": VOCABULARY_SIZE, "threads": split.threads},
        processes=split.processes,
        cores=split.cores,
        max_beam_size=1,
    )


def transformer_side(cache: Path, size: str, split: Split) -> SideSpec:
    """A Transformer of random weights in CTranslate2, with the allocator settings that suit it best."""
    model = make_once(cache, "transformer", {**TRANSFORMERS[size], "vocabulary_size": VOCABULARY_SIZE})
    return SideSpec(
        name=f"CTranslate2 {size} Transformer, int8, {split.describe('workers')}",
        module="tests.benchmark.sides.transformer",
        options={
            "model": str(model),
            "vocabulary_size": VOCABULARY_SIZE,
            "threads": split.threads,
            "workers": split.lanes,
        },
        cores=split.cores,
        environment=KEEP_MEMORY,
    )
