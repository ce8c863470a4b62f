"""Trains to the end, and keeps what lay on disk in the middle of the second epoch: what a killed process would leave.

Run with the directory that holds the files, and further options of `train`; the runs come to lie there as `whole`
and `interrupted`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from model_export.cli import main
from tests.reversing_task import training_arguments

INTERRUPTED_EPOCH = 1
INTERRUPTED_AFTER_BATCHES = 4


def copy_in_the_middle(directory: Path) -> None:
    """Makes the second epoch copy the run when it comes to the fifth batch."""
    from model_export.batching import Batch, BucketedBatches  # after `main` could prepare Keras

    whole_epoch = BucketedBatches.epoch

    def copying_epoch(self: BucketedBatches, number: int) -> Iterator[Batch]:
        for position, batch in enumerate(whole_epoch(self, number)):
            if (number, position) == (INTERRUPTED_EPOCH, INTERRUPTED_AFTER_BATCHES):
                shutil.copytree(directory / "whole", directory / "interrupted")
            yield batch

    BucketedBatches.epoch = copying_epoch  # type: ignore[method-assign]


if __name__ == "__main__":
    directory, options = Path(sys.argv[1]), sys.argv[2:]
    copy_in_the_middle(directory)
    sys.exit(main([*training_arguments(directory, "whole"), *options, "--deterministic"]))
