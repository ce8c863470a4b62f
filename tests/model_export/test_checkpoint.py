"""Checkpoints: everything comes back, or nothing is touched and the error says why."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_export.checkpoint import load_variables, save_variables
from model_export.errors import CheckpointError
from tests.model_export.tiny_models import as_numpy, tiny_config, tiny_model

CONFIG = tiny_config(dropout=0.2)  # with dropout there are generators whose state counts


class Variable:
    """All that a checkpoint wants of a Keras variable."""

    def __init__(self, path: str, value: Any) -> None:
        self.path = path
        self.value = np.asarray(value, dtype=np.float32)
        self.shape = self.value.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value

    def assign(self, value: np.ndarray) -> None:
        self.value = value


def variables(kernel: float, bias: float) -> list[Variable]:
    return [Variable("layer/kernel", np.full((2, 3), kernel)), Variable("layer/bias", np.full(3, bias))]


def test_numbers_that_keras_gave_by_itself_do_not_matter(tmp_path: Path) -> None:
    save_variables(tmp_path / "weights.npz", [Variable("model/dense_7/kernel", [1.0, 2.0])])
    renumbered = Variable("model/dense/kernel", [0.0, 0.0])
    load_variables(tmp_path / "weights.npz", [renumbered])
    assert renumbered.value.tolist() == [1.0, 2.0]
    with pytest.raises(CheckpointError, match="the model has no such variable"):
        load_variables(tmp_path / "weights.npz", [Variable("model/gru/kernel", [0.0, 0.0])])


def test_a_model_and_its_progress_come_back(tmp_path: Path) -> None:
    saved, loaded = tiny_model(CONFIG, seed=1), tiny_model(CONFIG, seed=2)
    for _ in range(3):  # moves the state of the generators on
        saved.dropout(np.ones((2, 2), dtype=np.float32), training=True)
    progress = {"step": 12, "best_dev_loss": math.inf, "history": [{"dev_nll": 1.5}]}
    save_variables(tmp_path / "runs" / "a.npz", saved.persistent_variables, progress)
    assert load_variables(tmp_path / "runs" / "a.npz", loaded.persistent_variables) == progress
    for before, after in zip(saved.persistent_variables, loaded.persistent_variables, strict=True):
        np.testing.assert_array_equal(as_numpy(before), as_numpy(after))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a.npz"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.npz: no such checkpoint"):
        load_variables(tmp_path / "none.npz", variables(1, 2))


def flip_a_value(content: bytes) -> bytes:
    broken = bytearray(content)
    broken[content.index(np.full(3, 2, dtype=np.float32).tobytes())] ^= 1  # in the bias
    return bytes(broken)


def claim_encryption(content: bytes) -> bytes:
    broken = bytearray(content)
    broken[content.index(b"PK\x01\x02") + 8] |= 1  # a flag of the archive's first entry
    return bytes(broken)


def write_an_array_alone(content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def write_no_progress(content: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, bias=np.ones(3))
    return file.getvalue()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load_variables(tmp_path, variables(1, 2))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no checkpoint at all",
        lambda content: content[:-30],
        flip_a_value,
        claim_encryption,
        write_an_array_alone,
        write_no_progress,
    ],
    ids=["empty", "text", "truncated", "flipped", "encrypted", "array", "without-progress"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.npz"
    save_variables(path, variables(1, 2))
    path.write_bytes(damage(path.read_bytes()))
    target = variables(8, 9)
    with pytest.raises(CheckpointError, match=r"a\.npz: is damaged, or no checkpoint at all$"):
        load_variables(path, target)
    assert (target[0].value == 8).all()
    assert (target[1].value == 9).all()


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (
            [Variable("layer/kernel", np.zeros((2, 4))), Variable("layer/bias", np.zeros(3))],
            r"000/layer/kernel: the model has \(2, 4\), the file \(2, 3\)",
        ),
        ([Variable("layer/kernel", np.zeros((2, 3)))], "001/layer/bias: the model has no such variable, the file"),
        (
            [*variables(0, 0), Variable("layer/gain", np.zeros(1))],
            r"002/layer/gain: the model has \(1,\), the file nothing",
        ),
    ],
    ids=["shape", "missing", "additional"],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, wanted: list[Variable], problem: str) -> None:
    save_variables(tmp_path / "a.npz", variables(1, 2))
    with pytest.raises(CheckpointError, match=problem):
        load_variables(tmp_path / "a.npz", wanted)
    assert not any(variable.value.any() for variable in wanted)


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    save_variables(path, variables(1, 2), {"step": 1})

    def fail_half_way(file: Any, **_: Any) -> None:
        file.write(b"PK")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail_half_way)
    with pytest.raises(OSError, match="disk full"):
        save_variables(path, variables(3, 4), {"step": 2})
    target = variables(0, 0)
    assert load_variables(path, target) == {"step": 1}
    assert (target[0].value == 1).all()


def test_the_progress_is_readable_without_a_model(tmp_path: Path) -> None:
    save_variables(tmp_path / "a.npz", variables(1, 2), {"step": 7})
    with np.load(tmp_path / "a.npz") as archive:
        assert json.loads(archive["progress"].tobytes()) == {"step": 7}
