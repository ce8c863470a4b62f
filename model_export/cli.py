"""The console command `interlinear-export`: train, evaluate, export, describe, archive, and what makes data of data."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from model_export.cli_data import add_augment, add_distil, add_rerank, add_split, add_symmetrise, add_vote, add_words
from model_export.errors import ConfigError, ExportError
from service.errors import InterlinearError

OTHER_KERAS_BACKENDS = ("jax", "torch")  # than TensorFlow, which alone comes with the package


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code (0 done, 1 failed, 2 wrong usage, 130 interrupted)."""
    arguments = make_parser().parse_args(argv)
    try:
        _prepare_keras(arguments)
        _find_command(arguments.command)(arguments)
    except (ExportError, InterlinearError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; run: pip install '{_package_with(error.name)}'")
    except KeyboardInterrupt:
        return _fail("interrupted; go on with --resume" if _can_resume(arguments) else "interrupted", 130)
    return 0


def _can_resume(arguments: argparse.Namespace) -> bool:
    if not hasattr(arguments, "resume"):
        return False
    from model_export.run_directory import CONFIG_FILE  # with what it needs, too slow for every command

    return bool((arguments.output / CONFIG_FILE).exists())


def _package_with(module: str | None) -> str:
    return str(module) if module in OTHER_KERAS_BACKENDS else "interlinear[export]"


def _fail(message: str, exit_code: int = 1) -> int:
    print(f"interlinear-export: {message}", file=sys.stderr)
    return exit_code


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="interlinear-export", description="Build attention translation models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_describe(commands)
    _add_archive(commands)
    add_split(commands)
    add_words(commands)
    add_symmetrise(commands)
    add_vote(commands)
    add_augment(commands)
    add_rerank(commands)
    add_distil(commands)
    return parser


def _find_command(name: str) -> Callable[[argparse.Namespace], None]:
    """Imports `module:function` only now: Keras reads its settings when it is imported, and takes seconds."""
    module, function = name.split(":")
    command: Callable[[argparse.Namespace], None] = getattr(importlib.import_module(module), function)
    return command


def _prepare_keras(arguments: argparse.Namespace) -> None:
    """Sets what Keras and TensorFlow read once, when they are imported.

    Raises:
        ConfigError: the environment names a backend that Keras cannot train on.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend not in ("tensorflow", *OTHER_KERAS_BACKENDS):
        raise ConfigError(f"KERAS_BACKEND: is {backend!r}; it must be tensorflow, jax or torch")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if getattr(arguments, "deterministic", False):
        os.environ.update(
            {
                "TF_DETERMINISTIC_OPS": "1",
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
                "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false",
            }
        )


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="SentencePiece model to use; default: train one")
    parser.add_argument(
        "--alignments", type=Path, nargs="+", metavar="FILE", help="Pharaoh: links that attention is drawn to, by line"
    )
    parser.add_argument(
        "--dev-alignments", type=Path, nargs="+", metavar="FILE", help="the same of dev: reported after every epoch"
    )
    _add_swap(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="overrides training.seed of the configuration")
    parser.add_argument("--start-from", type=Path, metavar="RUN", help="begin with this run's weights and tokenizer")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")
    parser.add_argument("--deterministic", action="store_true", help="one thread, bit-equal results (slower)")
    parser.set_defaults(command="model_export.training_command:run_training")


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure translations (BLEU, chrF) and alignments (error rate)",
        description="Translate a TSV file and score it with sacreBLEU, or align a gold file and compare the links, or "
        "both, by the service's own pipeline and search.",
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--run", type=Path, metavar="DIR", help="a run directory: measures the Keras model")
    model.add_argument("--bundle", type=Path, metavar="DIR", help="a bundle: measures what is served")
    _add_swap(parser)
    parser.add_argument("--precision", metavar="NAME", help="of the bundle (default: int8 if it has that)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--record", action="store_true", help="write the figures into the bundle's manifest and card")
    _add_translation(parser.add_argument_group("translation"))
    _add_alignment(parser.add_argument_group("alignment"))
    parser.set_defaults(command="model_export.evaluation_command:run_evaluation")


def _add_translation(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--test", type=Path, metavar="FILE", help="TSV: source<TAB>reference")
    group.add_argument("--beam-size", type=int, default=4, metavar="N", help="default 4")
    group.add_argument("--length-penalty", type=float, default=1.0, metavar="X", help="default 1.0")
    group.add_argument(
        "--by-length", action="store_true", help="also chrF, cut and repetitive translations by source length"
    )
    group.add_argument("--translations", type=Path, metavar="FILE", help="also write the translations, one a line")
    group.add_argument(
        "--preferred-source-tokens",
        type=int,
        metavar="N",
        help="part sentences of more subwords (default: as the bundle says); with --record the bundle keeps it",
    )


def _add_alignment(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--gold", type=Path, metavar="FILE", help="TSV with columns id, part, tags, two texts, links; or NAME.gold"
    )
    group.add_argument("--part", metavar="NAME", help="only this part of the gold file")
    group.add_argument(
        "--tune-threshold",
        action="store_true",
        help="first look for the link rule with the lowest error rate on --part, and with --diagnostics for that of "
        "words left out; with --record the bundle keeps them",
    )
    group.add_argument(
        "--reverse-bundle", type=Path, metavar="DIR", help="a bundle of the other direction: symmetrises links too"
    )
    group.add_argument(
        "--compare-links",
        type=_name_and_file,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="also judge links of other aligners: Pharaoh, one line for each pair, words as `words --gold` writes them",
    )
    group.add_argument(
        "--diagnostics", action="store_true", help="also delete and double words of --gold, and judge what is found"
    )


def _name_and_file(text: str) -> tuple[str, Path]:
    name, _, file = text.partition("=")
    if not file or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, the name made of letters, digits, and . _ + -")
    return name, Path(file)


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "export",
        help="write a bundle",
        description="Convert the best weights of a run to ONNX, compare the graphs with the model, write a bundle.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run directory of a training")
    parser.add_argument("--dev", required=True, type=Path, nargs="+", metavar="FILE", help="pairs to compare on")
    _add_swap(parser)
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the bundle; replaced if it exists")
    parser.add_argument("--name", help="the model's name (default: the name of the output directory)")
    parser.add_argument(
        "--precision",
        action="append",
        choices=("fp32", "int8", "fp16"),
        help="keep only this one; may be repeated (default: fp32 and int8; fp16 is for GPUs)",
    )
    parser.add_argument("--archive", type=Path, metavar="FILE", help="also pack the bundle, as `archive` does")
    parser.set_defaults(command="model_export.export_command:run_export")


def _add_describe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "describe",
        help="tell of a model's weaknesses in its bundle",
        description="Put what was found out about a model after its export into the bundle's manifest and model card.",
    )
    parser.add_argument("--bundle", required=True, type=Path, metavar="DIR", help="the bundle")
    parser.add_argument(
        "--weaknesses",
        required=True,
        type=Path,
        metavar="FILE",
        help="UTF-8 text or Markdown: the card's section `Known weaknesses`, in place of what is there",
    )
    parser.set_defaults(command="model_export.describe_command:run_description")


def _add_archive(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "archive",
        help="pack a bundle into one file",
        description="Pack a bundle into a .tar.gz or .zip for `interlinear models install`, with a .sha256 beside it.",
    )
    parser.add_argument("--bundle", required=True, type=Path, metavar="DIR", help="the bundle")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the archive; replaced if it exists")
    parser.set_defaults(command="model_export.bundle_archive:run_archive")


def _add_swap(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--swap",
        action="store_true",
        help="the files' first column (or first file) is the target, the second the source",
    )


if __name__ == "__main__":
    sys.exit(main())
