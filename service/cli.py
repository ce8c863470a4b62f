"""The command `interlinear`: `serve`, `translate`, `align` and `models`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, get_args

from service.align_command import add_align, align_renderer, aligning, check_align
from service.alignment import AlignmentDetail
from service.cli_options import (
    MODEL_SETTINGS,
    add_decoding_options,
    add_diagnostics,
    add_files_and_model,
    add_settings,
    decoding_options,
)
from service.decoding.jobs import check_options
from service.domain import TranslatedText
from service.engine.limits import EngineLimits
from service.errors import InterlinearError, InvalidRequestError
from service.line_translation import Work, best_text, json_line, translating, write_lines
from service.logging_setup import set_up_logging
from service.models_command import add_models, make_models_dir, run_models
from service.processes import count_processes
from service.registry import ModelRegistry
from service.settings import PREFIX, Settings, load_settings, unknown_variables

logger = logging.getLogger(__name__)

FAILURE: Final = 1
INTERRUPTED: Final = 130
CALLER_WAITS: Final = EngineLimits(max_queue=sys.maxsize, max_queue_wait_s=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code: 0, 1 for errors, 2 for wrong usage (from argparse)."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "translate":
        _check_translate(parser, options)
    if options.command == "align":
        check_align(parser, options)
    if options.command in ("translate", "align") and options.diagnostics and not options.jsonl:
        parser.error("--diagnostics needs --jsonl")
    try:
        if options.command == "models":
            make_models_dir(options)
        settings = load_settings(_overrides(options))
        set_up_logging(settings.log_level)
        for complaint in unknown_variables(os.environ):
            logger.warning("%s", complaint)
        if options.command == "serve":
            _serve(settings)
        elif options.command == "models":
            run_models(options, settings)
        else:
            asyncio.run(_process(settings, options))
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
    add_settings(serve)
    _add_translate(
        commands.add_parser(
            "translate",
            help="translate files or standard input line by line",
            description="Translates without a server. The n-th line written belongs to the n-th line read.",
        )
    )
    add_align(
        commands.add_parser(
            "align",
            help="align sentence pairs with the words of their translations",
            description="Aligns without a server. Reads lines of source<TAB>target and writes a line of links for each "
            "(i-j, words counted from 0, as Pharaoh does).",
        )
    )
    add_models(
        commands.add_parser(
            "models",
            help="list and install models",
            description="Lists the models that would be served, and installs more.",
        )
    )
    return parser


def _add_translate(parser: argparse.ArgumentParser) -> None:
    add_files_and_model(parser, "text in UTF-8")
    add_decoding_options(parser)
    parser.add_argument(
        "--jsonl",
        action="store_true",
        help="write JSON per line: tokens, words, scores and alignments, as the API gives them",
    )
    parser.add_argument(
        "--alignment", choices=get_args(AlignmentDetail), default="soft", help="with --jsonl; default: %(default)s"
    )
    add_diagnostics(parser)
    add_settings(parser, MODEL_SETTINGS)


def _check_translate(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    try:
        check_options(decoding_options(options))
    except InvalidRequestError as error:
        parser.error(f"--{str(error).replace('_', '-')}")
    if options.seed is not None and not options.sampling_top_k:
        parser.error("--seed has no meaning without --sampling-top-k")
    if options.num_alternatives and not options.jsonl:
        parser.error("--num-alternatives needs --jsonl")
    if options.num_hypotheses > 1 and not options.jsonl:
        parser.error("--num-hypotheses needs --jsonl: otherwise a line gives one line")


def _overrides(options: argparse.Namespace) -> dict[str, str]:
    given = vars(options)
    return {name: given[name] for name in Settings.model_fields if given.get(name) is not None}


def _serve(settings: Settings) -> None:
    processes = count_processes(settings)
    if processes > 1:
        from service.supervisor import run_processes  # the HTTP side is loaded only where it is needed

        run_processes(settings, processes)
    else:
        from service.server import run_server

        run_server(settings)


async def _process(settings: Settings, options: argparse.Namespace) -> None:
    from service.loading import load_models  # onnxruntime likewise

    models = load_models(settings, limits=CALLER_WAITS)
    await models.start()
    try:
        if options.command == "align":
            await write_lines(aligning(models.registry, options), align_renderer(options), options.files)
        else:
            await write_lines(_translating(models.registry, options), _renderer(options), options.files)
    finally:
        await models.stop(timeout_s=0)


def _translating(registry: ModelRegistry, options: argparse.Namespace) -> Work:
    model = registry.find(options.model, options.source_language, options.target_language)
    alignment: AlignmentDetail = options.alignment if options.jsonl else "none"
    return translating(model.translator, decoding_options(options), alignment, options.diagnostics)


def _renderer(options: argparse.Namespace) -> Callable[[TranslatedText], str]:
    return json_line if options.jsonl else best_text


if __name__ == "__main__":
    sys.exit(main())
