"""Guided alignment: attention goes where it is drawn, rows without links are left alone, and a run can be resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_export.batching import BucketedBatches
from model_export.cli import main
from model_export.config import TrainConfig
from model_export.corpus_readers import Corpus, SentencePair
from model_export.data import EncodedPairs, encode_pairs
from model_export.guided_alignment import AlignmentCrossEntropy, alignment_row_weights, alignment_weight, guide
from model_export.run_directory import RunDirectory
from model_export.seq2seq import Seq2Seq
from service.bundle.tokenizer import Tokenizer
from tests.model_export.test_cli import fail
from tests.model_export.test_training import SHORT_CONFIG, read_checkpoint, run_python
from tests.model_export.tiny_models import as_numpy
from tests.reversing_task import CONFIG, random_sentences, reverse, training_arguments, write_pairs
from tests.small_corpus import PAIRS, small_tokenizer

GUIDED_CONFIG = CONFIG.replace("epochs: 4", "epochs: 3\n  alignment_weight: 1.0")

# --- Targets ----------------------------------------------------------------------------------------------------


def one_pair(token_links: list[tuple[int, int]]) -> EncodedPairs:
    pairs = EncodedPairs(pad_id=0, eos_id=2)
    pairs.source_ids.append(np.array([5, 6, 7, 2], dtype=np.int32))
    pairs.target_ids.append(np.array([1, 8, 9, 2], dtype=np.int32))
    pairs.token_links.append(np.array(token_links, dtype=np.int32).reshape(-1, 2))
    return pairs


@pytest.mark.parametrize("row_offset", [0, 1])
def test_rows_share_their_mass_among_the_links(row_offset: int) -> None:
    (batch,) = BucketedBatches(one_pair([(0, 1), (1, 0), (1, 2)]), 8, seed=1).epoch(0)
    expected = np.zeros((2, 4, 4), dtype=np.float32)  # the second row of the batch is filled up
    expected[0, row_offset, 1] = 1.0
    expected[0, row_offset + 1, [0, 2]] = 0.5
    found = guide(batch, {"alignments": 1.0}, row_offset).targets["alignments"]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_the_aligner_is_drawn_to_the_words_of_the_token_that_a_step_reads_or_to_the_end() -> None:
    (batch,) = BucketedBatches(one_pair([(1, 0), (1, 2)]), 8, seed=1).epoch(0)
    guidance = guide(batch, {"alignments": 0.1, "aligner": 0.3}, row_offset=0)
    expected = np.zeros((2, 4, 4), dtype=np.float32)
    expected[0, [0, 1], 3] = 1.0  # neither the start nor the first token has links
    expected[0, 2, [0, 2]] = 0.5  # and the end of sentence is read by no step
    np.testing.assert_array_equal(guidance.targets["aligner"], expected)
    weights = np.zeros((2, 4), dtype=np.float32)
    weights[0, :3] = 0.1
    np.testing.assert_array_equal(guidance.row_weights["aligner"], weights)
    np.testing.assert_array_equal(guidance.row_weights["alignments"][0], np.array([0, 0.1, 0, 0], dtype=np.float32))


def test_without_alignments_nothing_is_guided() -> None:
    pairs = one_pair([])
    pairs.token_links.clear()
    (batch,) = BucketedBatches(pairs, 8, seed=1).epoch(0)
    guidance = guide(batch, {"alignments": 0.0, "aligner": 0.0}, row_offset=0)
    assert not any(array.any() for array in (*guidance.targets.values(), *guidance.row_weights.values()))


def test_without_alignments_batches_have_none() -> None:
    pairs = one_pair([])
    pairs.token_links.clear()
    (batch,) = BucketedBatches(pairs, 8, seed=1).epoch(0)
    assert batch.alignments is None


def test_links_of_words_become_links_of_their_subwords() -> None:
    tokenizer = small_tokenizer()
    source, target = PAIRS[1]  # I do n't know where ... | Je ne sais pas ...
    links = [np.array([[2, 1], [2, 3], [3, 2]], dtype=np.int32)]
    corpus = Corpus("test", [SentencePair(source, target)], [1])
    encoded = encode_pairs(corpus, tokenizer, 100, links)

    def tokens_of(text: str, word: str) -> set[int]:
        start = text.index(word)
        tokens = tokenizer.encode(text)
        return {index for index, token in enumerate(tokens) if start <= token.start < start + len(word)}

    linked = [("n't", "ne"), ("n't", "pas"), ("know", "sais")]
    expected = {(i, j) for left, right in linked for i in tokens_of(target, right) for j in tokens_of(source, left)}
    assert len(expected) > 3
    assert {tuple(link) for link in encoded.token_links[0].tolist()} == expected
    assert f", {len({i for i, _ in expected})} of which have links" in encoded.report()


# --- The loss ---------------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_mean_over_linked_rows() -> None:
    targets = np.array([[[1, 0, 0], [0, 0, 0]], [[0, 0.5, 0.5], [0, 0, 0]]], dtype=np.float32)
    attention = np.array([[[0.5, 0.25, 0.25], [1, 0, 0]], [[0.5, 0.25, 0.25], [0, 1, 0]]], dtype=np.float32)
    weights = alignment_row_weights(targets, 0.3)
    np.testing.assert_allclose(weights, [[0.15, 0.0], [0.15, 0.0]], rtol=1e-6)
    loss = AlignmentCrossEntropy()(targets, attention, sample_weight=weights)
    assert float(as_numpy(loss)) == pytest.approx(0.3 * (np.log(2) + np.log(4)) / 2, rel=1e-5)


def test_a_batch_without_links_has_no_loss() -> None:
    targets = np.zeros((2, 3, 4), dtype=np.float32)
    weights = alignment_row_weights(targets, 0.3)
    assert float(as_numpy(AlignmentCrossEntropy()(targets, targets, sample_weight=weights))) == 0.0


def test_the_weight_goes_along_a_straight_line() -> None:
    config = TrainConfig(alignment_weight=0.4, alignment_final_weight_factor=0.25)
    found = [alignment_weight(config, step, 200) for step in (0, 100, 200, 300)]
    assert found == pytest.approx([0.4, 0.25, 0.1, 0.1])
    assert alignment_weight(TrainConfig(alignment_weight=0.4), 150, 200) == pytest.approx(0.4)


# --- Training ---------------------------------------------------------------------------------------------------


def write_task(directory: Path, config: str, pairs: int) -> list[str]:
    """Sentences with their reversals, but with links from each word to that of the same place.

    Nothing but guidance can draw attention there: to translate, it would have to go the other way.
    """
    sentences = random_sentences(pairs, seed=1)
    write_pairs(directory / "train.tsv", sentences)
    write_pairs(directory / "dev.tsv", random_sentences(50, seed=2))
    links = (" ".join(f"{place}-{place}" for place in range(len(sentence.split()))) for sentence in sentences)
    (directory / "links").write_text("".join(f"{line}\n" for line in links), encoding="utf-8")
    (directory / "config.yaml").write_text(config, encoding="utf-8")
    return ["--alignments", str(directory / "links")]


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


@pytest.mark.parametrize("row_offset", [0, 1])
def test_attention_goes_where_the_links_are(tmp_path: Path, row_offset: int) -> None:
    config = GUIDED_CONFIG.replace("epochs: 3", f"epochs: 3\n  alignment_row_offset: {row_offset}")
    options = write_task(tmp_path, config, 3000)
    assert main([*training_arguments(tmp_path), *options]) == 0
    run = RunDirectory(tmp_path / "run")
    assert mass_on_same_place(run, row_offset) > 0.9
    assert run.read_data_facts().alignments_sha256 is not None


def test_without_guidance_attention_is_not_there(reversing_run: RunDirectory) -> None:
    assert mass_on_same_place(reversing_run) < 0.3


def test_the_primary_of_several_mechanisms_is_guided(tmp_path: Path) -> None:
    config = GUIDED_CONFIG.replace("dropout: 0.0", "dropout: 0.0, attention: [luong, bahdanau]")
    options = write_task(tmp_path, config, 3000)
    assert main([*training_arguments(tmp_path), *options]) == 0
    assert mass_on_same_place(RunDirectory(tmp_path / "run")) > 0.9


def test_an_aligner_is_guided_and_leaves_the_other_attention_to_itself(tmp_path: Path) -> None:
    config = CONFIG.replace("epochs: 4", "epochs: 3\n  aligner_weight: 1.0")
    options = write_task(tmp_path, config.replace("dropout: 0.0", "dropout: 0.0, aligner: bahdanau"), 3000)
    assert main([*training_arguments(tmp_path), *options]) == 0
    run = RunDirectory(tmp_path / "run")
    assert mass_on_same_place(run, row_offset=1) > 0.9
    assert mass_on_same_place(run, mechanism=1) < 0.3


def test_guidance_works_on_jax(tmp_path: Path) -> None:
    options = write_task(tmp_path, GUIDED_CONFIG, 3000)
    result = subprocess.run(
        [sys.executable, "-m", "model_export.cli", *training_arguments(tmp_path), *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert mass_on_same_place(RunDirectory(tmp_path / "run")) > 0.9


def test_a_resumed_guided_run_equals_an_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    config = SHORT_CONFIG.replace(
        "epochs: 2", "epochs: 2\n  alignment_weight: 0.5\n  alignment_final_weight_factor: 0\n  subword_candidates: 3"
    )
    options = write_task(tmp_path, config, 400)
    run_python("tests.model_export.interrupted_training", str(tmp_path), *options)
    arguments = [*training_arguments(tmp_path, "interrupted"), *options]
    run_python("model_export.cli", *arguments, "--deterministic", "--resume")
    resumed, resumed_progress = read_checkpoint(tmp_path / "interrupted")
    whole, progress = read_checkpoint(tmp_path / "whole")
    assert resumed_progress["step"] == progress["step"]
    assert resumed.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


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
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_alignments_and_columns_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = write_task(tmp_path, GUIDED_CONFIG, 50)
    arguments = training_arguments(tmp_path)
    assert main([*arguments, *options, "--swap"]) == 0
    assert fail(capsys, *arguments, *options, "--resume") == "--resume: the run was started with --swap"
    assert main([*arguments, *options, "--swap", "--resume"]) == 0
    links = tmp_path / "links"
    links.write_text(links.read_text(encoding="utf-8").replace("1-1", "1-0", 1), encoding="utf-8")
    shown = fail(capsys, *arguments, *options, "--swap", "--resume")
    assert shown.startswith("--resume: --alignments must be those that the run in ")


def test_swapping_trains_in_the_other_direction(tmp_path: Path) -> None:
    config = GUIDED_CONFIG.replace("epochs: 3", "epochs: 1")
    options = write_task(tmp_path, config, 50)
    forth = training_arguments(tmp_path, "forth")
    assert main([*forth, *options, "--swap"]) == 0
    for name in ("train", "dev"):  # the same files with their columns changed
        path = tmp_path / f"{name}.tsv"
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("".join("\t".join(reversed(line.split("\t"))) + "\n" for line in lines), encoding="utf-8")
    tokenizer = ["--tokenizer", str(tmp_path / "forth" / "tokenizer.model")]
    assert main([*training_arguments(tmp_path, "back"), *options, *tokenizer]) == 0
    forth_model, _ = RunDirectory(tmp_path / "forth").load_model()
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
