"""`interlinear-export words`: what a word aligner has to be given so that its links fit."""

from __future__ import annotations

from argparse import Namespace

from model_export.corpus_readers import CorpusFormat, read_pairs
from model_export.word_alignments import write_words


def run_words(arguments: Namespace) -> None:
    """Writes the words of the pairs, and prints the files' names."""
    corpus_format = CorpusFormat(
        source_language=arguments.source_language or "", target_language=arguments.target_language or ""
    )
    corpus = read_pairs(arguments.input, corpus_format, show_progress=True)
    print(corpus.report())
    for path in write_words(corpus, arguments.output):
        print(f"wrote {corpus.line_count:,} lines to {path}")
