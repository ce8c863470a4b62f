"""Runs in processes of their own that are interrupted and resumed, and what they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.reversing_task import CONFIG, training_arguments

SHORT_CONFIG = CONFIG.replace("dropout: 0.0", "dropout: 0.2").replace(
    "epochs: 4", "epochs: 2\n  checkpoint_every_steps: 3"
)


def check_resumed(directory: Path, *options: str) -> None:
    """Trains with 7 batches an epoch, goes on from what lay on disk on the way, and compares what both runs end with.

    Args:
        directory: holds the files of the task.
        options: further ones of `train`.
    """
    _run_python("tests.model_export.interrupted_training", str(directory), *options)
    _, progress = read_checkpoint(directory / "interrupted")
    assert (progress["epoch"], progress["step_in_epoch"], progress["step"]) == (1, 2, 9)
    arguments = [*training_arguments(directory, "interrupted"), *options]
    _run_python("model_export.cli", *arguments, "--deterministic", "--resume")
    resumed, resumed_progress = read_checkpoint(directory / "interrupted")
    whole, whole_progress = read_checkpoint(directory / "whole")
    assert resumed.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    assert resumed_progress["step"] == 14
    for key in ("step", "best_dev_loss"):
        assert resumed_progress[key] == whole_progress[key]
    assert [entry["dev_nll"] for entry in resumed_progress["history"]] == [
        entry["dev_nll"] for entry in whole_progress["history"]
    ]


def _run_python(module: str, *arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, cwd=Path.cwd(), check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]


def read_checkpoint(run: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and progress of a run's last checkpoint."""
    with np.load(run / "checkpoint.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(arrays.pop("progress").tobytes())
