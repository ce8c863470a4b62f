"""The directory that training writes and that evaluation and export read."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from model_export.checkpoint import load_variables
from model_export.config import ExperimentConfig, describe_first, read_config, save_config
from model_export.errors import CheckpointError, DataError
from model_export.strict_model import StrictModel
from service.bundle.manifest import LanguageCode
from service.bundle.tokenizer import Tokenizer

if TYPE_CHECKING:
    from model_export.seq2seq import Seq2Seq

CONFIG_FILE = "config.yaml"
TOKENIZER_FILE = "tokenizer.model"
DATA_FILE = "data.json"
WEIGHTS_FILE = "weights.npz"
INITIAL_WEIGHTS_FILE = "initial_weights.npz"
CHECKPOINT_FILE = "checkpoint.npz"
LOG_DIRECTORY = "logs"


class DataFacts(StrictModel):
    """What a run was started on: languages, how many sentence pairs were read and how, and their word alignments.

    Attributes:
        swapped: whether the files' first column is the target.
        alignments_sha256: of the word alignments; None without.
    """

    source_language: LanguageCode
    target_language: LanguageCode
    train_pairs: int = Field(ge=0)
    dev_pairs: int = Field(ge=0)
    swapped: bool = False
    alignments_sha256: str | None = None


@dataclass(frozen=True)
class RunDirectory:
    """One training run on disk: configuration, tokenizer, facts about the data, checkpoint and best weights."""

    path: Path

    def claim(self, facts: DataFacts) -> None:
        """Makes the directory and writes the facts, before any work that would be lost if it could not be written.

        Raises:
            DataError: the directory holds a run already.
            OSError: it cannot be written.
        """
        self.refuse_existing()
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / DATA_FILE).write_text(json.dumps(facts.model_dump(), indent=2) + "\n", encoding="utf-8")

    def create(self, config: ExperimentConfig, tokenizer: bytes, start_from: RunDirectory | None = None) -> None:
        """Writes the rest of what is fixed before training starts.

        Args:
            config: with the vocabulary size filled in; once it is written, the directory holds a run.
            tokenizer: the SentencePiece model.
            start_from: a run whose best weights training begins with; None for random ones.

        Raises:
            CheckpointError: `start_from` has no weights yet.
        """
        if start_from is not None:
            shutil.copyfile(start_from.weights_path, self.path / INITIAL_WEIGHTS_FILE)
        else:  # of an attempt that came no further
            (self.path / INITIAL_WEIGHTS_FILE).unlink(missing_ok=True)
        (self.path / TOKENIZER_FILE).write_bytes(tokenizer)
        save_config(config, self.path / CONFIG_FILE)

    def refuse_existing(self) -> None:
        """Makes sure that a new run overwrites none.

        Raises:
            DataError: the directory holds a run already.
        """
        if (self.path / CONFIG_FILE).exists():
            raise DataError(f"{self.path}: holds a run already; go on with --resume or choose another --output")

    @property
    def tokenizer_path(self) -> Path:
        """The SentencePiece model."""
        return self._existing(TOKENIZER_FILE)

    @property
    def weights_path(self) -> Path:
        """The weights that were best on dev.

        Raises:
            CheckpointError: there is no run, or none of its epochs has ended.
        """
        self._existing(CONFIG_FILE)
        path = self.path / WEIGHTS_FILE
        if not path.exists():
            raise CheckpointError(f"{self.path}: {WEIGHTS_FILE} is missing: no epoch of the training has ended yet")
        return path

    @property
    def initial_weights_path(self) -> Path | None:
        """The weights that training begins with; None if they are random."""
        path = self.path / INITIAL_WEIGHTS_FILE
        return path if path.exists() else None

    @property
    def has_checkpoint(self) -> bool:
        """Whether training came as far as its first checkpoint."""
        return (self.path / CHECKPOINT_FILE).exists()

    def read_config(self) -> ExperimentConfig:
        """The configuration the run was started with.

        Raises:
            CheckpointError: there is no run, or the file lacks the vocabulary size that `create` got.
            ConfigError: a value is wrong.
        """
        path = self._existing(CONFIG_FILE)
        config = read_config(path)
        if not config.model.vocabulary_size:
            raise CheckpointError(f"{path}: model.vocabulary_size: is missing, so this is no run's configuration")
        return config

    def read_data_facts(self) -> DataFacts:
        """Languages and counts, as `claim` got them.

        Raises:
            CheckpointError: there is no run, or the file is damaged.
        """
        path = self._existing(DATA_FILE)
        try:
            return DataFacts.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise CheckpointError(f"{path}: is damaged: {describe_first(error)}") from error

    def read_tokenizer(self) -> Tokenizer:
        """The run's tokenizer.

        Raises:
            CheckpointError: there is no run.
            BundleError: the file is no tokenizer.
        """
        return Tokenizer.from_bytes(self.tokenizer_path.read_bytes(), str(self.tokenizer_path))

    def _existing(self, name: str) -> Path:
        if not (self.path / name).exists():
            raise CheckpointError(f"{self.path}: no training run here ({name} is missing)")
        return self.path / name

    def load_model(self) -> tuple[Seq2Seq, dict[str, Any]]:
        """Builds the model with the weights that were best on dev.

        Returns:
            The model and how far training had come when they were saved.

        Raises:
            CheckpointError: there is no run, none of its epochs has ended, or the weights are damaged.
        """
        from model_export.seq2seq import Seq2Seq  # Keras takes seconds to import; most of this class needs none

        config = self.read_config()
        weights_path = self.weights_path
        model = Seq2Seq(config.model)
        return model, load_variables(weights_path, model.persistent_variables)
