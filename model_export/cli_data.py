"""Options of the commands that turn files of data into others, from split to distil."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_split(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "split",
        help="split raw pairs into train, dev and test",
        description="Split a TSV file by the hash of its source side, the same in every run and for every pair.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="TSV: source<TAB>target")
    parser.add_argument(
        "--columns", type=int, default=2, metavar="N", help="columns of a line; the first two are used (default 2)"
    )
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="sentences that must occur nowhere, one a line")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="directory for the three files")
    parser.add_argument("--name", help="stem of the files (default: that of FILE)")
    parser.set_defaults(command="model_export.split_command:run_split")


def add_words(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "words",
        help="write the words that a word aligner has to link",
        description="Write the words of sentence pairs, one line for each line of the input, for an aligner such as "
        "eflomal or fast_align, whose links `train --alignments` then takes; or those of a gold file, one line for "
        "each pair, for links that `evaluate --compare-links` judges.",
    )
    pairs = parser.add_mutually_exclusive_group(required=True)
    pairs.add_argument("--input", type=Path, nargs="+", metavar="FILE", help="training pairs, as `train` gets them")
    pairs.add_argument("--gold", type=Path, metavar="FILE", help="gold alignments, as `evaluate` gets them")
    parser.add_argument("--part", metavar="NAME", help="only this part of the gold file")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="directory for the files")
    parser.add_argument("--source-language", metavar="CODE", help="of a TMX file; the others need none")
    parser.add_argument("--target-language", metavar="CODE", help="likewise")
    parser.set_defaults(command="model_export.words_command:run_words")


def add_symmetrise(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "symmetrise",
        help="put the links of both directions of a word aligner together",
        description="Put together the links that an aligner found in both directions. Both files hold SOURCE-TARGET, "
        "one line a pair, as eflomal and `fast_align -r` write them; `train --alignments` takes the result.",
    )
    parser.add_argument("--forward", required=True, type=Path, metavar="FILE", help="Pharaoh: links of one direction")
    parser.add_argument("--reverse", required=True, type=Path, metavar="FILE", help="likewise of the other one")
    parser.add_argument(
        "--method",
        choices=("intersection", "grow-diag-final-and", "union"),
        default="grow-diag-final-and",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="Pharaoh file; replaced if it exists"
    )
    parser.set_defaults(command="model_export.symmetrise_command:run_symmetrise")


def add_vote(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "vote",
        help="keep the links that several word aligners agree on",
        description="Keep the links that stand in several of the given files, such as both directions of eflomal and "
        "those of `interlinear align` by a model of your own. All hold SOURCE-TARGET, one line a pair.",
    )
    parser.add_argument("--input", required=True, type=Path, nargs="+", metavar="FILE", help="Pharaoh files")
    parser.add_argument("--least", type=int, default=2, metavar="N", help="files that must have a link; default 2")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="Pharaoh file; replaced if it exists"
    )
    parser.set_defaults(command="model_export.vote_command:run_vote")


def add_augment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "augment",
        help="make longer, unpunctuated and lower-case training pairs of given ones",
        description="Write more training pairs, made of some that chance chooses. Of those that end in a full stop on "
        "both sides: two to four joined by commas, and single ones without their full stop. Of those whose source has "
        "capital letters: some with the source in lower case, every second one without full stops where both sides "
        "have them. Give the result to `train` beside the others.",
    )
    parser.add_argument("--input", required=True, type=Path, nargs="+", metavar="FILE", help="training pairs: TSV")
    parser.add_argument("--joined", type=int, default=5000, metavar="N", help="sentences of joined pairs; default 5000")
    parser.add_argument("--unpunctuated", type=int, default=5000, metavar="N", help="pairs without; default 5000")
    parser.add_argument("--lowercased", type=int, default=0, metavar="N", help="sources in lower case; default 0")
    parser.add_argument("--swap", action="store_true", help="the second column is the source, which gets lower case")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="TSV; replaced if it exists")
    parser.set_defaults(command="model_export.augment_command:run_augment")


def add_rerank(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "rerank",
        help="sort a model's translations by what further models think of them",
        description="Sort the hypotheses for each source by their own score plus those of further models, each times "
        "its weight. Input and output are those of `interlinear translate --jsonl`; `distil` chooses from them.",
    )
    parser.add_argument(
        "--input", required=True, type=Path, metavar="FILE", help="what `interlinear translate --jsonl` wrote"
    )
    for name, what in (("--forward", "the same"), ("--reverse", "the other")):
        parser.add_argument(
            name,
            nargs=2,
            action="append",
            default=[],
            metavar=("BUNDLE", "WEIGHT"),
            help=f"a model of {what} direction; may be given several times",
        )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="likewise; replaced if it exists")
    parser.set_defaults(command="model_export.rerank_command:run_rerank")


def add_distil(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "distil",
        help="choose training pairs from a model's translations",
        description="Choose one hypothesis for each source that a model has translated: the nearest to a reference "
        "(sentence chrF), or the best where there is none. The pairs are for a student, or for the model itself.",
    )
    parser.add_argument(
        "--input",
        required=True,
        type=Path,
        nargs="+",
        metavar="FILE",
        help="what `interlinear translate --jsonl --num-hypotheses N` wrote",
    )
    parser.add_argument(
        "--references", type=Path, metavar="FILE", help="TSV: source<TAB>reference; a source may have several"
    )
    parser.add_argument(
        "--keep-share",
        type=float,
        default=1.0,
        metavar="X",
        help="of the sources without references, keep this share, those with the best scores (default 1.0)",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="TSV: source<TAB>hypothesis; replaced if it exists"
    )
    parser.add_argument(
        "--swap", action="store_true", help="the first column of both TSV files is the target, the second the source"
    )
    parser.set_defaults(command="model_export.distil_command:run_distil")
