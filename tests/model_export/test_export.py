"""What an export leaves behind: a bundle that agrees with its run, or nothing at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

import model_export.export
from model_export.attention_config import CustomAttentionConfig
from model_export.checkpoint import save_variables
from model_export.cli import main
from model_export.config import save_config
from model_export.decoder import Decoder
from model_export.decoder_tensors import DecoderTensors
from model_export.export import GRAPH_NAMES, activation_bounds
from model_export.graphs import Graphs
from model_export.half_precision import to_half_precision
from model_export.run_directory import RunDirectory
from model_export.seq2seq import Seq2Seq
from service.bundle.manifest import FORMAT_VERSION, Manifest
from service.bundle.normalization import NORMALIZATION
from service.bundle.reader import read_bundle
from service.bundle.verification import fingerprint
from service.onnx_backend import BackendOptions, load_backend
from tests.model_export.tiny_models import tiny_config
from tests.reversing_task import export_arguments


@pytest.fixture(scope="module")
def manifest(reversing_bundle: Path) -> Manifest:
    return read_bundle(reversing_bundle).manifest


@pytest.fixture
def converted(reversing_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test the conversion: the graphs are those of `reversing_bundle`."""
    graphs = {
        precision: Graphs(*(onnx.load(reversing_bundle / f"{graph}.{precision}.onnx") for graph in GRAPH_NAMES))
        for precision in ("fp32", "int8")
    }
    graphs["fp16"] = Graphs(*map(to_half_precision, graphs["fp32"]))
    monkeypatch.setattr(
        model_export.export, "make_graphs", lambda _, precisions: {name: graphs[name] for name in precisions}
    )


@pytest.fixture
def strict_run(reversing_run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """The trained run under a limit that no graph can meet."""
    directory = tmp_path / "strict"
    directory.mkdir()
    shutil.copy(reversing_run.path.parent / "dev.tsv", directory)
    shutil.copytree(reversing_run.path, directory / "run")
    config = directory / "run" / "config.yaml"
    text = config.read_text(encoding="utf-8")
    assert "fp32_max_difference: 0.0001" in text
    config.write_text(text.replace("fp32_max_difference: 0.0001", "fp32_max_difference: 1.0e-12"), encoding="utf-8")
    return RunDirectory(directory / "run")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# --- What the bundle says ---------------------------------------------------------------------------------------


def test_the_bundle_holds_exactly_what_its_manifest_lists(reversing_bundle: Path, manifest: Manifest) -> None:
    names = {f"{graph}.{precision}.onnx" for graph in GRAPH_NAMES for precision in ("fp32", "int8")}
    assert set(manifest.files) == {*names, "tokenizer.model", "MODEL_CARD.md"}
    assert {path.name for path in reversing_bundle.iterdir()} == {*manifest.files, "manifest.json"}
    for name, entry in manifest.files.items():
        assert fingerprint(reversing_bundle / name) == entry


def test_the_manifest_describes_the_run(reversing_run: RunDirectory, manifest: Manifest) -> None:
    config = reversing_run.read_config()
    assert (manifest.format_version, manifest.name) == (FORMAT_VERSION, "reverser")
    assert (manifest.source_language, manifest.target_language) == ("en", "ne")
    assert manifest.architecture == {**config.model.model_dump(mode="json"), "attention_mechanism": "bahdanau"}
    assert manifest.training.config == config.training.model_dump()
    assert manifest.tokenizer.vocabulary_size == config.model.vocabulary_size
    assert manifest.tokenizer.normalization == NORMALIZATION
    assert manifest.tokenizer.special_ids.model_dump() == {"pad": 0, "bos": 1, "eos": 2, "unk": 3}
    assert manifest.max_source_tokens == config.training.max_tokens + 1
    assert manifest.versions.keys() >= {"tensorflow", "keras", "tf2onnx", "onnxruntime", "sentencepiece"}


def test_the_tensors_are_those_of_every_graph(reversing_bundle: Path, manifest: Manifest) -> None:
    assert (manifest.memory, manifest.state) == (("memory_keys", "memory_values"), ("hidden_0", "attention_vector"))
    shapes = {spec.name: spec.shape for spec in manifest.tensors.decoder_step.inputs}
    assert shapes == {
        "input_ids": ("rows",),
        "forced_ids": ("rows",),
        "num_candidates": (1,),
        "source_mask": ("rows", "source_len"),
        "memory_keys": ("rows", "source_len", 48),
        "memory_values": ("rows", "source_len", 48),
        "hidden_0": ("rows", 48),
        "attention_vector": ("rows", 24),
    }
    for precision in manifest.precisions:  # loading compares each graph with the manifest
        load_backend(read_bundle(reversing_bundle), BackendOptions("cpu", precision))


def test_measured_parity_stands_in_the_manifest_and_on_the_card(reversing_bundle: Path, manifest: Manifest) -> None:
    fp32, int8 = manifest.precisions["fp32"].parity, manifest.precisions["int8"].parity
    assert 0 < fp32["max_log_prob_difference"] < 1e-4
    assert fp32["different_sentences"] == 0
    assert int8["identical_share"] >= 0.9
    assert int8["fp32_max_log_prob_difference"] == fp32["max_log_prob_difference"]
    card = (reversing_bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"| int8 | identical_share | {int8['identical_share']:.6g} |" in card


def test_only_states_that_cannot_grow_are_bounded() -> None:
    gru, lstm = (
        DecoderTensors(Decoder(tiny_config(**changes))) for changes in ({"decoder_layers": 2}, {"cell": "lstm"})
    )
    assert activation_bounds(gru).keys() == {
        *("memory_values", "attention_weights"),
        *("hidden_0", "next_hidden_0", "hidden_1", "next_hidden_1", "attention_vector", "next_attention_vector"),
    }
    assert activation_bounds(lstm).keys() == {
        *("memory_values", "attention_weights"),
        *("hidden_0", "next_hidden_0", "attention_vector", "next_attention_vector"),
    }


# --- One precision ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("converted")
def test_a_single_precision_can_be_kept(reversing_run: RunDirectory, tmp_path: Path) -> None:
    assert main(export_arguments(reversing_run, tmp_path / "small", "--precision", "int8", "--name", "other")) == 0
    manifest = read_bundle(tmp_path / "small").manifest
    assert set(manifest.files) == {"encoder.int8.onnx", "decoder_step.int8.onnx", "tokenizer.model", "MODEL_CARD.md"}
    assert {path.name for path in (tmp_path / "small").iterdir()} == {*manifest.files, "manifest.json"}
    assert manifest.name == "other"
    assert list(manifest.precisions) == ["int8"]
    assert manifest.precisions["int8"].parity["identical_share"] >= 0.9


@pytest.mark.usefixtures("converted")
def test_16_bits_are_made_where_they_are_asked_for(
    reversing_run: RunDirectory, reversing_bundle: Path, tmp_path: Path
) -> None:
    assert main(export_arguments(reversing_run, tmp_path / "half", "--precision", "fp16")) == 0
    bundle, full = read_bundle(tmp_path / "half"), read_bundle(reversing_bundle)
    assert list(bundle.manifest.precisions) == ["fp16"]
    assert bundle.manifest.tensors == full.manifest.tensors
    parity = bundle.manifest.precisions["fp16"].parity
    assert parity["identical_share"] >= 0.95
    assert parity["fp16_bleu"] == pytest.approx(parity["fp32_bleu"], abs=0.2)
    assert parity["fp32_max_log_prob_difference"] < 1e-4
    for graph in GRAPH_NAMES:
        size = bundle.manifest.files[f"{graph}.fp16.onnx"].size
        assert size < 0.6 * full.manifest.files[f"{graph}.fp32.onnx"].size
    load_backend(bundle, BackendOptions("cpu"))  # compares the graphs with the manifest


# --- Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("converted")
def test_graphs_that_fail_parity_leave_no_bundle(
    strict_run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(export_arguments(strict_run, tmp_path / "models" / "new")) == 1
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith("interlinear-export: fp32 graphs: max_log_prob_difference is ")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.usefixtures("converted")
def test_graphs_that_fail_parity_leave_the_bundle_that_is_there(
    strict_run: RunDirectory, reversing_bundle: Path, tmp_path: Path
) -> None:
    there = Path(shutil.copytree(reversing_bundle, tmp_path / "models" / "reverser"))
    before = contents(there)
    assert main(export_arguments(strict_run, there)) == 1
    assert contents(there) == before
    assert list((tmp_path / "models").iterdir()) == [there]


@pytest.mark.usefixtures("converted")
def test_a_name_that_is_none_is_refused(
    reversing_run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(export_arguments(reversing_run, tmp_path / "new", "--name", "no name")) == 1
    assert "interlinear-export: manifest: name 'no name': " in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_directory_that_is_no_bundle_is_not_replaced(
    reversing_run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "diary.txt").write_text("mine", encoding="utf-8")
    assert main(export_arguments(reversing_run, tmp_path)) == 1
    assert "is there and is no bundle; choose another --output" in capsys.readouterr().err
    assert contents(tmp_path) == {"diary.txt": b"mine"}


def test_attention_that_training_has_led_astray_is_refused(
    reversing_run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(Path(shutil.copytree(reversing_run.path, tmp_path / "run")))
    shutil.copy(reversing_run.path.parent / "dev.tsv", tmp_path)
    attention = "tests.model_export.unexportable_layers:ThresholdAttention"
    config = run.read_config()
    own = config.model.model_copy(update={"attention": (CustomAttentionConfig(name=attention),)})
    save_config(config.model_copy(update={"model": own}), run.path / "config.yaml")
    model = Seq2Seq(own)
    model.decoder.mechanisms[0].layer.threshold.assign(-0.5)
    save_variables(run.path / "weights.npz", model.persistent_variables)
    assert main(export_arguments(run, tmp_path / "bundle")) == 1
    expected = f"interlinear-export: {run.path}: with the trained weights: attention {attention}: expected weights of"
    assert capsys.readouterr().err.splitlines()[-1].startswith(expected)
    assert not (tmp_path / "bundle").exists()


def test_a_directory_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(export_arguments(RunDirectory(tmp_path / "nowhere"), tmp_path / "new")) == 1
    assert "nowhere: no training run here" in capsys.readouterr().err
