"""A language pair whose translations anybody can check: the target is the source's words in reverse order."""

from __future__ import annotations

import random
from pathlib import Path

from model_export.cli import main
from model_export.run_directory import RunDirectory

WORDS = "abcdefghijklmnop"
"""Each letter is a word, and with this many pieces each word becomes one subword."""

CONFIG = """
model: {embedding_dim: 24, units: 48, dropout: 0.0}
training:
  epochs: 4
  tokens_per_batch: 512
  learning_rate: 0.01
  warmup_steps: 20
  label_smoothing: 0.0
  tokenizer_vocabulary_size: 37
parity: {sentences: 100}
"""


def random_sentences(count: int, seed: int, lengths: tuple[int, ...] = (6, 7)) -> list[str]:
    """Sentences of these lengths in words; 6 and 7 fall into one bucket of batches, so that one program is compiled."""
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.choice(lengths))) for _ in range(count)]


def reverse(sentence: str) -> str:
    """The right translation."""
    return " ".join(reversed(sentence.split()))


def write_pairs(path: Path, sentences: list[str]) -> None:
    """Writes sentences and their translations as TSV."""
    path.write_text("".join(f"{sentence}\t{reverse(sentence)}\n" for sentence in sentences), encoding="utf-8")


def training_arguments(directory: Path, output: str = "run") -> list[str]:
    """Arguments of `interlinear-export` that train on the files in `directory` into its folder `output`."""
    files = {name: str(directory / f"{name}.tsv") for name in ("train", "dev")}
    return [
        *("train", "--source-language", "en", "--target-language", "ne"),
        *("--train", files["train"], "--dev", files["dev"]),
        *("--config", str(directory / "config.yaml"), "--output", str(directory / output)),
    ]


def train_reverser(directory: Path) -> RunDirectory:
    """Trains a model that reverses, in about 15 seconds of one core."""
    write_pairs(directory / "train.tsv", random_sentences(6000, seed=1))
    write_pairs(directory / "dev.tsv", random_sentences(100, seed=2))
    (directory / "config.yaml").write_text(CONFIG, encoding="utf-8")
    exit_code = main(training_arguments(directory))
    if exit_code != 0:
        raise RuntimeError(f"training ended with exit code {exit_code}")
    return RunDirectory(directory / "run")


def export_arguments(run: RunDirectory, output: Path, *options: str) -> list[str]:
    """Arguments of `interlinear-export` that export a run of `train_reverser`."""
    dev = run.path.parent / "dev.tsv"
    return ["export", "--run", str(run.path), "--dev", str(dev), "--output", str(output), *options]


def export_reverser(run: RunDirectory) -> Path:
    """Exports a run to a bundle named `reverser`, in a directory that holds nothing else."""
    bundle = run.path.parent / "models" / "reverser"
    exit_code = main(export_arguments(run, bundle))
    if exit_code != 0:
        raise RuntimeError(f"export ended with exit code {exit_code}")
    return bundle
