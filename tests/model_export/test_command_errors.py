"""What goes wrong on the command line is found early, named clearly, and never passed over in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece

from model_export.cli import main
from model_export.config import ExperimentConfig
from model_export.export import training_data
from model_export.model_card import render_model_card
from model_export.run_directory import DataFacts, RunDirectory
from service.bundle.manifest import Manifest
from tests.model_export.commands import fail, train
from tests.reversing_task import WORDS, export_arguments, random_sentences, write_pairs
from tests.service.tiny_bundle import make_manifest

FACTS = DataFacts(source_language="en", target_language="ne", train_pairs=6000, dev_pairs=100)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "pairs.tsv", random_sentences(20, seed=6))
    return tmp_path / "pairs.tsv"


@pytest.fixture
def finished(reversing_run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of the trained run, with its data beside it."""
    for name in ("train.tsv", "dev.tsv", "config.yaml"):
        shutil.copy(reversing_run.path.parent / name, tmp_path)
    return RunDirectory(Path(shutil.copytree(reversing_run.path, tmp_path / "run")))


# --- The environment --------------------------------------------------------------------------------------------


def test_a_keras_backend_that_is_none_is_named(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    shown = fail(capsys, *train(pairs, tmp_path / "run"))
    assert shown == "KERAS_BACKEND: is 'theano'; it must be tensorflow, jax or torch"


def test_a_missing_keras_backend_is_not_looked_for_in_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_nothing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'jax'", name="jax")

    monkeypatch.setattr("importlib.import_module", import_nothing)
    assert fail(capsys, "split", "x.tsv", "--output", "y") == "jax is not installed; run: pip install 'jax'"


# --- Attention classes of one's own -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nowhere_at_all:Attention", "module nowhere_at_all"),
        ("tests.model_export.attention.own_layers:IgnoringMask", "expected weights of exactly 0 where mask is False"),
        ("tests.model_export.unexportable_layers:LoopingAttention", "decoder_step: node "),
        ("tests.model_export.unexportable_layers:UnexportableAttention", "decoder_step: cannot be exported to ONNX: "),
        ("tests.model_export.unexportable_layers:LogarithmAttention", "expected finite gradients, also at padding"),
    ],
)
def test_an_attention_class_that_cannot_be_used_is_named_before_any_work(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, problem: str
) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(f"model: {{units: 8, embedding_dim: 8, attention: {name!r}}}", encoding="utf-8")
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--config", str(config)))
    assert shown.startswith(f"{config}: model.attention: attention {name}: {problem}")
    assert not (tmp_path / "run").exists()


# --- Options of a new run ---------------------------------------------------------------------------------------


def test_a_seed_out_of_range_is_refused_at_once(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--seed", "-1"))
    assert shown == "--seed: Input should be greater than or equal to 0"


def test_a_vocabulary_size_that_the_tokenizer_does_not_have_is_refused(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {vocabulary_size: 50}\ntraining: {tokenizer_vocabulary_size: 37}", encoding="utf-8")
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--config", config))
    assert shown.startswith("model.vocabulary_size: is 50, but the tokenizer has 37 subwords")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_wrong_configuration_is_found_before_the_data_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {units: 7}", encoding="utf-8")
    shown = fail(capsys, *train(tmp_path / "missing.tsv", tmp_path / "run", "--config", config))
    assert shown.startswith(f"{config}: model: units: 7 is odd")


def test_several_sources_of_data_need_their_sizes(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "{name: a, licence: b, attribution: c, source: d}"
    config = tmp_path / "config.yaml"
    config.write_text(f"data: [{source}, {source}]", encoding="utf-8")
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--config", config))
    assert shown == f"{config}: data: each of several sources needs its number of sentence pairs (pairs)"


def test_a_tokenizer_that_is_none_is_named_with_its_path(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "garbage.model"
    garbage.write_bytes(b"garbage")
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--tokenizer", garbage))
    assert shown == f"{garbage}: tokenizer: is no SentencePiece model"
    assert fail(capsys, *train(pairs, tmp_path / "run", "--tokenizer", tmp_path)) == f"{tmp_path}: Is a directory"


def test_a_tokenizer_with_other_special_ids_is_refused(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(random_sentences(50, seed=1)),
        model_prefix=str(tmp_path / "other"),
        vocab_size=len(WORDS) + 6,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--tokenizer", tmp_path / "other.model"))
    assert shown.endswith("the ids of padding, start, end and unknown must be (0, 1, 2, 3), not (-1, 1, 2, 0)")


def test_a_vocabulary_too_small_for_the_text_is_explained_in_our_words(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("training: {tokenizer_vocabulary_size: 16}", encoding="utf-8")
    shown = fail(capsys, *train(pairs, tmp_path / "run", "--config", config))
    assert shown.startswith("tokenizer training failed: Vocabulary size is smaller than required_chars. 16 vs ")
    assert shown.endswith(" Increase tokenizer_vocabulary_size or decrease character_coverage.")


# --- Damaged runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"\xff", b'{"source_language": "English"}'])
def test_damaged_facts_are_named(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (finished.path / "data.json").write_bytes(content)
    shown = fail(capsys, *export_arguments(finished, tmp_path / "bundle"))
    assert shown.startswith(f"{finished.path / 'data.json'}: is damaged: ")


def test_a_damaged_tokenizer_is_named_with_its_path(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished.path / "tokenizer.model").write_bytes(b"garbage")
    shown = fail(capsys, "evaluate", "--run", finished.path, "--test", tmp_path / "dev.tsv")
    assert shown == f"{finished.path / 'tokenizer.model'}: tokenizer: is no SentencePiece model"


def test_an_empty_configuration_is_that_of_no_run(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished.path / "config.yaml").write_bytes(b"")
    shown = fail(capsys, "evaluate", "--run", finished.path, "--test", tmp_path / "dev.tsv")
    assert shown.startswith(f"{finished.path / 'config.yaml'}: model.vocabulary_size: is missing")


def test_a_run_without_an_ended_epoch_says_so(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished.path / "weights.npz").unlink()
    shown = fail(capsys, *export_arguments(finished, tmp_path / "bundle"))
    assert shown == f"{finished.path}: weights.npz is missing: no epoch of the training has ended yet"


def test_facts_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.claim(FACTS)
    assert run.read_data_facts() == FACTS
    assert json.loads((run.path / "data.json").read_text(encoding="utf-8"))["train_pairs"] == 6000


# --- Export and evaluation --------------------------------------------------------------------------------------


def test_too_small_a_dev_file_is_refused_before_anything_is_converted(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path / "dev.tsv", random_sentences(99, seed=2))
    shown = fail(capsys, *export_arguments(finished, tmp_path / "bundle"))
    assert shown.startswith(f"{tmp_path / 'dev.tsv'}: has 99 pairs, and parity.sentences asks for at least 100; ")
    assert not (tmp_path / "bundle").exists()


def test_a_precision_of_a_run_is_refused(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = fail(capsys, "evaluate", "--run", tmp_path, "--test", pairs, "--precision", "int8")
    assert shown == "--precision: chooses among a bundle's graphs, so it needs --bundle"


def test_the_figures_are_shown_even_if_the_translations_cannot_be_written(
    reversing_bundle: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--bundle", str(reversing_bundle), "--test", str(pairs), "--beam-size", "1"]
    assert main([*arguments, "--translations", str(pairs / "out.txt")]) == 1
    captured = capsys.readouterr()
    assert "\nBLEU " in captured.out
    assert captured.err.splitlines()[-1] == f"interlinear-export: {pairs / 'out.txt'}: Not a directory"


def test_columns_that_cannot_hold_a_pair_are_refused(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = fail(capsys, "split", pairs, "--columns", "1", "--output", tmp_path / "parts")
    assert shown == "columns: a line needs at least 2, source and target; got 1"


# --- What the bundle says of its data ---------------------------------------------------------------------------


def test_each_source_counts_its_own_pairs() -> None:
    source = {"licence": "CC0", "attribution": "nobody", "source": "own"}
    several = ExperimentConfig.model_validate(
        {"data": [{"name": "a", "pairs": 10, **source}, {"name": "b", "pairs": 5990, **source}]}
    )
    assert [data.pairs for data in training_data(FACTS, several)] == [10, 5990]
    single = ExperimentConfig.model_validate({"data": [{"name": "a", **source}]})
    assert [data.pairs for data in training_data(FACTS, single)] == [6000]


def test_a_card_without_data_says_that_none_is_recorded() -> None:
    values = make_manifest(("int8",)) | {"files": {}, "training": {"config": {}, "data": []}}
    card = render_model_card(Manifest.model_validate_json(json.dumps(values)))
    assert "## Training data\n\nNot recorded.\n" in card
