"""`interlinear align`: the links of sentence pairs in files, as Pharaoh lines or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, get_args

from pydantic_core import to_json

from service.alignment import AlignmentDetail
from service.api.answers import pair_answer
from service.cli_options import MODEL_SETTINGS, add_diagnostics, add_files_and_model, add_settings
from service.domain import TranslatedText
from service.errors import InvalidRequestError
from service.forced_alignment import AligningOptions, GivenPair, align_both_ways
from service.line_translation import Work
from service.plot.drawing import Form, plot
from service.plot.parts import Granularity
from service.registry import ModelRegistry
from service.symmetrisation import Symmetrisation

LINE_NUMBER: Final = "%d"
"""Stands in names of files of drawings for the line that is drawn."""

DRAWN_SUFFIXES: Final = ("", ".svg")
"""A name that ends otherwise asks for another format; without an end it may be that of a pipe."""


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
        help="put the links together with those of a model of the other direction, which must be installed; mean makes "
        "them of the mean of both matrices",
    )
    parser.add_argument(
        "--link-threshold",
        type=_share,
        metavar="X",
        help="least weight of any link of a model, above 0 and at most 1 (default: the rule tuned for the model, by "
        "which words that remain may have lighter ones)",
    )
    parser.add_argument(
        "--jsonl", action="store_true", help="write JSON per line: tokens, words, scores and alignment, as POST /align"
    )
    parser.add_argument(
        "--alignment", choices=get_args(AlignmentDetail), default="soft", help="with --jsonl; default: %(default)s"
    )
    add_diagnostics(parser)
    _add_plot(parser)
    add_settings(parser, MODEL_SETTINGS)


def _add_plot(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("drawing")
    group.add_argument(
        "--plot",
        metavar="FILE",
        help="also draw the pair as the page does, into an SVG file; with %%d in its name, for which the number of the "
        "line is put, every pair",
    )
    group.add_argument("--plot-form", choices=get_args(Form), default="both", help="default: %(default)s")
    group.add_argument("--plot-units", choices=get_args(Granularity), default="words", help="default: %(default)s")


def check_align(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the command where options do not go together, or ask for what is not written."""
    if options.plot is not None and options.alignment != "soft":
        parser.error("--plot needs --alignment soft")
    if options.plot is not None and Path(options.plot).suffix.lower() not in DRAWN_SUFFIXES:
        parser.error("--plot draws SVG only: the name of its file must end with .svg")


def aligning(registry: ModelRegistry, options: argparse.Namespace) -> Work:
    """The work of aligning lines.

    Raises:
        ModelNotFoundError: there is no such model, or none for the other direction where it is needed.
    """
    model = registry.find(options.model, options.source_language, options.target_language)
    reverse = registry.find_reverse(model) if options.symmetrise else None
    detail: AlignmentDetail = options.alignment if options.jsonl or options.plot is not None else "hard"
    wanted = AligningOptions(detail, threshold=options.link_threshold, diagnostics=options.diagnostics)

    async def work(lines: Sequence[str]) -> list[TranslatedText]:
        pairs = [_read_pair(line, options.words) for line in lines]
        if reverse is None:
            return await model.aligner.align(pairs, wanted)
        return await align_both_ways(model.aligner, reverse.aligner, pairs, wanted, options.symmetrise)

    return work


def align_renderer(options: argparse.Namespace) -> Callable[[TranslatedText], str]:
    """From an aligned pair to a line; draws the pair where that is asked for."""
    render = _json_line if options.jsonl else _pharaoh_line
    if options.plot is None:
        return render
    plotter = _Plotter(options.plot, options.plot_form, options.plot_units)

    def plot_and_render(aligned: TranslatedText) -> str:
        plotter.plot(aligned)
        return render(aligned)

    return plot_and_render


class _Plotter:
    """Draws pairs, in the order of their lines, into files."""

    def __init__(self, file: str, form: Form, granularity: Granularity) -> None:
        self._file = file
        self._form = form
        self._granularity = granularity
        self._lines = 0
        self._drawn = 0

    def plot(self, aligned: TranslatedText) -> None:
        """Draws the pair of the next line, unless it is empty.

        Raises:
            InvalidRequestError: the file is that of another pair, or cannot be written.
        """
        self._lines += 1
        answer = pair_answer(aligned, return_scores=True)
        if not answer["source"]["words"] and not answer["target"]["words"]:
            return
        if self._drawn and LINE_NUMBER not in self._file:
            raise InvalidRequestError(
                f"--plot: {self._file} holds one pair, but there are more: with {LINE_NUMBER} in its name, as in "
                f"pair-{LINE_NUMBER}.svg, each gets a file of its own"
            )
        drawn = plot(answer["source"], answer["target"], self._form, self._granularity)
        file = Path(self._file.replace(LINE_NUMBER, str(self._lines)))
        try:
            file.write_text(drawn, encoding="utf-8")
        except OSError as error:
            raise InvalidRequestError(f"--plot: {file}: {error.strerror}") from error
        self._drawn += 1


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
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, not {text!r}")
    return share
