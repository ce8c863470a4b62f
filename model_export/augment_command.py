"""`interlinear-export augment`: more training pairs, made of those that there are."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from tqdm import tqdm

from model_export.clauses import (
    count_spellings,
    has_capitals,
    in_lower_case,
    is_statement,
    join_clauses,
    without_full_stop,
)
from model_export.concatenation import FEWEST_JOINED, MOST_JOINED
from model_export.corpus_readers import CorpusFormat, SentencePair, read_pairs
from model_export.errors import ConfigError, DataError
from model_export.staged_file import keep_inputs, staged_file


def run_augment(arguments: Namespace) -> None:
    """Writes a TSV file of the pairs asked for, whole or not at all.

    Raises:
        ConfigError: a number is below 0.
        DataError: there are too few statements, or too few pairs with capital letters.
    """
    if min(arguments.joined, arguments.unpunctuated, arguments.lowercased) < 0:
        raise ConfigError("--joined, --unpunctuated and --lowercased: must be at least 0")
    keep_inputs(arguments.output, arguments.input)
    corpus = read_pairs(arguments.input, CorpusFormat(), show_progress=True)
    print(corpus.report())
    statements = [pair for pair in tqdm(corpus.pairs, "looking for statements", unit=" pairs") if is_statement(pair)]
    needed = MOST_JOINED * arguments.joined + arguments.unpunctuated
    if len(statements) < needed:
        raise DataError(
            f"{arguments.input[0]}: {len(statements):,} pairs end in a full stop on both sides; --joined and "
            f"--unpunctuated need up to {needed:,}, each of them once"
        )
    spellings = [count_spellings(side) for side in zip(*corpus.pairs, strict=True)]
    generator = np.random.default_rng(arguments.seed)
    order = [statements[index] for index in generator.permutation(len(statements)).tolist()]
    joined = [join_clauses(group, spellings) for group in islice(_deal(order, generator), arguments.joined)]
    unpunctuated = [without_full_stop(pair) for pair in order[len(order) - arguments.unpunctuated :]]
    lowercased = _lowercased(corpus.pairs, arguments, generator)
    with staged_file(arguments.output) as file:
        file.writelines(f"{source}\t{target}\n" for source, target in joined + unpunctuated + lowercased)
    counts = f"{len(joined):,} joined, {len(unpunctuated):,} unpunctuated and {len(lowercased):,} lower-case pairs"
    print(f"wrote {counts} to {arguments.output}")


def _lowercased(
    pairs: Sequence[SentencePair], arguments: Namespace, generator: np.random.Generator
) -> list[SentencePair]:
    """Chooses pairs whose source has capital letters; every second one that can loses its full stop as well."""
    source, count = int(arguments.swap), arguments.lowercased
    chosen = [pair for pair in pairs if has_capitals(pair[source])]
    if len(chosen) < count:
        problem = f"{len(chosen):,} pairs have capital letters in the source; --lowercased needs {count:,}"
        raise DataError(f"{arguments.input[0]}: {problem}")
    lowercased = [in_lower_case(chosen[index], source) for index in generator.permutation(len(chosen))[:count].tolist()]
    return [
        without_full_stop(pair) if index % 2 and is_statement(pair) else pair for index, pair in enumerate(lowercased)
    ]


def _deal(pairs: list[SentencePair], generator: np.random.Generator) -> Iterator[list[SentencePair]]:
    """Yields groups of two to four."""
    rest = iter(pairs)
    while group := list(islice(rest, int(generator.integers(FEWEST_JOINED, MOST_JOINED + 1)))):
        yield group
