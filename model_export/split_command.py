"""`interlinear-export split`: from one raw file to train, dev and test."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from model_export.corpus_readers import CorpusFormat, read_pairs
from model_export.errors import DataError
from model_export.splitting import PARTS, part_paths, split_pairs, write_split
from model_export.staged_file import keep_inputs


def run_split(arguments: Namespace) -> None:
    """Splits as the command line says, and prints what went where."""
    stem = arguments.name or arguments.file.stem
    for path in part_paths(arguments.output, stem).values():
        keep_inputs(path, [arguments.file, arguments.exclude], "--name")
    corpus = read_pairs([arguments.file], CorpusFormat(columns=arguments.columns), show_progress=True)
    print(corpus.report())
    split = split_pairs(corpus.pairs, _read_excluded(arguments.exclude))
    paths = write_split(split, arguments.output, stem)
    for part in PARTS:
        print(f"{len(split.part(part)):>9,} pairs  {paths[part]}")


def _read_excluded(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no valid UTF-8") from error
