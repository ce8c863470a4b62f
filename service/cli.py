"""The command `interlinear`: `serve` and `translate`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final, get_args

from tqdm import tqdm

from service.alignment import AlignmentDetail
from service.cli_options import add_decoding_options, decoding_options
from service.decoding.jobs import check_options
from service.engine.limits import EngineLimits
from service.errors import InterlinearError, InvalidRequestError
from service.line_translation import STANDARD_INPUT, best_text, json_line, read_lines, translate_lines
from service.logging_setup import set_up_logging
from service.serving import ServedModels
from service.settings import PREFIX, Settings, load_settings, unknown_variables

logger = logging.getLogger(__name__)

FAILURE: Final = 1
INTERRUPTED: Final = 130
MODEL_SETTINGS: Final = ("provider", "precision", "threads", "models_dir", "built_in_models", "log_level")
LINES_AT_ONCE: Final = 256  # enough to fill the decoding batch
CALLER_WAITS: Final = EngineLimits(max_queue=sys.maxsize, max_queue_wait_s=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 for errors, 2 for wrong usage (from argparse)."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "translate":
        _check_translate(parser, options)
    try:
        settings = load_settings(_overrides(options))
        set_up_logging(settings.log_level)
        for complaint in unknown_variables(os.environ):
            logger.warning("%s", complaint)
        if options.command == "serve":
            _serve(settings)
        else:
            asyncio.run(_translate(settings, options))
    except InterlinearError as error:
        print(f"interlinear: error: {error}", file=sys.stderr)
        return FAILURE
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="interlinear", description="Attention-based translation with the alignment behind every word."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer requests over HTTP",
        description=f"Answers requests over HTTP. Every option can also be set as {PREFIX}NAME in the environment.",
    )
    _add_settings(serve, tuple(Settings.model_fields))
    _add_translate(
        commands.add_parser(
            "translate",
            help="translate files or standard input line by line",
            description="Translates without a server. The n-th line written belongs to the n-th line read.",
        )
    )
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    group = parser.add_argument_group("settings")
    for name in names:
        field = Settings.model_fields[name]
        default = "" if field.default is None else f" (default: {field.default})"
        group.add_argument(
            f"--{name.replace('_', '-')}", metavar="VALUE", help=f"{field.description}{default}".replace("%", "%%")
        )


def _add_translate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="text in UTF-8; none, or -, is the standard input")
    parser.add_argument("--model", help="the model's name (default: the first that serves the languages)")
    parser.add_argument("--source-language", metavar="TAG", help="language of the text, such as en")
    parser.add_argument("--target-language", metavar="TAG", help="language to translate into, such as fr")
    add_decoding_options(parser)
    parser.add_argument(
        "--jsonl",
        action="store_true",
        help="write JSON per line: tokens, words, scores and alignments, as the API gives them",
    )
    parser.add_argument(
        "--alignment", choices=get_args(AlignmentDetail), default="soft", help="with --jsonl; default: %(default)s"
    )
    _add_settings(parser, MODEL_SETTINGS)


def _check_translate(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    try:
        check_options(decoding_options(options))
    except InvalidRequestError as error:
        parser.error(f"--{str(error).replace('_', '-')}")
    if options.num_alternatives and not options.jsonl:
        parser.error("--num-alternatives needs --jsonl")
    if options.num_hypotheses > 1 and not options.jsonl:
        parser.error("--num-hypotheses needs --jsonl: otherwise a line gives one line")


def _overrides(options: argparse.Namespace) -> dict[str, str]:
    given = vars(options)
    return {name: given[name] for name in Settings.model_fields if given.get(name) is not None}


def _serve(settings: Settings) -> None:
    from service.server import run_server  # the HTTP side is loaded only where it is needed

    run_server(settings)


async def _translate(settings: Settings, options: argparse.Namespace) -> None:
    from service.loading import load_models  # onnxruntime likewise

    models = load_models(settings, limits=CALLER_WAITS)
    await models.start()
    try:
        await _write_translations(models, options)
    finally:
        await models.stop(timeout_s=0)


async def _write_translations(models: ServedModels, options: argparse.Namespace) -> None:
    model = models.registry.find(options.model, options.source_language, options.target_language)
    decoding = decoding_options(options)
    files = options.files or [STANDARD_INPUT]
    at_once = 1 if STANDARD_INPUT in files and sys.stdin.isatty() else LINES_AT_ONCE
    alignment: AlignmentDetail = options.alignment if options.jsonl else "none"
    render = json_line if options.jsonl else best_text
    output = sys.stdout.buffer  # UTF-8 whatever the locale
    with tqdm(unit=" lines", disable=not sys.stderr.isatty() or sys.stdout.isatty()) as progress:
        async for translated in translate_lines(model.translator, read_lines(files), decoding, alignment, at_once):
            output.write((render(translated) + "\n").encode("utf-8"))
            progress.update()
            if at_once == 1:
                output.flush()
    output.flush()


if __name__ == "__main__":
    sys.exit(main())
