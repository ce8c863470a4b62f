"""`interlinear-export words`: what a word aligner has to be given so that its links fit."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence

from model_export.corpus_readers import CorpusFormat, read_pairs
from model_export.errors import ConfigError
from model_export.gold_alignments import read_gold
from model_export.staged_file import keep_inputs
from model_export.word_alignments import words_by_line, words_paths, write_words


def run_words(arguments: Namespace) -> None:
    """Writes the words of the pairs, and prints the files' names.

    Raises:
        ConfigError: a part is named of what has none.
    """
    if arguments.part and not arguments.gold:
        raise ConfigError("--part: needs --gold")
    for path in words_paths(arguments.output):
        keep_inputs(path, [*(arguments.input or ()), arguments.gold])
    count, sides = _gold_words(arguments) if arguments.gold else _corpus_words(arguments)
    for path in write_words(sides, arguments.output):
        print(f"wrote {count:,} lines to {path}")


def _gold_words(arguments: Namespace) -> tuple[int, Iterable[Sequence[Sequence[str]]]]:
    gold = read_gold(arguments.gold, arguments.part)
    print(f"{gold.name}: {len(gold.pairs)} pairs")
    return len(gold.pairs), (pair.words for pair in gold.pairs)


def _corpus_words(arguments: Namespace) -> tuple[int, Iterable[Sequence[Sequence[str]]]]:
    corpus_format = CorpusFormat(
        source_language=arguments.source_language or "", target_language=arguments.target_language or ""
    )
    corpus = read_pairs(arguments.input, corpus_format, show_progress=True)
    print(corpus.report())
    return corpus.line_count, words_by_line(corpus)
