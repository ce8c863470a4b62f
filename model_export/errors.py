"""Every error that building a model raises on purpose, as one tree.

ExportError
├── ConfigError        a configuration file or value is wrong
├── DataError          a data file cannot be used; names the file
├── CheckpointError    a checkpoint is missing, broken or of another configuration
├── TrainingError      training cannot go on
└── ParityError        the exported graph does not agree with the model
"""

from __future__ import annotations


class ExportError(Exception):
    """Base of all errors raised on purpose. The message is one line and says what to do."""


class ConfigError(ExportError):
    """A configuration file or value is wrong; the message names file and field."""


class DataError(ExportError):
    """A data file cannot be read or holds nothing usable; the message names it."""


class CheckpointError(ExportError):
    """A checkpoint is missing, broken, or was written under another configuration."""


class TrainingError(ExportError):
    """Training cannot go on; the message says what to change."""


class ParityError(ExportError):
    """The exported graph differs from the model by more than the configured limits."""
