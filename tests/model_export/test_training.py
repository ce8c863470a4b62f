"""Training: a model learns what can be checked, stops when it should, and goes on as if never interrupted."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import model_export
from model_export.batching import Batch
from model_export.cli import main
from model_export.config import TrainConfig
from model_export.keras_backend import KerasBackend
from model_export.run_directory import RunDirectory
from model_export.seq2seq import Seq2Seq
from model_export.training import learning_rate_schedule, teacher_forcing
from service.bundle.tokenizer import Tokenizer
from service.decoding.search import decode
from service.domain import DecodingJob, DecodingOptions, Hypothesis, SpecialIds
from tests.model_export.tiny_models import forward
from tests.reversing_task import random_sentences, reverse, training_arguments

# --- A model learns ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reversals(reversing_run: RunDirectory) -> list[tuple[str, Hypothesis]]:
    """Sentences the model never saw, with its greedy output."""
    trained = set((reversing_run.path.parent / "train.tsv").read_text(encoding="utf-8").split("\n"))
    sentences = [text for text in random_sentences(100, seed=3) if f"{text}\t{reverse(text)}" not in trained]
    model, _ = reversing_run.load_model()
    tokenizer = reversing_run.read_tokenizer()
    ids = SpecialIds(tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id)
    options = DecodingOptions(beam_size=1)
    jobs = [DecodingJob((*tokenizer.encode_ids(text), tokenizer.eos_id), options) for text in sentences]
    return [(text, best) for text, (best,) in zip(sentences, decode(KerasBackend(model), jobs, ids), strict=True)]


def correct(tokenizer: Tokenizer, text: str, hypothesis: Hypothesis) -> bool:
    return hypothesis.finished and tokenizer.decode(hypothesis.target_ids).text == reverse(text)


def test_it_learns_to_reverse_unseen_sentences(
    reversing_run: RunDirectory, reversals: list[tuple[str, Hypothesis]]
) -> None:
    tokenizer = reversing_run.read_tokenizer()
    assert sum(correct(tokenizer, *reversal) for reversal in reversals) >= 0.95 * len(reversals)


def test_its_attention_is_nearly_the_reversal(
    reversing_run: RunDirectory, reversals: list[tuple[str, Hypothesis]]
) -> None:
    tokenizer = reversing_run.read_tokenizer()
    right_word, weights = [], []
    for text, hypothesis in reversals:
        if correct(tokenizer, text, hypothesis):
            words = hypothesis.attention[:-1, :-1]  # without the ends of sentence
            assert words.shape == (len(text.split()),) * 2
            right_word += list(words[::-1].argmax(axis=1) == np.arange(len(words)))
            weights += list(np.diagonal(words[::-1]))
    assert np.mean(right_word) >= 0.9
    assert np.mean(weights) >= 0.7


def test_the_best_dev_loss_is_that_of_the_saved_weights(reversing_run: RunDirectory) -> None:
    model, progress = reversing_run.load_model()
    assert progress["best_dev_loss"] == min(entry["dev_nll"] for entry in progress["history"])
    tokenizer = reversing_run.read_tokenizer()
    losses: list[float] = []
    for length in (6, 7):  # without any padding, so that nothing can leak from it
        texts = [text for text in random_sentences(100, seed=2) if len(text.split()) == length]
        losses += log_losses(tokenizer, model, texts)
    assert np.mean(losses) == pytest.approx(progress["best_dev_loss"], rel=1e-3)


def log_losses(tokenizer: Tokenizer, model: Seq2Seq, texts: list[str]) -> list[float]:
    """-log p of every target token of sentences of one length."""
    sources = np.array([[*tokenizer.encode_ids(text), tokenizer.eos_id] for text in texts], dtype=np.int32)
    labels = np.array([[*tokenizer.encode_ids(reverse(text)), tokenizer.eos_id] for text in texts], dtype=np.int32)
    inputs = np.concatenate([np.full((len(texts), 1), tokenizer.bos_id, dtype=np.int32), labels[:, :-1]], axis=1)
    logits = forward(model, sources, np.full(len(texts), sources.shape[1], dtype=np.int32), inputs)
    log_probs = np.log(np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True))
    return [-float(log_prob) for log_prob in np.take_along_axis(log_probs, labels[..., None], axis=-1).ravel()]


def test_a_run_leaves_logs_for_tensorboard(reversing_run: RunDirectory) -> None:
    (log,) = (reversing_run.path / "logs").iterdir()
    assert log.name.startswith("events.out.tfevents")
    assert b"dev/nll" in log.read_bytes()


def test_a_finished_run_is_not_overwritten(reversing_run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    before = (reversing_run.path / "weights.npz").read_bytes()
    assert main(training_arguments(reversing_run.path.parent)) == 1
    assert "holds a run already; go on with --resume" in capsys.readouterr().err
    assert (reversing_run.path / "weights.npz").read_bytes() == before


# --- Parts ------------------------------------------------------------------------------------------------------


def test_the_learning_rate_rises_then_falls_along_half_a_cosine() -> None:
    config = TrainConfig(epochs=4, learning_rate=0.01, warmup_steps=20, final_learning_rate_factor=0.1)
    schedule = learning_rate_schedule(config, steps_per_epoch=30)
    rates = {step: float(schedule(step)) for step in (0, 5, 20, 70, 120, 500)}
    middle = 0.01 * (0.1 + 0.9 * 0.5)
    expected = {0: 0.0, 5: 0.0025, 20: 0.01, 70: middle, 120: 0.001, 500: 0.001}
    assert rates == pytest.approx(expected, abs=1e-7)


def test_without_warm_up_the_learning_rate_starts_at_the_top() -> None:
    config = TrainConfig(epochs=2, learning_rate=0.01, warmup_steps=0, final_learning_rate_factor=0.0)
    schedule = learning_rate_schedule(config, steps_per_epoch=50)
    assert [float(schedule(step)) for step in (0, 50, 100)] == pytest.approx([0.01, 0.005, 0.0], abs=1e-7)


def test_labels_are_the_inputs_moved_by_one_and_padding_weighs_nothing() -> None:
    source_ids, lengths = np.array([[5, 2, 0], [2, 0, 0]], dtype=np.int32), np.array([2, 1], dtype=np.int32)
    target_ids = np.array([[1, 7, 8, 2, 0], [0, 0, 0, 0, 0]], dtype=np.int32)
    inputs, labels, weights = teacher_forcing(Batch(source_ids, lengths, target_ids))
    assert inputs["target_inputs"].tolist() == [[1, 7, 8, 2], [0, 0, 0, 0]]
    assert labels.tolist() == [[7, 8, 2, 0], [0, 0, 0, 0]]
    assert weights.tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]
    assert inputs["source_ids"] is source_ids
    assert inputs["source_lengths"] is lengths


def test_only_export_and_products_on_jax_import_a_framework_below_keras() -> None:
    importing = {
        path.stem: found
        for path in Path(model_export.__file__).parent.rglob("*.py")
        if (found := imported_packages(path) & {"tensorflow", "tf2onnx", "jax", "torch"})
    }
    assert importing.pop("bfloat16_products") == {"jax"}
    assert importing.keys() == {"graphs", "onnx_recurrence"}


def imported_packages(path: Path) -> set[str]:
    """Top-level names of all packages that a module imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}
