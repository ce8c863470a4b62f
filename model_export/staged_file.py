"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from model_export.errors import ConfigError


def keep_inputs(output: Path | None, inputs: Iterable[Path | None], option: str = "--output") -> None:
    """Makes sure that a command does not write over what it reads.

    Args:
        output: what is written; None if nothing is.
        inputs: what is read; None for options that were not given.
        option: that names the output.

    Raises:
        ConfigError: `output` is one of the inputs.
    """
    if output is None or not output.exists():
        return
    if any(path and path.exists() and output.samefile(path) for path in inputs):
        raise ConfigError(f"{option}: {output} is an input as well; choose another file")


@contextmanager
def staged_file(path: Path, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Opens a text file that becomes `path`, in a directory made for it if need be, once all has been written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.part")
    try:
        with staging.open("w", encoding=encoding, newline="\n") as file:
            yield file
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)
