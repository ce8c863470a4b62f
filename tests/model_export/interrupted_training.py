"""Trains twice as one process: once to the end, once until it is interrupted in the middle of an epoch.

Run with the directory that holds the files, and further options of `train`; the runs come to lie there as `whole`
and `interrupted`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from model_export.cli import main
from tests.reversing_task import training_arguments

INTERRUPTED_EXIT_CODE = 130
INTERRUPTED_EPOCH = 1
INTERRUPTED_AFTER_BATCHES = 4


def interrupt_training() -> None:
    """Makes the second epoch end early, as Ctrl-C would."""
    from model_export.batching import Batch, BucketedBatches  # after `main` has prepared Keras

    whole_epoch = BucketedBatches.epoch

    def interrupted_epoch(self: BucketedBatches, number: int) -> Iterator[Batch]:
        for position, batch in enumerate(whole_epoch(self, number)):
            if (number, position) == (INTERRUPTED_EPOCH, INTERRUPTED_AFTER_BATCHES):
                raise KeyboardInterrupt
            yield batch

    BucketedBatches.epoch = interrupted_epoch  # type: ignore[method-assign]


if __name__ == "__main__":
    directory, options = Path(sys.argv[1]), sys.argv[2:]
    if main([*training_arguments(directory, "whole"), *options, "--deterministic"]) != 0:
        sys.exit("the whole run failed")
    interrupt_training()
    if main([*training_arguments(directory, "interrupted"), *options, "--deterministic"]) != INTERRUPTED_EXIT_CODE:
        sys.exit("the other run was not interrupted")
