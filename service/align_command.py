"""`interlinear align`: the links of sentence pairs in files, as Pharaoh lines or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import get_args

from pydantic_core import to_json

from service.alignment import AlignmentDetail
from service.api.answers import pair_answer
from service.cli_options import MODEL_SETTINGS, add_diagnostics, add_files_and_model, add_settings
from service.domain import TranslatedText
from service.errors import InvalidRequestError
from service.forced_alignment import AligningOptions, GivenPair, align_both_ways
from service.line_translation import Work
from service.registry import ModelRegistry
from service.symmetrisation import Symmetrisation


def add_align(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    add_files_and_model(parser, "lines of source<TAB>target in UTF-8")
    parser.add_argument(
        "--words",
        action="store_true",
        help="the words of each side are separated by spaces: links refer to exactly these (default: text as it is "
        "written, links refer to the service's own words)",
    )
    parser.add_argument(
        "--symmetrise",
        choices=get_args(Symmetrisation),
        help="put the links together with those of a model of the other direction, which must be installed",
    )
    parser.add_argument(
        "--link-threshold",
        type=_share,
        metavar="X",
        help="least weight of a link, above 0 and at most 1 (default: what was tuned for the model)",
    )
    parser.add_argument(
        "--jsonl", action="store_true", help="write JSON per line: tokens, words, scores and alignment, as POST /align"
    )
    parser.add_argument(
        "--alignment", choices=get_args(AlignmentDetail), default="soft", help="with --jsonl; default: %(default)s"
    )
    add_diagnostics(parser)
    add_settings(parser, MODEL_SETTINGS)


def aligning(registry: ModelRegistry, options: argparse.Namespace) -> Work:
    """The work of aligning lines.

    Raises:
        ModelNotFoundError: there is no such model, or none for the other direction where it is needed.
    """
    model = registry.find(options.model, options.source_language, options.target_language)
    reverse = registry.find_reverse(model) if options.symmetrise else None
    detail: AlignmentDetail = options.alignment if options.jsonl else "hard"
    wanted = AligningOptions(detail, threshold=options.link_threshold, diagnostics=options.diagnostics)

    async def work(lines: Sequence[str]) -> list[TranslatedText]:
        pairs = [_read_pair(line, options.words) for line in lines]
        if reverse is None:
            return await model.aligner.align(pairs, wanted)
        return await align_both_ways(model.aligner, reverse.aligner, pairs, wanted, options.symmetrise)

    return work


def align_renderer(options: argparse.Namespace) -> Callable[[TranslatedText], str]:
    """From an aligned pair to a line."""
    return _json_line if options.jsonl else _pharaoh_line


def _read_pair(line: str, words: bool) -> GivenPair:
    sides = line.split("\t") if line.strip() else ["", ""]  # an empty line has an empty line of links
    if len(sides) != 2:
        raise InvalidRequestError(f"must be source<TAB>target, has {len(sides)} columns")
    source, target = sides
    return GivenPair(_split(source), _split(target)) if words else GivenPair(source, target)


def _split(side: str) -> list[str]:
    return [word for word in side.split(" ") if word.strip()]  # a no-break space separates nothing


def _pharaoh_line(aligned: TranslatedText) -> str:
    return aligned.hypotheses[0].alignments[0].pharaoh


def _json_line(aligned: TranslatedText) -> str:
    return to_json(pair_answer(aligned, return_scores=True), inf_nan_mode="null").decode("utf-8")


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise ValueError
    return share
