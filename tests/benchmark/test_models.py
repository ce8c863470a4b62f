from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_export.config import ModelConfig
from service.bundle.tokenizer import Tokenizer
from tests.benchmark.models import cache
from tests.benchmark.models.cache import default_cache, make_once
from tests.benchmark.models.random_bundle import bundle_name, make_tokenizer


@pytest.mark.parametrize("size", [8000, 100])
def test_a_made_up_vocabulary_has_exactly_the_size_asked_for(size: int) -> None:
    tokenizer = Tokenizer.from_bytes(make_tokenizer(size))
    assert tokenizer.vocabulary_size == size
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2, 3)
    ids = tokenizer.encode_ids("aba bab")
    assert tokenizer.unk_id not in ids
    assert tokenizer.decode(ids).text == "aba bab"


def test_bundles_are_named_by_their_sizes() -> None:
    config = ModelConfig(vocabulary_size=8000, embedding_dim=256, units=512)
    assert bundle_name(config) == "random-256-512-8000"


def test_models_are_made_once_and_again_when_an_option_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make(command: list[str], **_: Any) -> None:
        made.append(json.loads(command[3])["units"])
        (Path(command[4]) / "model").write_text("weights", encoding="utf-8")

    monkeypatch.setattr(subprocess, "run", make)
    first = make_once(tmp_path, "bundle", {"units": 4})
    assert make_once(tmp_path, "bundle", {"units": 4}) == first
    assert make_once(tmp_path, "bundle", {"units": 8}) != first
    assert made == [4, 8]
    assert (first / "model").read_text(encoding="utf-8") == "weights"


def test_nothing_is_kept_of_a_model_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(subprocess.CalledProcessError):
        make_once(tmp_path, "bundle", {})
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/interlinear-benchmark")
    assert set(cache.MAKERS) == {"bundle", "saved_model", "transformer"}


def test_the_tensorflow_alternative_is_the_same_model() -> None:
    from model_export.keras_backend import KerasBackend
    from service.decoding.search import decode
    from tests.benchmark.models.saved_model import GreedyTranslator
    from tests.benchmark.sides.cell import Cell, make_jobs, random_sources
    from tests.model_export.tiny_models import tiny_config, tiny_model
    from tests.service.scripted_backend import IDS

    model = tiny_model(tiny_config(), seed=3)
    cell = Cell(batch=3, beam_size=1, source_length=5, target_length=6)
    expected = decode(KerasBackend(model), make_jobs(cell, 11, IDS), IDS)
    lengths = np.full(cell.batch, cell.source_length, np.int32)
    translator = GreedyTranslator(model)
    found = translator.translate(random_sources(cell, 11, IDS), lengths, np.int32(cell.target_length))
    # The engine may end a sentence with its last token, the loop may not.
    assert found["ids"].numpy()[:, :-1].tolist() == [list(one.target_ids[:-1]) for [one] in expected]
    attention = np.stack([one.attention for [one] in expected])
    np.testing.assert_allclose(found["attention"].numpy(), attention, atol=1e-6)
