"""Configuration of models and of training: validated, readable from YAML or TOML, saved with the model."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from model_export.attention_config import (
    CUSTOM,
    MECHANISM_NAMES,
    AlignerConfig,
    AttentionConfigs,
    BahdanauConfig,
    LuongConfig,
    LuongMonotonicConfig,
)
from model_export.errors import ConfigError
from model_export.strict_model import StrictModel

DropoutRate = Annotated[float, Field(ge=0.0, lt=1.0)]


class DropoutRates(NamedTuple):
    """Rates at source and target embeddings, at encoder outputs, and at attention vectors."""

    embedding: float
    encoder: float
    attention: float


class ModelConfig(StrictModel):
    """The architecture of an attention encoder-decoder.

    Attributes:
        vocabulary_size: number of subwords, shared by source and target; 0 means "that of the tokenizer", and any
            other number must be that of the tokenizer.
        cell: recurrent cell of encoder and decoder.
        embedding_dim: width of source and target embeddings.
        units: width of the decoder state and of the encoder output (both directions together).
        encoder_layers: recurrent layers in the encoder.
        encoder_residual: whether each recurrent layer above the first adds to what is below it, of which it reads a
            normalised form; needs two layers at least.
        bidirectional: whether each encoder layer reads in both directions, with `units / 2` each.
        decoder_layers: recurrent cells stacked in the decoder.
        attention: the attention mechanisms, the primary one first; see `model_export.attention_config`.
        aligner: a mechanism that only aligns: asked like the others, its context goes nowhere. Guided training draws it
            to the words of the token that a step reads, so it knows the word that it aligns, while the others have to
            guess it ("target foresight" is the same idea: Peter et al. 2017, Prague Bulletin of Mathematical
            Linguistics 108, section 4). Where there is one, its alignment is the primary one.
        attention_units: width of the space in which queries meet keys, for mechanisms that leave it open; 0 means
            `units`.
        attention_layer_size: width of the attention vector that feeds the output and the next step, of all
            mechanisms together; 0 means `embedding_dim`.
        dropout: rate at embeddings, encoder outputs and attention vectors, in training only.
        embedding_dropout, encoder_dropout, attention_dropout: the rate at one of these; None means `dropout`.
        tied_embeddings: one matrix for source embeddings, target embeddings and the output projection.
    """

    vocabulary_size: int = Field(default=0, ge=0)
    cell: Literal["gru", "lstm"] = "gru"
    embedding_dim: int = Field(default=256, ge=1)
    units: int = Field(default=512, ge=1)
    encoder_layers: int = Field(default=1, ge=1, le=8)
    encoder_residual: bool = False
    bidirectional: bool = True
    decoder_layers: int = Field(default=1, ge=1, le=8)
    attention: AttentionConfigs = (BahdanauConfig(),)
    aligner: AlignerConfig | None = None
    attention_units: int = Field(default=0, ge=0)
    attention_layer_size: int = Field(default=0, ge=0)
    dropout: DropoutRate = 0.2
    embedding_dropout: DropoutRate | None = None
    encoder_dropout: DropoutRate | None = None
    attention_dropout: DropoutRate | None = None
    tied_embeddings: bool = True

    @model_validator(mode="after")
    def check_widths(self) -> Self:
        """Rejects widths that cannot be wired together."""
        if self.bidirectional and self.units % 2:
            raise ValueError(f"units: {self.units} is odd, but a bidirectional encoder halves it; use an even number")
        if self.encoder_residual and self.encoder_layers < 2:
            raise ValueError("encoder_residual: joins recurrent layers, so it needs encoder_layers of 2 at least")
        if self.tied_embeddings and self.attention_vector_dim != self.embedding_dim:
            raise ValueError(
                f"attention_layer_size: {self.attention_layer_size} differs from embedding_dim {self.embedding_dim}, "
                "which tied_embeddings needs; make them equal or set tied_embeddings to false"
            )
        if self.attention_vector_dim < len(self.attention):
            raise ValueError(
                f"attention_layer_size: {self.attention_vector_dim} is less than one for each of the "
                f"{len(self.attention)} attention mechanisms"
            )
        named = [(f"attention.{index}", attention) for index, attention in enumerate(self.attention)]
        for place, attention in [*named, ("aligner", self.aligner)]:
            if isinstance(attention, LuongConfig | LuongMonotonicConfig):
                field = f"{place}.units" if attention.units else "attention_units"
                self._check_luong(field, attention.units or self.key_dim)
        return self

    def _check_luong(self, field: str, key_dim: int) -> None:
        if key_dim != self.units:
            raise ValueError(
                f"{field}: Luong attention takes the dot product of a query of width units ({self.units}) "
                f"and keys of width {key_dim}; make them equal"
            )

    @property
    def dropout_rates(self) -> DropoutRates:
        """The rate at each place."""
        rates = (self.embedding_dropout, self.encoder_dropout, self.attention_dropout)
        return DropoutRates(*(self.dropout if rate is None else rate for rate in rates))

    @property
    def memory_bound(self) -> float:
        """What no element of the encoder's output can exceed: a recurrent layer gives at most 1, residual ones add."""
        return float(self.encoder_layers) if self.encoder_residual else 1.0

    @property
    def key_dim(self) -> int:
        """Width of the projected memory, for mechanisms that leave it open."""
        return self.attention_units or self.units

    @property
    def attention_vector_dim(self) -> int:
        """Width of the attention vector."""
        return self.attention_layer_size or self.embedding_dim

    @property
    def attention_layer_sizes(self) -> list[int]:
        """What each mechanism gives of the attention vector: equal parts, the first ones larger by the remainder."""
        part, remainder = divmod(self.attention_vector_dim, len(self.attention))
        return [part + (index < remainder) for index in range(len(self.attention))]


class TrainConfig(StrictModel):
    """How a model is trained.

    Attributes:
        seed: of initial weights, dropout and the order of batches.
        epochs: passes over the training pairs at most; the learning rate decays over all of them.
        tokens_per_batch: budget of target tokens, padding included.
        max_tokens: longest side of a pair in subwords; longer pairs are reported and left out.
        learning_rate: the highest, reached after `warmup_steps`, then decayed by a half cosine
            (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, without restarts).
        final_learning_rate_factor: where the decay ends, as a fraction of `learning_rate`.
        label_smoothing: probability mass spread over the vocabulary (Szegedy et al. 2016, arXiv:1512.00567, section 7).
        subword_candidates: how many of a word's best segmentations are drawn from, anew in every epoch; 1 always takes
            the best; see `model_export.subword_sampling`.
        subword_alpha: 0 draws all of these alike, 1 by their probability.
        concatenated_share: share of the training pairs joined to longer ones; see `model_export.concatenation`.
        clip_norm: gradients are scaled down to this global norm.
        product_dtype: of the operands of products with weights in training; see `model_export.bfloat16_products`.
        alignment_weight: of the loss that draws the first mechanism's attention to given word alignments (`train
            --alignments`), beside a weight of 1 for the words' own loss; 0 leaves attention to itself.
        alignment_final_weight_factor: where that weight ends, as a fraction of it, on a straight line over all epochs.
        alignment_row_offset: whose attention is a token's: 0 that of the step that predicts it, 1 of the next step.
        aligner_weight: of the same loss for the model's aligner, if it has one.
        patience: epochs without a better dev loss before training stops.
        checkpoint_every_steps: steps between checkpoints inside an epoch, and between points of the training curve.
        tokenizer_vocabulary_size: pieces of the SentencePiece model if one has to be trained.
        character_coverage: share of the training characters that get a piece of their own.
    """

    seed: int = Field(default=1, ge=0, lt=2**32)
    epochs: int = Field(default=12, ge=1)
    tokens_per_batch: int = Field(default=4096, ge=1)
    max_tokens: int = Field(default=100, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0)
    warmup_steps: int = Field(default=500, ge=0)
    final_learning_rate_factor: float = Field(default=0.05, ge=0, le=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    subword_candidates: int = Field(default=1, ge=1, le=64)
    subword_alpha: float = Field(default=0.2, ge=0, le=1)
    concatenated_share: float = Field(default=0.0, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0)
    product_dtype: Literal["float32", "bfloat16"] = "float32"
    alignment_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    alignment_final_weight_factor: float = Field(default=1.0, ge=0, le=1)
    alignment_row_offset: Literal[0, 1] = 0
    aligner_weight: float = Field(default=0.3, gt=0, allow_inf_nan=False)
    patience: int = Field(default=3, ge=1)
    checkpoint_every_steps: int = Field(default=200, ge=1)
    tokenizer_vocabulary_size: int = Field(default=5000, ge=16)
    character_coverage: float = Field(default=0.99999, gt=0, le=1)

    @property
    def max_source_tokens(self) -> int:
        """Longest source that the trained model takes, end of sentence included."""
        return self.max_tokens + 1


class ParityLimits(StrictModel):
    """What an exported graph may differ by from the Keras model before the export is refused.

    Attributes:
        sentences: how many dev sentences are compared at least; a smaller dev file is refused.
        fp32_max_difference: of log-probabilities and of attention weights.
        tie_margin: greedy outputs may part where the two best log-probabilities lie closer than this.
        ..._min_identical, ..._max_bleu_loss: greedy outputs equal to those of fp32, 0 to 1; BLEU points lost on dev.
    """

    sentences: int = Field(default=200, ge=1)
    fp32_max_difference: float = Field(default=1e-4, gt=0)
    tie_margin: float = Field(default=1e-4, ge=0)
    int8_min_identical: float = Field(default=0.9, ge=0, le=1)
    int8_max_bleu_loss: float = Field(default=0.5, ge=0)
    fp16_min_identical: float = Field(default=0.95, ge=0, le=1)
    fp16_max_bleu_loss: float = Field(default=0.2, ge=0)


class DataSource(StrictModel):
    """Where training text comes from, for the manifest and the model card.

    Attributes:
        name: of the corpus.
        licence: its name and address.
        attribution: the sentence that the licence demands.
        source: where the corpus can be had.
        pairs: how many sentence pairs come from it; a single source may leave it out.
    """

    name: str
    licence: str
    attribution: str
    source: str
    pairs: int | None = Field(default=None, ge=0)


class ExperimentConfig(StrictModel):
    """The whole configuration file: one section per concern; `remarks` on the training go into manifest and card."""

    model: ModelConfig = ModelConfig()
    training: TrainConfig = TrainConfig()
    parity: ParityLimits = ParityLimits()
    data: tuple[DataSource, ...] = ()
    remarks: str = ""

    @field_validator("data")
    @classmethod
    def check_data(cls, data: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
        """Rejects sources whose shares nobody could tell."""
        if len(data) > 1 and any(source.pairs is None for source in data):
            raise ValueError("each of several sources needs its number of sentence pairs (pairs)")
        return data


def read_config(path: Path) -> ExperimentConfig:
    """Reads a `.yaml`, `.yml` or `.toml` file with the sections `model`, `training`, `parity` and `data`.

    Raises:
        ConfigError: the file cannot be read, or a field is unknown or out of range; names file and field.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        values = _parse(path, content.decode("utf-8"))
        return ExperimentConfig.model_validate({} if values is None else values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_first(error)}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: is no valid {path.suffix.lstrip('.')}: {' '.join(str(error).split())}") from error


def describe_first(error: ValidationError) -> str:
    """The first of the problems that validation found, as `field: problem`."""
    first = error.errors()[0]
    place = first["loc"]
    kinds = {*MECHANISM_NAMES, CUSTOM}  # behind a mechanism's number stands its kind, which is no field
    parts = [part for before, part in zip((None, *place), place, strict=False) if not _is_kind(before, part, kinds)]
    field = ".".join(map(str, parts)) or "file"
    return f"{field}: {first['msg'].removeprefix('Value error, ')}"


def _is_kind(before: object, part: object, kinds: set[str]) -> bool:
    return isinstance(before, int) and part in kinds


def _parse(path: Path, text: str) -> Any:
    if path.suffix == ".toml":
        return tomllib.loads(text)
    if path.suffix in {".yaml", ".yml"}:
        return yaml.safe_load(text)
    raise ConfigError(f"{path}: unknown suffix {path.suffix!r}; use .yaml, .yml or .toml")


def save_config(config: ExperimentConfig, path: Path) -> None:
    """Writes the whole configuration, defaults included, as YAML."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
