from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.benchmark.sides.training_step import random_batch
from tests.benchmark.training import PLAIN, speed_table

MODEL = {"vocabulary_size": 11, "embedding_dim": 6, "units": 8, "dropout": 0.0, "aligner": "bahdanau"}
PROBE = """
import json, sys
from tests.benchmark.sides.training_step import TrainingSide
side = TrainingSide(json.loads(sys.argv[1]))
side.prepare({"rows": 3, "width": 4})
print(json.dumps([side.train_once() for _ in range(3)]))
"""


def losses_of(loop: str) -> list[dict[str, float]]:
    """Of three steps, after those that warm up, in a process of their own: a side changes modules that others use."""
    options = {"loop": loop, "product_dtype": "float32", "model": MODEL}
    output = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(options)],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: list[dict[str, float]] = json.loads(output.splitlines()[-1])
    return found


def test_the_plain_loop_learns_what_the_own_one_learns() -> None:
    own, plain = losses_of("own"), losses_of("plain")
    assert own[-1]["nll"] < own[0]["nll"]
    assert set(own[0]) == {"nll", "alignments_loss", "aligner_loss"}
    for ours, theirs in zip(own, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_batch_has_no_padding_and_no_special_words() -> None:
    batch = random_batch(rows=3, width=4, vocabulary_size=11)
    assert batch.source_ids.shape == (3, 4)
    assert batch.target_ids.shape == (3, 5)
    assert min(batch.source_ids.min(), batch.target_ids.min()) > 3
    assert batch.source_lengths.tolist() == [4, 4, 4]
    assert batch.alignments is not None
    assert batch.alignments[2].tolist() == np.eye(4).tolist()


def test_ratios_are_taken_within_rounds() -> None:
    rounds = [{PLAIN: 0.4, "JAX": 0.2}, {PLAIN: 0.6, "JAX": 0.2}, {PLAIN: 0.9, "JAX": 0.4}]
    plain, own = speed_table(rounds).rows
    assert plain == [PLAIN, 0.6, 0.4, 0.9, pytest.approx(3400), 1.0]
    assert own == ["JAX", 0.2, 0.2, 0.4, pytest.approx(10200), pytest.approx(2.25)]
