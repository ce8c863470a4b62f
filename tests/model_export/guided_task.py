"""A task whose links contradict its translations, so that attention that follows them was drawn there."""

from __future__ import annotations

from pathlib import Path

from tests.reversing_task import CONFIG, random_sentences, write_pairs

GUIDED_CONFIG = CONFIG.replace("epochs: 4", "epochs: 3\n  alignment_weight: 1.0")


DEV_PAIRS = 50


def write_task(directory: Path, config: str, pairs: int, lengths: tuple[int, ...] = (6, 7)) -> list[str]:
    """Sentences with their reversals, but with links from each word to that of the same place.

    Nothing but guidance can draw attention there: to translate, it would have to go the other way.
    """
    sentences, dev_sentences = (random_sentences(*task, lengths=lengths) for task in ((pairs, 1), (DEV_PAIRS, 2)))
    write_pairs(directory / "train.tsv", sentences)
    write_pairs(directory / "dev.tsv", dev_sentences)
    _write_links(directory / "links", sentences)
    _write_links(directory / "dev.links", dev_sentences)
    (directory / "config.yaml").write_text(config, encoding="utf-8")
    return ["--alignments", str(directory / "links")]


def _write_links(path: Path, sentences: list[str]) -> None:
    links = (" ".join(f"{place}-{place}" for place in range(len(sentence.split()))) for sentence in sentences)
    path.write_text("".join(f"{line}\n" for line in links), encoding="utf-8")
