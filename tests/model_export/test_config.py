"""Configuration files: what is written comes back, and what is wrong is named by file and field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import model_export
from model_export.config import (
    DataSource,
    ExperimentConfig,
    ModelConfig,
    ParityLimits,
    TrainConfig,
    read_config,
    save_config,
)
from model_export.errors import ConfigError

UNUSUAL = ExperimentConfig(
    model=ModelConfig(cell="lstm", units=30, encoder_layers=2, bidirectional=False, attention="luong", dropout=0.35),
    training=TrainConfig(seed=9, learning_rate=3e-4, label_smoothing=0.0),
    parity=ParityLimits(sentences=300, tie_margin=2e-4),
    data=(DataSource(name="Brèves", licence="CC0", attribution="nobody", source="own"),),
)
UNUSUAL_YAML = """
model: {cell: lstm, units: 30, encoder_layers: 2, bidirectional: false, attention: luong, dropout: 0.35}
training: {seed: 9, learning_rate: 0.0003, label_smoothing: 0}
parity: {sentences: 300, tie_margin: 0.0002}
data:
- {name: Brèves, licence: CC0, attribution: nobody, source: own}
"""
UNUSUAL_TOML = """
[model]
cell = "lstm"
units = 30
encoder_layers = 2
bidirectional = false
attention = "luong"
dropout = 0.35
[training]
seed = 9
learning_rate = 3e-4
label_smoothing = 0.0
[parity]
sentences = 300
tie_margin = 2e-4
[[data]]
name = "Brèves"
licence = "CC0"
attribution = "nobody"
source = "own"
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    save_config(UNUSUAL, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == UNUSUAL


@pytest.mark.parametrize(
    ("name", "text"), [("a.yaml", UNUSUAL_YAML), ("a.yml", UNUSUAL_YAML), ("a.toml", UNUSUAL_TOML)]
)
def test_yaml_and_toml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    assert read_config(write(tmp_path / name, text)) == UNUSUAL


@pytest.mark.parametrize("name", ["empty.yaml", "empty.toml"])
def test_an_empty_file_means_the_defaults(tmp_path: Path, name: str) -> None:
    assert read_config(write(tmp_path / name, "")) == ExperimentConfig()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("model: {unit: 64}", "model.unit"),
        ("training: {epochs: 0}", "training.epochs"),
        ("training: {learning_rate: fast}", "training.learning_rate"),
        ("model: {cell: rnn}", "model.cell"),
        ("model: {attention: bahdanaw}", "model.attention.0"),
        ("model: {attention: [luong, {name: bahdanau_monotonic, mode: soft}]}", "model.attention.1.mode"),
        ("model: {attention: []}", "model.attention"),
        ("model: {dropout: 1.0}", "model.dropout"),
        ("model: {encoder_residual: true}", "model"),
        ("parity: {int8_min_identical: 90}", "parity.int8_min_identical"),
        ("trainin: {epochs: 3}", "trainin"),
        ("model: [gru]", "model"),
        ("data: [{name: a, licence: b, source: c}]", "data.0.attribution"),
        ("- gru", "file"),
        ("[]", "file"),
        ("training: {seed: -1}", "training.seed"),
    ],
)
def test_a_wrong_value_is_named_by_file_and_field(tmp_path: Path, text: str, field: str) -> None:
    path = write(tmp_path / "wrong.yaml", text)
    with pytest.raises(ConfigError, match=f"^{re.escape(f'{path}: {field}: ')}"):
        read_config(path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("broken.yaml", b"model: {", "is no valid yaml"),
        ("broken.toml", b"[model", "is no valid toml"),
        ("latin.yaml", b"model: {cell: gr\xfc}", "is no valid yaml"),
        ("config.json", b"{}", "unknown suffix '.json'; use .yaml, .yml or .toml"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_one_clear_line(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {problem}")) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing.yaml: cannot be read: No such file"):
        read_config(tmp_path / "missing.yaml")


@pytest.mark.parametrize("attention", [[], (), None])
def test_a_model_needs_a_mechanism(attention: object) -> None:
    with pytest.raises(ValidationError, match="attention\n.*names no mechanism; names are bahdanau, luong"):
        ModelConfig.model_validate({"attention": attention})


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"units": 7}, "units: 7 is odd"),
        ({"embedding_dim": 8, "attention_layer_size": 6}, "attention_layer_size: 6 differs from embedding_dim 8"),
        ({"units": 8, "attention": "luong", "attention_units": 6}, r"width units \(8\) and keys of width 6"),
        (
            {"units": 8, "attention": ["bahdanau", {"name": "luong_monotonic", "units": 4}]},
            r"attention.1.units: Luong attention .* width units \(8\) and keys of width 4",
        ),
        ({"embedding_dim": 2, "attention": ["bahdanau"] * 3}, "2 is less than one for each of the 3 attention"),
    ],
)
def test_widths_that_cannot_be_wired_together_are_refused(values: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ModelConfig.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"units": 7, "bidirectional": False},
        {"embedding_dim": 8, "attention_layer_size": 6, "tied_embeddings": False},
        {"units": 8, "attention": "luong", "attention_units": 8},
        {"units": 8, "attention": "bahdanau", "attention_units": 6},
        {"units": 8, "attention": {"name": "luong", "units": 8}, "attention_units": 6},
    ],
)
def test_widths_that_fit_are_accepted(values: dict[str, object]) -> None:
    config = ModelConfig.model_validate(values)
    assert config == ModelConfig.model_validate(config.model_dump(mode="json"))
    assert config.units == values.get("units", 512)


def test_widths_left_open_follow_the_others() -> None:
    config = ModelConfig(embedding_dim=10, units=12)
    assert (config.key_dim, config.attention_vector_dim) == (12, 10)
    config = ModelConfig(embedding_dim=10, units=12, attention_units=4, attention_layer_size=6, tied_embeddings=False)
    assert (config.key_dim, config.attention_vector_dim) == (4, 6)


def test_mechanisms_share_the_attention_vector() -> None:
    config = ModelConfig(embedding_dim=8, units=12, attention=["bahdanau", "luong", "keras_attention"])  # type: ignore[arg-type]
    assert config.attention_layer_sizes == [3, 3, 2]
    assert [attention.name for attention in config.attention] == ["bahdanau", "luong", "keras_attention"]


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ModelConfig().units = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "path", sorted(Path(model_export.__file__).parent.glob("configs/*.yaml")), ids=lambda path: path.name
)
def test_the_configurations_that_come_with_the_package_are_valid(path: Path) -> None:
    assert read_config(path).model.aligner is not None
