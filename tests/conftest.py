"""What all tests share: settings, quiet Keras on TensorFlow, and one model that really was trained and exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# Machines are shared and noisy: how long an example takes says nothing.
settings.register_profile("interlinear", deadline=None)
settings.load_profile("interlinear")

# Read once, when Keras and TensorFlow are imported. Shapes here are tiny: more threads cost more than they give.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

if TYPE_CHECKING:
    from model_export.run_directory import RunDirectory


@pytest.fixture(scope="session")
def reversing_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run directory with a model that was trained, through the command line, to reverse sentences."""
    from tests.reversing_task import train_reverser

    directory: Path = tmp_path_factory.mktemp("reversing")
    return train_reverser(directory)


@pytest.fixture(scope="session")
def reversing_bundle(reversing_run: RunDirectory) -> Path:
    """The model of `reversing_run` as a bundle with both precisions, exported through the command line."""
    from tests.reversing_task import export_reverser

    return export_reverser(reversing_run)
