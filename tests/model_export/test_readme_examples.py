"""The worked examples of model_export/README.md, run as they stand there."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from starlette.testclient import TestClient

import model_export
from model_export.attention import BahdanauAttention
from model_export.attention_wrapper import AttentionWrapper
from model_export.cli import main
from service.main import create_app
from tests import user_attention
from tests.model_export.tiny_models import random_array
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


def test_both_functional_examples_run_on_jax_as_well(tmp_path: Path) -> None:
    blocks = [code_block("python", first_line) for first_line in ("# reverse.py", "# continues reverse.py")]
    (tmp_path / "reverse.py").write_text("\n".join(blocks), encoding="utf-8")
    shown = subprocess.run(
        [sys.executable, str(tmp_path / "reverse.py")],
        env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(Path.cwd())},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.splitlines() == ["accuracy: 1.00", "largest difference: 0.0", "weight at padding: 0.0"]


def test_weights_are_carried_over() -> None:
    names: dict[str, Any] = {}
    exec(compile(code_block("python", "# carries weights over"), "README.md", "exec"), names)
    gain, kernel = names["mechanism"].get_weights()
    assert gain == pytest.approx(1.3)
    assert kernel.shape == (16, 8)


@pytest.mark.filterwarnings("ignore:(?s).*__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
def test_a_loaded_model_gets_its_memory_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memory, inputs = random_array(2, 5, 6), random_array(2, 4, 3)
    mechanism = BahdanauAttention(4)
    mechanism.setup_memory(memory, [5, 2])
    decoder = keras.layers.RNN(AttentionWrapper(keras.layers.GRUCell(7), mechanism), name="decoder")
    symbolic = keras.Input((4, 3), batch_size=2)
    model = keras.Model(symbolic, decoder(symbolic))
    model.save("decoder.keras")
    names = {"keras": keras, "memory": memory, "memory_sequence_length": [5, 2]}
    exec(compile(code_block("python", "# sets up the memory again"), "README.md", "exec"), names)
    np.testing.assert_array_equal(names["model"].predict(inputs, verbose=0), model.predict(inputs, verbose=0))
    with pytest.raises(ValueError, match="has no memory to query; call setup_memory first"):
        keras.models.load_model("decoder.keras")(inputs)


class Untyped(ast.NodeTransformer):
    """Takes away what the example in the README does not have: annotations, docstrings, and imports for them."""

    def visit(self, node: ast.AST) -> Any:
        super().visit(node)
        if isinstance(node, ast.ImportFrom) and node.module in ("__future__", "typing"):
            return None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
        return node


def test_the_layer_that_other_tests_use_is_that_of_the_example() -> None:
    example, used = code_block("python", "# cosine_attention.py"), inspect.getsource(user_attention)
    assert ast.unparse(Untyped().visit(ast.parse(used))) == ast.unparse(ast.parse(example))


def test_a_layer_of_ones_own_is_trained_exported_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cosine_attention.py").write_text(code_block("python", "# cosine_attention.py"), encoding="utf-8")
    Path("cosine.yaml").write_text(code_block("yaml", "# cosine.yaml"), encoding="utf-8")
    write_pairs(Path("train.tsv"), random_sentences(2500, seed=1))
    write_pairs(Path("dev.tsv"), random_sentences(200, seed=2))
    blocks = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    [commands] = [block for block in blocks if "cosine.yaml" in block]
    train, export, serve = (shlex.split(line) for line in commands.splitlines())
    for command in (train, export):
        assert command[0] == "interlinear-export"
        assert main(command[1:]) == 0
    assert serve[1:] == ["interlinear", "serve"]
    monkeypatch.setitem(os.environ, *serve[0].split("=", maxsplit=1))
    monkeypatch.setitem(os.environ, "INTERLINEAR_BUILT_IN_MODELS", "false")
    with TestClient(create_app()) as client:
        [mechanism] = client.get("/models").json()["models"][0]["mechanisms"]
        assert mechanism == {"name": "cosine_attention:CosineAttention", "normalized": True, "row_offset": 0}
        sentences = random_sentences(20, seed=3)
        answer = client.post("/translate", json={"text": sentences, "model": "cosine"}).json()
    found = [translation["hypotheses"][0]["text"] for translation in answer["translations"]]
    assert sum(text == reverse(sentence) for text, sentence in zip(found, sentences, strict=True)) >= 16
