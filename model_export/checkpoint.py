"""Saving and restoring variables and training progress, whole or not at all, on any Keras backend."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_export.errors import CheckpointError

PROGRESS_ENTRY = "progress"
# What numpy and zipfile raise on broken files; RuntimeError where a flag or version of the archive is wrong.
DAMAGE = (ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile)


def save_variables(path: Path, variables: Sequence[Any], progress: dict[str, Any] | None = None) -> None:
    """Writes variables under their positions and Keras paths, with `progress` as JSON, by way of a temporary file.

    Args:
        path: of the `.npz` file.
        variables: Keras variables, in an order that a model of the same configuration repeats.
        progress: anything JSON can hold.
    """
    arrays = {name: np.asarray(variable) for name, variable in _named(variables).items()}
    arrays[PROGRESS_ENTRY] = np.frombuffer(json.dumps(progress or {}).encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_variables(path: Path, variables: Sequence[Any]) -> dict[str, Any]:
    """Assigns what `save_variables` wrote; returns the progress.

    Raises:
        CheckpointError: the file is missing, unreadable, or holds other names or shapes; nothing is assigned then.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:
            arrays = {name: archive[name] for name in archive.files}
        progress: dict[str, Any] = json.loads(arrays.pop(PROGRESS_ENTRY).tobytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except DAMAGE as error:  # what numpy says of it would only mislead: it proposes to load the file unsafely
        raise CheckpointError(f"{path}: is damaged, or no checkpoint at all") from error
    named = _named(variables)
    expected = {name: tuple(variable.shape) for name, variable in named.items()}
    for name in sorted(expected.keys() | arrays.keys()):
        if name not in expected or name not in arrays or arrays[name].shape != expected[name]:
            found = arrays[name].shape if name in arrays else "nothing"
            raise CheckpointError(
                f"{path}: {name}: the model has {expected.get(name, 'no such variable')}, the file {found}; "
                "was the configuration changed since?"
            )
    for name, variable in named.items():
        variable.assign(arrays[name])
    return progress


def _named(variables: Sequence[Any]) -> dict[str, Any]:
    # Keras numbers whatever was given no name by process, so numbers say nothing; the position tells namesakes apart.
    return {
        f"{position:03d}/{re.sub(r'_[0-9]+(?=/|$)', '', variable.path)}": variable
        for position, variable in enumerate(variables)
    }
