"""`interlinear-export rerank`: what `interlinear translate --jsonl` wrote, with its hypotheses in a new order."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tqdm import tqdm

from model_export.corpus_readers import read_lines
from model_export.distillation import parse_translation
from model_export.errors import ConfigError
from model_export.evaluation import load_bundle
from model_export.reranking import Judge, Translation, rerank_what_fits
from model_export.staged_file import staged_file

TRANSLATIONS_AT_ONCE: Final = 128


def run_rerank(arguments: Namespace) -> None:
    """Writes the file, whole or not at all, and says how often the first hypothesis changed."""
    judges = _load_judges(arguments)
    lines = changed = left = 0
    with staged_file(arguments.output) as file:
        translations = _read(arguments.input)
        while group := list(islice(translations, TRANSLATIONS_AT_ONCE)):
            reranked, too_long = rerank_what_fits(group, judges)
            pairs = zip(group, reranked, strict=True)
            changed += sum(old["hypotheses"][0]["text"] != new["hypotheses"][0]["text"] for old, new in pairs)
            lines, left = lines + len(group), left + too_long
            file.writelines(json.dumps(each, ensure_ascii=False, separators=(",", ":")) + "\n" for each in reranked)
    print(f"{lines:,} translations: {changed:,} with another first hypothesis")
    if left:
        print(f"{left:,} left as they were: longer than a model takes")
    print(f"wrote {arguments.output}")


def _load_judges(arguments: Namespace) -> list[Judge]:
    """Loads the models.

    Raises:
        ConfigError: none is named, or a weight is no positive number.
        BundleError: a bundle cannot be served.
    """
    named = [(*each, False) for each in arguments.forward] + [(*each, True) for each in arguments.reverse]
    if not named:
        raise ConfigError("--forward, --reverse: name at least one further model")
    return [Judge(load_bundle(Path(path), None), _weight(path, text), backward) for path, text, backward in named]


def _weight(path: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ConfigError(f"{path}: the weight behind it must be a number above 0, not {text!r}")
    return weight


def _read(path: Path) -> Iterator[Translation]:
    """Yields translations and shows by the file's size how far it has come.

    Raises:
        DataError: the file cannot be read, or a line is none of `interlinear translate --jsonl`; names file and line.
    """
    size = path.stat().st_size if path.exists() else 0
    with tqdm(desc="reranking", total=size or None, unit="B", unit_scale=True) as progress:
        for number, line in enumerate(read_lines(path), start=1):
            parse_translation(f"{path}: line {number}", line)
            yield json.loads(line)
            progress.update(len(line) + 1)
