"""The directory that training writes and that evaluation and export read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_export.checkpoint import load_variables
from model_export.config import ExperimentConfig, read_config, save_config
from model_export.errors import CheckpointError, DataError
from service.bundle.tokenizer import Tokenizer

if TYPE_CHECKING:
    from model_export.seq2seq import Seq2Seq

CONFIG_FILE = "config.yaml"
TOKENIZER_FILE = "tokenizer.model"
DATA_FILE = "data.json"
WEIGHTS_FILE = "weights.npz"
CHECKPOINT_FILE = "checkpoint.npz"
LOG_DIRECTORY = "logs"


@dataclass(frozen=True)
class RunDirectory:
    """One training run on disk: configuration, tokenizer, facts about the data, checkpoint and best weights."""

    path: Path

    def create(self, config: ExperimentConfig, tokenizer: bytes, data: dict[str, Any]) -> None:
        """Writes everything that is fixed before training starts.

        Args:
            config: with the vocabulary size filled in.
            tokenizer: the SentencePiece model.
            data: languages, files and counts, for the manifest.

        Raises:
            DataError: the directory holds a run already.
        """
        self.refuse_existing()
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / TOKENIZER_FILE).write_bytes(tokenizer)
        (self.path / DATA_FILE).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        save_config(config, self.path / CONFIG_FILE)

    def refuse_existing(self) -> None:
        """Makes sure that a new run overwrites none.

        Raises:
            DataError: the directory holds a run already.
        """
        if (self.path / CONFIG_FILE).exists():
            raise DataError(f"{self.path}: holds a run already; go on with --resume or choose another --output")

    def read_config(self) -> ExperimentConfig:
        """The configuration the run was started with."""
        return read_config(self._existing(CONFIG_FILE))

    def read_data_facts(self) -> dict[str, Any]:
        """Languages, files and counts, as `create` got them."""
        facts: dict[str, Any] = json.loads(self._existing(DATA_FILE).read_text(encoding="utf-8"))
        return facts

    def read_tokenizer(self) -> Tokenizer:
        """The run's tokenizer."""
        return Tokenizer.from_file(self._existing(TOKENIZER_FILE))

    def _existing(self, name: str) -> Path:
        if not (self.path / name).exists():
            raise CheckpointError(f"{self.path}: no training run here ({name} is missing)")
        return self.path / name

    def load_model(self) -> tuple[Seq2Seq, dict[str, Any]]:
        """Builds the model with the weights that were best on dev.

        Returns:
            The model and how far training had come when they were saved.
        """
        from model_export.seq2seq import Seq2Seq  # Keras takes seconds to import; most of this class needs none

        model = Seq2Seq(self.read_config().model)
        return model, load_variables(self.path / WEIGHTS_FILE, model.persistent_variables)
