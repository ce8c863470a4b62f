"""`interlinear-export distil`: from hypotheses that `interlinear translate` wrote to pairs to train a model on."""

from __future__ import annotations

import os
from argparse import Namespace
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model_export.corpus_readers import BadLine, CorpusFormat, describe_rejected, read_lines, read_pairs
from model_export.distillation import REPEATED_SOURCE, Choice, choose, find_best, parse_translation
from model_export.errors import ConfigError, DataError
from model_export.staged_file import keep_inputs


@dataclass(slots=True)
class Tally:
    """What became of the lines.

    Attributes:
        references: by source; a source can have several.
        scores: one for each choice: its score if the source has no references, else NaN.
        ranks: how often a hypothesis of this rank was chosen for a source with references.
        seen: sources that a choice was made for.
        lines: by file, how many were read.
        rejected: by file, line numbers by problem.
    """

    references: dict[str, list[str]]
    scores: array[float] = field(default_factory=lambda: array("d"))
    ranks: Counter[int] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    lines: Counter[Path] = field(default_factory=Counter)
    rejected: dict[Path, dict[str, list[int]]] = field(default_factory=dict)


def run_distil(arguments: Namespace) -> None:
    """Writes the file, whole or not at all, and prints what became of every line."""
    if not 0 <= arguments.keep_share <= 1:
        raise ConfigError(f"--keep-share: must be 0 to 1, not {arguments.keep_share}")
    output: Path = arguments.output
    keep_inputs(output, [*arguments.input, arguments.references])
    output.parent.mkdir(parents=True, exist_ok=True)
    tally = Tally(_read_references(arguments.references, arguments.swap))
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as staging:
        # Which scores are among the best is known at the end only; so everything is written first, then what is kept.
        chosen, kept = Path(staging) / "chosen", Path(staging) / "kept"
        with chosen.open("w", encoding="utf-8", newline="\n") as file:
            for choice in _choose_all(arguments.input, tally):
                first, second = (choice.source, choice.target)[:: -1 if arguments.swap else 1]
                file.write(f"{first}\t{second}\n")
        _check_matches(arguments, tally)
        keep = _choose_lines(np.asarray(tally.scores, dtype=np.float64), arguments.keep_share)
        _copy_lines(chosen, keep, kept)
        print(_report(tally, keep))
        if not keep.any():
            raise DataError(f"{output}: not written, as no pair is left")
        os.replace(kept, output)
    print(f"wrote {np.count_nonzero(keep):,} pairs to {output}")


def _read_references(path: Path | None, swapped: bool) -> dict[str, list[str]]:
    references: dict[str, list[str]] = defaultdict(list)
    if path is not None:
        corpus = read_pairs([path], CorpusFormat(swapped=swapped), show_progress=True)
        print(corpus.report())
        for pair in corpus.pairs:
            references[pair.source].append(pair.target)
    return dict(references)


def _choose_all(paths: list[Path], tally: Tally) -> Iterator[Choice]:
    """Yields what is chosen, in the order of the files, and counts everything.

    Raises:
        DataError: a file cannot be read, or a line is none of `interlinear translate --jsonl`; names file and line.
    """
    for path, number, line in _read_all(paths):
        translation = parse_translation(f"{path}: line {number}", line)
        source = translation.source.text.strip()
        references = tally.references.get(source, [])
        choice = BadLine(REPEATED_SOURCE) if source in tally.seen else choose(translation, references)
        tally.lines[path] += 1
        if isinstance(choice, BadLine):
            tally.rejected.setdefault(path, {}).setdefault(choice.problem, []).append(number)
            continue
        tally.seen.add(source)
        tally.scores.append(np.nan if references else choice.score)
        if references:
            tally.ranks[choice.rank] += 1
        yield choice


def _read_all(paths: list[Path]) -> Iterator[tuple[Path, int, bytes]]:
    """Yields file, line number and line, and shows by the files' sizes how far it has come."""
    size = sum(path.stat().st_size for path in paths)
    with tqdm(desc="choosing", total=size or None, unit="B", unit_scale=True) as progress:
        for path in paths:
            for number, line in enumerate(read_lines(path), start=1):
                yield path, number, line
                progress.update(len(line) + 1)


def _check_matches(arguments: Namespace, tally: Tally) -> None:
    """Refuses references that belong to none of the translations."""
    if tally.references and tally.seen and not tally.ranks:
        raise DataError(
            f"{arguments.references}: holds no reference for any source of {', '.join(map(str, arguments.input))}; its "
            "first column must be the source (with --swap the second)"
        )


def _choose_lines(scores: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.bool_]:
    """Marks the choices that are kept: all with references (NaN), and the best share of the others."""
    keep = np.isnan(scores)
    keep[~keep] = find_best(scores[~keep], share)
    return keep


def _copy_lines(source: Path, keep: npt.NDArray[np.bool_], target: Path) -> None:
    with source.open("rb") as lines, target.open("wb") as file:
        file.writelines(line for line, kept in zip(lines, keep.tolist(), strict=True) if kept)


def _report(tally: Tally, keep: npt.NDArray[np.bool_]) -> str:
    """Says of every line and reference what became of it."""
    report = []
    for path, lines in tally.lines.items():
        report += [f"{path}: {lines:,} lines", *describe_rejected(tally.rejected.get(path, {}), "line")]
    if tally.references:
        ranks = ", ".join(f"{rank + 1}: {count:,}" for rank, count in sorted(tally.ranks.items()))
        unused = len(tally.references.keys() - tally.seen)
        report.append(f"{tally.ranks.total():,} sources with references; ranks of the chosen: {ranks}")
        report.append(f"{unused:,} sources of references without a usable translation")
    scores = np.asarray(tally.scores, dtype=np.float64)
    kept, left_out = scores[keep & ~np.isnan(scores)], scores[~keep]
    least = f" (those below {kept.min():.4f})" if len(kept) and len(left_out) else ""
    report.append(
        f"{len(kept) + len(left_out):,} sources without references: {len(kept):,} kept, "
        f"{len(left_out):,} left out by score{least}"
    )
    return "\n".join(report)
