"""Options of the command line: settings, models and files, and those fields of `DecodingOptions` for whole files."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from typing import Final

from service.decoding.jobs import MAX_SEED
from service.domain import DecodingOptions
from service.settings import Settings

MODEL_SETTINGS: Final = ("provider", "precision", "threads", "models_dir", "built_in_models", "log_level")

_DEFAULTS: Final = DecodingOptions()


def add_settings(parser: argparse.ArgumentParser, names: Sequence[str] = tuple(Settings.model_fields)) -> None:
    """Adds an option for each of the settings."""
    group = parser.add_argument_group("settings")
    for name in names:
        field = Settings.model_fields[name]
        default = "" if field.default is None else f" (default: {field.default})"
        group.add_argument(
            f"--{name.replace('_', '-')}", metavar="VALUE", help=f"{field.description}{default}".replace("%", "%%")
        )


def add_files_and_model(parser: argparse.ArgumentParser, content: str) -> None:
    """Adds the files to read, and what chooses the model."""
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"{content}; none, or -, is the standard input")
    parser.add_argument("--model", help="the model's name (default: the first that serves the languages)")
    parser.add_argument("--source-language", metavar="TAG", help="language of the text, such as en")
    parser.add_argument("--target-language", metavar="TAG", help="language of the translation, such as fr")


def add_diagnostics(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    parser.add_argument(
        "--diagnostics",
        action="store_true",
        help="with --jsonl: look for signs of words left out, repeated or linked at random (heuristics)",
    )


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options; `decoding_options` reads them."""
    group = parser.add_argument_group("decoding")
    group.add_argument(
        "--beam-size", type=_positive, metavar="N", help=f"default: {_DEFAULTS.beam_size}; 1 with sampling"
    )
    group.add_argument("--num-hypotheses", type=_positive, default=1, metavar="N", help="with --jsonl; default: 1")
    _add_number(group, "length_penalty", "exponent of the length that scores are divided by")
    _add_number(group, "coverage_penalty", "weight of the penalty on source tokens with little attention")
    _add_number(group, "repetition_penalty", "what the log-probability of tokens already there is multiplied by")
    _add_number(group, "no_repeat_ngram_size", "no sequence of so many tokens comes twice; 0 allows all")
    group.add_argument(
        "--suppress-token",
        action="append",
        default=[],
        metavar="TOKEN",
        help="a token that is never produced, as --jsonl writes it; can be given several times",
    )
    _add_number(group, "sampling_top_k", "draw each token from so many of the best; 0 searches instead")
    _add_number(group, "sampling_temperature", "the greater, the more evenly tokens are drawn")
    group.add_argument("--seed", type=int, metavar="N", help="makes samples repeatable; default: a new one every time")
    _add_number(group, "num_alternatives", "likeliest tokens to name at every target token, with --jsonl")
    group.add_argument(
        "--replace-unknowns", action="store_true", help="take the source word where the model knows no word"
    )
    group.add_argument(
        "--search-mode",
        choices=("default", "tfa"),
        default=_DEFAULTS.search_mode,
        help="tfa: search as TensorFlow Addons does; default: %(default)s",
    )


def decoding_options(options: argparse.Namespace) -> DecodingOptions:
    """The options that were given, and defaults for the others."""
    sampling = options.sampling_top_k > 0
    seed = secrets.randbelow(MAX_SEED + 1) if options.seed is None else options.seed
    return DecodingOptions(
        beam_size=options.beam_size or (1 if sampling else _DEFAULTS.beam_size),
        num_hypotheses=options.num_hypotheses,
        length_penalty=options.length_penalty,
        coverage_penalty=options.coverage_penalty,
        repetition_penalty=options.repetition_penalty,
        no_repeat_ngram_size=options.no_repeat_ngram_size,
        suppressed_tokens=tuple(options.suppress_token),
        sampling_top_k=options.sampling_top_k,
        sampling_temperature=options.sampling_temperature,
        seed=seed if sampling else _DEFAULTS.seed,
        num_alternatives=options.num_alternatives,
        replace_unknowns=options.replace_unknowns,
        search_mode=options.search_mode,
    )


def _add_number(group: argparse._ArgumentGroup, field: str, description: str) -> None:
    """Adds an option for a field of `DecodingOptions`, of the type of its default."""
    default = getattr(_DEFAULTS, field)
    number = type(default)
    metavar = "N" if number is int else "X"
    group.add_argument(
        f"--{field.replace('_', '-')}",
        type=number,
        default=default,
        metavar=metavar,
        help=f"{description}; default: {default}",
    )


def _positive(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)
