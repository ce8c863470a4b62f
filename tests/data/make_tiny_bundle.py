"""Makes a tiny bundle in the directory given, and beside it the answer expected of it; README.md here says when.

The language is made up: a sentence is a few words from a list and a mark, its translation the words in reverse order.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

from starlette.testclient import TestClient

from model_export.cli import main
from service.bundle.reader import read_bundle
from service.main import create_app
from service.settings import Settings

WORDS = (
    *("bamo", "belira", "dosu", "fenika", "gurel", "kalimo", "lisat"),
    *("mopu", "naverin", "orisa", "peltu", "rusavo", "tikem", "zalo"),
)
CONFIG = """
model: {embedding_dim: 16, units: 40, dropout: 0.0}
training:
  epochs: 12
  tokens_per_batch: 512
  learning_rate: 0.01
  warmup_steps: 20
  label_smoothing: 0.0
  tokenizer_vocabulary_size: 36
parity: {int8_min_identical: 0.8, int8_max_bleu_loss: 10}
data:
  - name: made-up sentences
    licence: Apache-2.0
    attribution: Interlinear's own
    source: tests/data/make_tiny_bundle.py
"""
REQUEST = {
    "text": ["kalimo dosu rusavo.", "  zalo mopu? \nbelira 😀 peltu tikem.", "Orisa, gurel", ""],
    "beam_size": 3,
    "num_hypotheses": 2,
}


def write_pairs(path: Path, count: int, seed: int) -> None:
    """Writes sentences of two to four words with their translations."""
    generator = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            words = generator.choices(WORDS, k=generator.choice((2, 3, 4)))
            mark = generator.choice(".?")
            file.write(f"{' '.join(words)}{mark}\t{' '.join(reversed(words))}{mark}\n")


def run(*arguments: str | Path) -> None:
    """Runs `interlinear-export`."""
    if main([str(argument) for argument in arguments]) != 0:
        sys.exit(1)


def make_bundle(bundle: Path) -> None:
    """Trains and exports."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_pairs(directory / "train.tsv", 4000, seed=1)
        write_pairs(directory / "dev.tsv", 200, seed=2)
        (directory / "config.yaml").write_text(CONFIG, encoding="utf-8")
        data = ("--train", directory / "train.tsv", "--dev", directory / "dev.tsv")
        languages = ("--source-language", "en", "--target-language", "fr")
        run("train", *languages, *data, "--config", directory / "config.yaml", "--output", directory / "run")
        run("export", "--run", directory / "run", "--dev", directory / "dev.tsv", "--output", bundle)


def write_expected(bundle: Path, path: Path) -> None:
    """Asks the service and writes down what it answers."""
    tokenizer = read_bundle(bundle).tokenizer
    settings = Settings(models_dir=bundle.parent, built_in_models=False, provider="cpu", precision="fp32")
    with TestClient(create_app(settings)) as client:
        answer = client.post("/translate", json=REQUEST).raise_for_status().json()
    source_ids = [tokenizer.encode_ids(text) for text in REQUEST["text"]]
    expected = {"request": REQUEST, "source_ids": source_ids, "answer": answer}
    path.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    destination = Path(sys.argv[1])
    make_bundle(destination)
    write_expected(destination, destination.with_name(f"{destination.name}-answer.json"))
