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
from model_export.errors import ConfigError, DataError
from model_export.evaluation import load_bundle
from model_export.reranking import Judge, Translation, rerank_what_fits
from model_export.staged_file import keep_inputs, staged_file
from service.bundle.reader import read_bundle

TRANSLATIONS_AT_ONCE: Final = 128


def run_rerank(arguments: Namespace) -> None:
    """Writes the file, whole or not at all, and says how often the first hypothesis changed."""
    keep_inputs(arguments.output, [arguments.input])
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
        if not lines:
            raise DataError(f"{arguments.input}: holds no translation")
    print(f"{lines:,} translations: {changed:,} with another first hypothesis")
    if left:
        print(f"{left:,} longer than a model takes: left in their order, without scores")
    print(f"wrote {arguments.output}")


def _load_judges(arguments: Namespace) -> list[Judge]:
    """Loads the models.

    Raises:
        ConfigError: none is named, a weight is no positive number, or a model's direction does not fit the others'.
        BundleError: a bundle cannot be served.
    """
    named = [(*each, False) for each in arguments.forward] + [(*each, True) for each in arguments.reverse]
    if not named:
        raise ConfigError("--forward, --reverse: name at least one further model")
    weights = [_parse_weight(path, text) for path, text, _ in named]
    _check_directions([(Path(path), backward) for path, _, backward in named])
    return [
        Judge(load_bundle(Path(path), None), weight, backward)
        for (path, _, backward), weight in zip(named, weights, strict=True)
    ]


def _parse_weight(path: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ConfigError(f"{path}: the weight behind it must be a number above 0, not {text!r}")
    return weight


def _check_directions(named: list[tuple[Path, bool]]) -> None:
    """Refuses models that cannot have been meant together; what wrote the hypotheses is not known."""
    expected: tuple[str, str] | None = None
    for path, backward in named:
        manifest = read_bundle(path).manifest
        translates = (manifest.source_language, manifest.target_language)
        asked = translates[::-1] if backward else translates
        expected = expected or asked
        if asked != expected:
            wanted = expected[::-1] if backward else expected
            raise ConfigError(
                f"--{'reverse' if backward else 'forward'}: {path} translates {translates[0]} to {translates[1]}, not "
                f"{wanted[0]} to {wanted[1]}"
            )


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
