"""Guided training: attention goes where the links are, on both Keras backends and in both directions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_export.cli import main
from model_export.run_directory import RunDirectory
from model_export.seq2seq import Seq2Seq
from service.bundle.tokenizer import Tokenizer
from tests.model_export.commands import fail
from tests.model_export.guided_task import DEV_PAIRS, GUIDED_CONFIG, write_task
from tests.model_export.tiny_models import as_numpy
from tests.reversing_task import CONFIG, random_sentences, reverse, training_arguments

PAIRS = 2500


def mass_on_same_place(run: RunDirectory, row_offset: int = 0, mechanism: int = 0) -> float:
    """The mean attention of unseen sentences' words to the word of the same place."""
    model, _ = run.load_model()
    tokenizer = run.read_tokenizer()
    texts = [text for text in random_sentences(100, seed=3) if len(text.split()) == 6]
    logits, alignments = model.predict_next(teach(tokenizer, texts))
    rows = as_numpy(alignments[mechanism])[:, row_offset : 6 + row_offset, :6]
    assert as_numpy(logits).shape == (len(texts), 7, 37)
    return float(np.diagonal(rows, axis1=1, axis2=2).mean())


def teach(tokenizer: Tokenizer, texts: list[str]) -> dict[str, np.ndarray]:
    sources = np.array([[*tokenizer.encode_ids(text), tokenizer.eos_id] for text in texts], dtype=np.int32)
    targets = np.array([[tokenizer.bos_id, *tokenizer.encode_ids(text)[::-1]] for text in texts], dtype=np.int32)
    lengths = np.full(len(texts), sources.shape[1], dtype=np.int32)
    return {"source_ids": sources, "source_lengths": lengths, "target_inputs": targets}


def test_attention_of_the_primary_mechanism_goes_where_the_links_are(tmp_path: Path) -> None:
    config = GUIDED_CONFIG.replace("dropout: 0.0", "dropout: 0.0, attention: [luong, bahdanau]")
    options = write_task(tmp_path, config, PAIRS)
    assert main([*training_arguments(tmp_path), *options]) == 0
    run = RunDirectory(tmp_path / "run")
    assert mass_on_same_place(run) > 0.9
    assert mass_on_same_place(run, mechanism=1) < 0.3
    assert run.read_data_facts().alignments_sha256 is not None


def test_without_guidance_attention_is_not_there(reversing_run: RunDirectory) -> None:
    assert mass_on_same_place(reversing_run) < 0.3


def test_an_aligner_is_guided_and_leaves_the_other_attention_to_itself(tmp_path: Path) -> None:
    config = CONFIG.replace("epochs: 4", "epochs: 3\n  aligner_weight: 1.0")
    options = write_task(tmp_path, config.replace("dropout: 0.0", "dropout: 0.0, aligner: bahdanau"), PAIRS)
    assert main([*training_arguments(tmp_path), *options]) == 0
    run = RunDirectory(tmp_path / "run")
    assert mass_on_same_place(run, row_offset=1) > 0.9
    assert mass_on_same_place(run, mechanism=1) < 0.3


def test_guidance_of_the_step_that_reads_a_token_works_and_does_so_on_jax(tmp_path: Path) -> None:
    config = GUIDED_CONFIG.replace("epochs: 3", "epochs: 3\n  alignment_row_offset: 1")
    options = write_task(tmp_path, config, PAIRS)
    result = subprocess.run(
        [sys.executable, "-m", "model_export.cli", *training_arguments(tmp_path), *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert mass_on_same_place(RunDirectory(tmp_path / "run"), row_offset=1) > 0.9


def test_what_attention_loses_on_dev_is_reported_after_every_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = GUIDED_CONFIG.replace("epochs: 3", "epochs: 1\n  alignment_final_weight_factor: 0.0")
    options = write_task(tmp_path, config.replace("dropout: 0.0", "dropout: 0.0, aligner: luong"), 50)
    dev_links = ("--dev-alignments", str(tmp_path / "dev.links"))
    assert main([*training_arguments(tmp_path), *options, *dev_links]) == 0
    model, progress = RunDirectory(tmp_path / "run").load_model()
    tokenizer = RunDirectory(tmp_path / "run").read_tokenizer()
    predicting, reading = [], []  # -log of the attention that links ask for, of the step of a word and the one after
    for length in (6, 7):
        texts = [text for text in random_sentences(DEV_PAIRS, seed=2) if len(text.split()) == length]
        _, (aligner, attention) = model.predict_next(teach(tokenizer, texts))
        places = np.arange(length)
        predicting += list(-np.log(as_numpy(attention)[:, places, places]).ravel())
        reading += list(-np.log(as_numpy(aligner)[:, places + 1, places]).ravel())
        reading += list(-np.log(as_numpy(aligner)[:, 0, length]))  # the start is drawn to the end of the source
    [epoch] = progress["history"]
    assert epoch["dev_alignments_loss"] == pytest.approx(np.mean(predicting), rel=1e-3)
    assert epoch["dev_aligner_loss"] == pytest.approx(np.mean(reading), rel=1e-3)
    assert f"dev aligner loss {epoch['dev_aligner_loss']:.4f} per token" in capsys.readouterr().out


# --- The command line -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attention", "field"),
    [
        ("attention: {name: luong, probability_fn: hardmax}", "attention"),
        ("attention: {name: luong_monotonic, mode: hard}", "attention"),
        ("aligner: {name: luong, probability_fn: hardmax}", "aligner"),
    ],
)
def test_attention_without_a_gradient_cannot_be_guided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], attention: str, field: str
) -> None:
    options = write_task(tmp_path, GUIDED_CONFIG.replace("dropout: 0.0", f"dropout: 0.0, {attention}"), 20)
    shown = fail(capsys, *training_arguments(tmp_path), *options)
    assert shown == f"model.{field}: attends to one position at a time, so no loss can draw it anywhere"


def test_alignments_and_their_weight_need_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = write_task(tmp_path, GUIDED_CONFIG, 20)
    arguments = training_arguments(tmp_path)
    shown = fail(capsys, *arguments)
    assert shown == "training.alignment_weight: is 1.0, so word alignments are needed; add --alignments"
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    assert fail(capsys, *arguments, *options).startswith("--alignments: training.alignment_weight is 0")
    shown = fail(capsys, *arguments, "--dev-alignments", tmp_path / "dev.links")
    assert shown == "--dev-alignments: judge guided training, so they need --alignments"
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a task and `forth`, a run of one epoch on its swapped columns."""
    directory = tmp_path_factory.mktemp("swapped")
    options = write_task(directory, GUIDED_CONFIG.replace("epochs: 3", "epochs: 1"), 50)
    assert main([*training_arguments(directory, "forth"), *options, "--swap"]) == 0
    return directory


def test_a_run_goes_on_with_its_own_alignments_and_columns_only(
    swapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, links = [*training_arguments(swapped, "forth"), "--resume", "--alignments"], str(swapped / "links")
    assert fail(capsys, *arguments, links) == "--resume: the run was started with --swap"
    assert main([*arguments, links, "--swap"]) == 0
    others = tmp_path / "links"
    others.write_text(Path(links).read_text(encoding="utf-8").replace("1-1", "1-0", 1), encoding="utf-8")
    shown = fail(capsys, *arguments, others, "--swap")
    assert shown.startswith("--resume: --alignments must be those that the run in ")


def test_swapping_trains_in_the_other_direction(swapped: Path, tmp_path: Path) -> None:
    for name in ("train", "dev"):  # the same files with their columns changed
        lines = (swapped / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        changed = "".join("\t".join(reversed(line.split("\t"))) + "\n" for line in lines)
        (tmp_path / f"{name}.tsv").write_text(changed, encoding="utf-8")
    shutil.copy(swapped / "config.yaml", tmp_path)
    options = ["--alignments", str(swapped / "links"), "--tokenizer", str(swapped / "forth" / "tokenizer.model")]
    assert main([*training_arguments(tmp_path, "back"), *options]) == 0
    forth_model, _ = RunDirectory(swapped / "forth").load_model()
    back_model, _ = RunDirectory(tmp_path / "back").load_model()
    assert isinstance(forth_model, Seq2Seq)
    np.testing.assert_allclose(as_numpy(forth_model.output_bias), as_numpy(back_model.output_bias), atol=1e-5)


def test_evaluation_takes_swapped_columns(reversing_run: RunDirectory, tmp_path: Path) -> None:
    sentences = random_sentences(20, seed=9)
    path, translations, figures = (tmp_path / name for name in ("test.tsv", "translations", "figures.json"))
    path.write_text("".join(f"{sentence}\t{reverse(sentence)}\n" for sentence in sentences), encoding="utf-8")
    files = ("--test", str(path), "--translations", str(translations), "--json", str(figures))
    assert main(["evaluate", "--run", str(reversing_run.path), *files, "--beam-size", "1", "--swap"]) == 0
    found = translations.read_text(encoding="utf-8").splitlines()
    assert sum(line == sentence for line, sentence in zip(found, sentences, strict=True)) >= 18
    assert json.loads(figures.read_text(encoding="utf-8"))["metrics"][0]["value"] > 90
