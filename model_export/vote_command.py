"""`interlinear-export vote`: the links that several word aligners agree on, line by line."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from pathlib import Path

from model_export.errors import ConfigError
from model_export.staged_file import keep_inputs, staged_file
from model_export.word_alignments import pharaoh_line, read_side_by_side


def run_vote(arguments: Namespace) -> None:
    """Writes the file of the links that enough others have, whole or not at all, and prints how many there are.

    Raises:
        ConfigError: more votes are asked for than there are files, or none.
    """
    files: list[Path] = arguments.input
    if not 1 <= arguments.least <= len(files):
        raise ConfigError(f"--least: must be from 1 to the number of files of --input, {len(files)}")
    keep_inputs(arguments.output, files)
    links = lines = 0
    with staged_file(arguments.output, encoding="ascii") as file:
        for voters in read_side_by_side(files, "counting votes"):
            votes = Counter(point for voter in voters for point in voter)
            points = [point for point, count in votes.items() if count >= arguments.least]
            file.write(pharaoh_line(points))
            links += len(points)
            lines += 1
    print(f"{links:,} links stand in at least {arguments.least} of {len(files)} files")
    print(f"wrote {lines:,} lines to {arguments.output}")
