"""An interrupted run goes on as if it had never been interrupted, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model_export.guided_task import write_task
from tests.model_export.resumed_runs import SHORT_CONFIG, check_resumed
from tests.reversing_task import random_sentences, write_pairs


@pytest.mark.parametrize("keras_backend", ["tensorflow", "jax"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras_backend: str
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", keras_backend)
    # The second process need not compile again what the first has compiled.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    write_pairs(tmp_path / "train.tsv", random_sentences(400, seed=1))
    write_pairs(tmp_path / "dev.tsv", random_sentences(50, seed=2))
    (tmp_path / "config.yaml").write_text(SHORT_CONFIG, encoding="utf-8")
    check_resumed(tmp_path)


def test_a_resumed_guided_run_equals_an_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    config = SHORT_CONFIG.replace(
        "epochs: 2", "epochs: 2\n  alignment_weight: 0.5\n  alignment_final_weight_factor: 0\n  subword_candidates: 3"
    )
    # Other cuts change the length of a sentence; so long ones fall into one bucket all the same.
    check_resumed(tmp_path, *write_task(tmp_path, config, 70, lengths=(28,)))
