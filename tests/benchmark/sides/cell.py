"""One combination of sizes to measure, and random sentences of exactly these sizes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from service.domain import DecodingJob, DecodingOptions, IntArray, SpecialIds


@dataclass(frozen=True)
class Cell:
    """Lengths count tokens, end of sentence included; every translation has exactly `target_length`."""

    batch: int
    beam_size: int
    source_length: int
    target_length: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Cell:
        """From what `dataclasses.asdict` made of it."""
        return cls(**{name: int(values[name]) for name in cls.__dataclass_fields__})


def random_sources(cell: Cell, vocabulary_size: int, ids: SpecialIds) -> IntArray:
    """Sentences of random tokens that end with `ids.eos`, int32 (batch, source_length), always the same for a cell."""
    generator = np.random.default_rng(zlib.crc32(repr(astuple(cell)).encode()))
    words = np.setdiff1d(np.arange(vocabulary_size), [ids.pad, ids.bos, ids.eos, ids.unk])
    sources = generator.choice(words, size=(cell.batch, cell.source_length)).astype(np.int32)
    sources[:, -1] = ids.eos
    return sources


def pinned_options(cell: Cell) -> DecodingOptions:
    """The sentence may end neither before nor after `target_length` tokens."""
    return DecodingOptions(
        beam_size=cell.beam_size, min_decoding_length=cell.target_length, max_decoding_length=cell.target_length
    )


def make_jobs(cell: Cell, vocabulary_size: int, ids: SpecialIds) -> list[DecodingJob]:
    """A batch for the engine."""
    options = pinned_options(cell)
    return [DecodingJob(tuple(source), options) for source in random_sources(cell, vocabulary_size, ids).tolist()]
