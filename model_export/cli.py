"""The console command `interlinear-export`: train, evaluate, export and split."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from model_export.errors import ExportError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code (0 done, 1 failed, 2 wrong usage)."""
    arguments = make_parser().parse_args(argv)
    try:
        _prepare_keras(arguments)
        run = arguments.command
        run(arguments)
    except ExportError as error:
        print(f"interlinear-export: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interlinear-export: interrupted; go on with --resume", file=sys.stderr)
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="interlinear-export", description="Build attention translation models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    return parser


def _prepare_keras(arguments: argparse.Namespace) -> None:
    """Sets what Keras and TensorFlow read once, when they are imported; so commands import them only later."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if getattr(arguments, "deterministic", False):
        os.environ.update(
            {
                "TF_DETERMINISTIC_OPS": "1",
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
                "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false",
            }
        )


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "train",
        help="train a model on sentence pairs",
        description="Train on a TSV file (source<TAB>target), two parallel text files, or a TMX file.",
    )
    parser.add_argument("--source-language", required=True, metavar="CODE", help="for example en")
    parser.add_argument("--target-language", required=True, metavar="CODE", help="for example fr")
    parser.add_argument("--train", required=True, type=Path, nargs="+", metavar="FILE", help="training pairs")
    parser.add_argument("--dev", required=True, type=Path, nargs="+", metavar="FILE", help="pairs to judge progress by")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="run directory to write")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML or TOML: model, training, parity")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="SentencePiece model to use instead of training one")
    parser.add_argument("--seed", type=int, help="overrides training.seed of the configuration")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")
    parser.add_argument("--deterministic", action="store_true", help="one thread, bit-equal results (slower)")
    parser.set_defaults(command=_train)


def _train(arguments: argparse.Namespace) -> None:
    from model_export.training_command import run_training

    run_training(arguments)


if __name__ == "__main__":
    sys.exit(main())
