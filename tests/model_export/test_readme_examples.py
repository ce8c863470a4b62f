"""The worked examples of model_export/README.md, run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import model_export
from model_export.cli import main
from service.main import create_app
from tests.reversing_task import random_sentences, reverse, write_pairs

README = Path(model_export.__file__).with_name("README.md").read_text(encoding="utf-8")


def code_block(language: str, first_line: str) -> str:
    """The only block of the README that starts with this line."""
    [block] = re.findall(rf"^```{language}\n({re.escape(first_line)}\n.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture(scope="module")
def functional_model() -> dict[str, Any]:
    """What example 1 defines."""
    names: dict[str, Any] = {}
    exec(compile(code_block("python", "# reverse.py"), "reverse.py", "exec"), names)
    return names


def test_a_functional_model_learns_to_reverse_and_attends_backwards(functional_model: dict[str, Any]) -> None:
    assert functional_model["history"].history["accuracy"][-1] > 0.99
    keras, names = functional_model["keras"], functional_model
    model = keras.Model(names["model"].inputs, names["alignments"])
    weights = np.asarray(model([names["source"][:50], names["shifted"][:50]]))
    assert weights.shape == (50, 6, 6)
    backwards = 5 - weights.argmax(axis=-1)
    assert (np.abs(backwards - np.arange(6)) <= 1).mean() > 0.9  # the encoder knows neighbours too


def test_padding_changes_nothing_in_it(functional_model: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    names = dict(functional_model)
    exec(compile(code_block("python", "# continues reverse.py"), "reverse.py", "exec"), names)
    assert capsys.readouterr().out.split() == ["largest", "difference:", "0.0", "weight", "at", "padding:", "0.0"]
    assert names["padded"].shape == (1, 7)


def test_weights_are_carried_over() -> None:
    names: dict[str, Any] = {}
    exec(compile(code_block("python", "# carries weights over"), "README.md", "exec"), names)
    gain, kernel = names["mechanism"].get_weights()
    assert gain == pytest.approx(1.3)
    assert kernel.shape == (16, 8)


def test_a_layer_of_ones_own_is_trained_exported_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cosine_attention.py").write_text(code_block("python", "# cosine_attention.py"), encoding="utf-8")
    Path("cosine.yaml").write_text(code_block("yaml", "# cosine.yaml"), encoding="utf-8")
    write_pairs(Path("train.tsv"), random_sentences(2500, seed=1))
    write_pairs(Path("dev.tsv"), random_sentences(200, seed=2))
    [commands] = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    train, export, serve = (shlex.split(line) for line in commands.splitlines())
    for command in (train, export):
        assert command[0] == "interlinear-export"
        assert main(command[1:]) == 0
    assert serve[1:] == ["interlinear", "serve"]
    monkeypatch.setitem(os.environ, *serve[0].split("=", maxsplit=1))
    monkeypatch.setitem(os.environ, "INTERLINEAR_BUILT_IN_MODELS", "false")
    with TestClient(create_app()) as client:
        [mechanism] = client.get("/models").json()["models"][0]["mechanisms"]
        assert mechanism == {"name": "cosine_attention:CosineAttention", "normalized": True}
        sentences = random_sentences(20, seed=3)
        answer = client.post("/translate", json={"text": sentences, "model": "cosine"}).json()
    found = [translation["hypotheses"][0]["text"] for translation in answer["translations"]]
    assert sum(text == reverse(sentence) for text, sentence in zip(found, sentences, strict=True)) >= 16
