"""Products of rounded operands, and training with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from model_export.bfloat16_products import check_product_dtype
from model_export.config import TrainConfig
from model_export.errors import ConfigError
from tests.model_export.resumed_runs import SHORT_CONFIG, read_checkpoint
from tests.reversing_task import random_sentences, training_arguments, write_pairs

PROBE = """
import sys, jax, keras, numpy
from model_export.bfloat16_products import bfloat16_products
given = numpy.load(sys.argv[1])
def product(left, right):
    return keras.ops.matmul(left, right)
def loss(left, right):
    return (product(left, right) * given["weights"]).sum()
def run():
    return [product(given["left"], given["right"]), *jax.grad(loss, (0, 1))(given["left"], given["right"])]
with bfloat16_products():
    rounded = run()
    stacks = product(given["left"], given["stack"])
    integers = product([[257, 1]], numpy.eye(2, dtype="int32"))
    variable = product(keras.Variable(given["right"].T), given["right"])
numpy.savez(sys.argv[2], *rounded, *run(), stacks, integers, variable)
"""


def to_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """Rounds float32 to the nearest number of 8 significant bits, of two as near to the even one."""
    bits = numbers.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def test_operands_of_products_and_gradients_are_rounded_and_nothing_else(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    given = {
        name: generator.standard_normal(shape).astype(np.float32)
        for name, shape in {"left": (3, 4, 5), "right": (5, 6), "weights": (3, 4, 6), "stack": (3, 5, 2)}.items()
    }
    np.savez(tmp_path / "given.npz", **given)
    subprocess.run(
        [sys.executable, "-c", PROBE, tmp_path / "given.npz", tmp_path / "found.npz"],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    with np.load(tmp_path / "found.npz") as file:
        found = [file[f"arr_{index}"] for index in range(9)]
    left, right, weights = (given[name] for name in ("left", "right", "weights"))
    for arrays, rounding in ((found[:3], to_bfloat16), (found[3:6], lambda numbers: numbers)):
        factors = [rounding(each).astype(np.float64) for each in (left, right, weights)]
        expected = [
            np.einsum(form, factors[first], factors[second])
            for form, first, second in (("abi,ij->abj", 0, 1), ("abj,ij->abi", 2, 1), ("abi,abj->ij", 0, 2))
        ]
        for array, product in zip(arrays, expected, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, product, rtol=0, atol=2e-6)
    assert np.abs(found[0] - found[3]).max() > 1e-3
    np.testing.assert_allclose(found[6], left @ given["stack"], rtol=0, atol=2e-6)
    assert found[7].tolist() == [[257, 1]]
    np.testing.assert_allclose(found[8], to_bfloat16(right.T) @ to_bfloat16(right), rtol=0, atol=2e-6)


def test_other_backends_than_jax_are_refused() -> None:
    check_product_dtype(TrainConfig())
    with pytest.raises(ConfigError, match=r"training\.product_dtype: bfloat16 needs JAX; set KERAS_BACKEND=jax"):
        check_product_dtype(TrainConfig(product_dtype="bfloat16"))


def test_training_with_rounded_products_goes_nearly_as_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    write_pairs(tmp_path / "train.tsv", random_sentences(400, seed=1))
    write_pairs(tmp_path / "dev.tsv", random_sentences(50, seed=2))
    config = yaml.safe_load(SHORT_CONFIG)
    losses = {}
    for dtype in ("float32", "bfloat16"):
        config["training"]["product_dtype"] = dtype
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [sys.executable, "-m", "model_export.cli", *training_arguments(tmp_path, dtype), "--deterministic"]
        subprocess.run(command, check=True, capture_output=True)
        _, progress = read_checkpoint(tmp_path / dtype)
        losses[dtype] = np.array([[entry["train_nll"], entry["dev_nll"]] for entry in progress["history"]])
    assert losses["float32"][-1, 1] < losses["float32"][0, 1] - 0.05  # it learns
    difference = np.abs(losses["bfloat16"] - losses["float32"]).max()
    assert 0 < difference < 0.05
