"""The requests that load is made of: our own everyday English sentences, of 1 to 35 words, in a fixed random order."""

from __future__ import annotations

import json
import random
from pathlib import Path

SENTENCES = Path(__file__).with_name("sentences.txt")
MODEL = "eng-fra"


def read_sentences() -> list[str]:
    """All sentences; neighbours differ in length."""
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
    random.Random(1).shuffle(sentences)
    return sentences


def group_sentences(size: int) -> list[list[str]]:
    """The texts of requests of `size` sentences each; every sentence occurs equally often in all of them together."""
    sentences = read_sentences()
    return [
        [sentences[(start + offset) % len(sentences)] for offset in range(size)]
        for start in range(0, len(sentences) * size, size)
    ]


def make_bodies(size: int, beam_size: int) -> list[str]:
    """Bodies for `POST /translate`, one sentence as a string, several as a list; all with soft alignments."""
    options = {"model": MODEL, "beam_size": beam_size, "alignment": "soft"}
    return [json.dumps({"text": texts if size > 1 else texts[0], **options}) for texts in group_sentences(size)]
