"""`interlinear-export train`: every format of pairs is taken; a run goes on, or begins with another, only as it may."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from model_export.checkpoint import save_variables
from model_export.cli import main
from model_export.run_directory import DataFacts, RunDirectory
from model_export.training import Trainer
from model_export.training_progress import Progress
from tests.model_export.commands import fail
from tests.reversing_task import CONFIG, random_sentences, reverse, training_arguments


@pytest.fixture
def finished(reversing_run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the trained run, with its data beside it."""
    for name in ("train.tsv", "dev.tsv", "config.yaml"):
        shutil.copy(reversing_run.path.parent / name, tmp_path)
    return RunDirectory(Path(shutil.copytree(reversing_run.path, tmp_path / "run")))


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps at which training would have begun; it does not."""
    steps: list[int] = []

    def begin(trainer: Trainer) -> Progress:
        steps.append(trainer.progress.step)
        return trainer.progress

    monkeypatch.setattr(Trainer, "run", begin)
    return steps


# --- Formats ----------------------------------------------------------------------------------------------------

SENTENCES = random_sentences(20, seed=6)


def as_tmx(sentences: list[str]) -> str:
    """A translation memory with a unit that lacks the target."""
    units = "".join(
        f'<tu><tuv xml:lang="en-GB"><seg>{sentence}</seg></tuv>'
        f'<tuv xml:lang="ne"><seg>{reverse(sentence)}</seg></tuv></tu>'
        for sentence in sentences
    )
    return f'<tmx><body>{units}<tu><tuv xml:lang="en"><seg>alone</seg></tuv></tu></body></tmx>'


@pytest.mark.usefixtures("starts")
def test_pairs_come_from_parallel_files_or_a_translation_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target, memory = (tmp_path / name for name in ("text.en", "text.ne", "memory.tmx"))
    source.write_text("\n".join(SENTENCES), encoding="utf-8")
    target.write_text("\n".join(reverse(sentence) for sentence in SENTENCES), encoding="utf-8")
    memory.write_text(as_tmx(SENTENCES), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    languages = ("--source-language", "en", "--target-language", "ne", "--config", str(tmp_path / "config.yaml"))
    files = ("--train", str(source), str(target), "--dev", str(memory), "--output", str(tmp_path / "run"))
    assert main(["train", *languages, *files]) == 0
    assert f"{memory}: 20 pairs\n  left out: missing language: 1 (unit 21)\n" in capsys.readouterr().out
    facts = RunDirectory(tmp_path / "run").read_data_facts()
    assert facts == DataFacts(source_language="en", target_language="ne", train_pairs=20, dev_pairs=20)


# --- Attention of one's own -----------------------------------------------------------------------------------


def test_on_other_backends_than_tensorflow_nothing_is_converted_before_training(
    finished: RunDirectory, starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = finished.path.parent
    shutil.rmtree(finished.path)
    attention = "tests.model_export.unexportable_layers:LoopingAttention"
    text = CONFIG.replace("model: {", f"model: {{attention: '{attention}', ")
    (directory / "config.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert main(training_arguments(directory)) == 0
    assert starts == [0]


# --- Resuming ---------------------------------------------------------------------------------------------------


def resume(run: RunDirectory, *options: str | Path) -> list[str]:
    return [*training_arguments(run.path.parent), "--resume", *(str(option) for option in options)]


def test_a_finished_run_has_nothing_to_resume(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished.path / "checkpoint.npz").read_bytes()
    assert main(resume(finished)) == 0
    assert "training had ended after " in capsys.readouterr().out
    assert (finished.path / "checkpoint.npz").read_bytes() == before


def test_resuming_under_other_settings_is_refused(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(capsys, *resume(finished, "--seed", "9")).startswith("--resume: training.seed: not as in ")
    config = finished.path.parent / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("units: 48", "units: 64"), encoding="utf-8")
    assert fail(capsys, *resume(finished)).startswith("--resume: model.units: not as in ")


def test_resuming_with_another_tokenizer_is_refused(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    own, other = finished.path / "tokenizer.model", finished.path.parent / "other.model"
    other.write_bytes(own.read_bytes() + b"\x22\x00")  # one empty field more, which changes nothing else
    assert fail(capsys, *resume(finished, "--tokenizer", other)).startswith("--resume: --tokenizer is not that of ")
    assert main(resume(finished, "--tokenizer", own)) == 0


def test_resuming_on_other_data_is_refused(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    with (finished.path.parent / "dev.tsv").open("a", encoding="utf-8") as file:
        file.write("a b\tb a\n")
    assert fail(capsys, *resume(finished)).startswith("--resume: languages and numbers of pairs must be those in ")


def test_a_run_that_was_stopped_before_its_first_checkpoint_starts_again(
    finished: RunDirectory, starts: list[int]
) -> None:
    (finished.path / "checkpoint.npz").unlink()
    assert main(resume(finished)) == 0
    assert starts == [0]


def test_a_new_run_does_not_go_on_with_what_lies_in_its_directory(finished: RunDirectory, starts: list[int]) -> None:
    (finished.path / "config.yaml").unlink()
    assert main(training_arguments(finished.path.parent)) == 0
    assert starts == [0]


# --- Starting from another run ------------------------------------------------------------------------------------

TUNING = "training: {epochs: 1, tokens_per_batch: 512}"
LOSS_BEFORE = re.compile(r"^dev loss ([0-9.]+) nats per token before training$", re.MULTILINE)


def start(base: RunDirectory, *options: str | Path, config: str = TUNING) -> list[str]:
    """Arguments that train into `tuned` beside the base run, on its data."""
    (base.path.parent / "config.yaml").write_text(config, encoding="utf-8")
    arguments = training_arguments(base.path.parent, "tuned")
    return [*arguments, "--start-from", str(base.path), *(str(option) for option in options)]


def shown_loss(capsys: pytest.CaptureFixture[str]) -> float:
    """The loss on dev that was printed before training."""
    [loss] = LOSS_BEFORE.findall(capsys.readouterr().out)
    return float(loss)


def best_loss(run: RunDirectory) -> float:
    """The loss on dev at which the run's weights were kept."""
    with np.load(run.path / "weights.npz") as archive:
        return float(json.loads(archive["progress"].tobytes())["best_dev_loss"])


def test_training_begins_with_the_weights_and_the_tokenizer_of_the_other_run(
    finished: RunDirectory, starts: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(start(finished)) == 0
    assert starts == [0]
    assert shown_loss(capsys) == pytest.approx(best_loss(finished), abs=1e-4)
    tuned = RunDirectory(finished.path.parent / "tuned")
    assert tuned.tokenizer_path.read_bytes() == finished.tokenizer_path.read_bytes()
    assert tuned.read_config().model == finished.read_config().model
    assert tuned.read_config().training.epochs == 1


def test_without_a_configuration_that_of_the_other_run_is_taken(finished: RunDirectory, starts: list[int]) -> None:
    arguments = start(finished)
    position = arguments.index("--config")
    assert main(arguments[:position] + arguments[position + 2 :]) == 0
    assert starts == [0]
    assert RunDirectory(finished.path.parent / "tuned").read_config() == finished.read_config()


def test_a_run_stopped_before_its_first_checkpoint_still_has_the_weights_it_began_with(
    finished: RunDirectory, starts: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(start(finished)) == 0
    expected = best_loss(finished)
    shutil.rmtree(finished.path)
    capsys.readouterr()
    assert main([*training_arguments(finished.path.parent, "tuned"), "--resume"]) == 0
    assert starts == [0, 0]
    assert shown_loss(capsys) == pytest.approx(expected, abs=1e-4)


def test_weights_that_an_earlier_attempt_left_are_not_begun_with(
    finished: RunDirectory, starts: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    (finished.path / "config.yaml").unlink()
    (finished.path / "weights.npz").rename(finished.path / "initial_weights.npz")
    assert main(training_arguments(finished.path.parent)) == 0
    assert starts == [0]
    assert not LOSS_BEFORE.findall(capsys.readouterr().out)
    assert RunDirectory(finished.path).initial_weights_path is None


def test_dropout_may_be_another_but_not_begin(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    other = "model: {embedding_dim: 24, units: 48, dropout: 0.1}\n" + TUNING
    shown = fail(capsys, *start(finished, config=other))
    assert shown.startswith("--start-from: model.dropout: not as in ")
    first = other.replace("0.1", "0.2").replace("epochs: 1", "epochs: 1, tokenizer_vocabulary_size: 37")
    (finished.path.parent / "config.yaml").write_text(first, encoding="utf-8")
    assert main(training_arguments(finished.path.parent, "first")) == 0
    with_dropout = RunDirectory(finished.path.parent / "first")
    capsys.readouterr()
    assert main(start(with_dropout, config=other)) == 0
    assert shown_loss(capsys) == pytest.approx(best_loss(with_dropout), abs=1e-4)
    assert RunDirectory(finished.path.parent / "tuned").read_config().model.dropout == 0.1


def test_weights_of_another_model_are_refused(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    other = "model: {embedding_dim: 24, units: 64, dropout: 0.0}"
    shown = fail(capsys, *start(finished, config=other))
    assert shown.startswith(f"--start-from: model.units: not as in {finished.path / 'config.yaml'}; leave ")
    assert not (finished.path.parent / "tuned").exists()


@pytest.mark.parametrize("option", ["--resume", "--tokenizer"])
def test_what_contradicts_the_other_run_is_refused(
    finished: RunDirectory, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    value = [finished.tokenizer_path] if option == "--tokenizer" else []
    shown = fail(capsys, *start(finished, option, *value))
    assert shown.startswith(f"--start-from: does not go with {option}: ")
    assert not (finished.path.parent / "tuned").exists()


def test_a_run_to_begin_with_must_have_weights_that_fit_it(
    finished: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, tuned = finished.path / "weights.npz", finished.path.parent / "tuned"
    save_variables(weights, [])
    assert fail(capsys, *start(finished)).startswith(f"{weights}: 000/")
    weights.unlink()
    shown = fail(capsys, *start(finished))
    assert shown == f"{finished.path}: weights.npz is missing: no epoch of the training has ended yet"
    shutil.rmtree(finished.path)
    assert fail(capsys, *start(finished)) == f"{finished.path}: no training run here (config.yaml is missing)"
    assert not tuned.exists()
