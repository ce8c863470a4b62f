"""Measures the built-in models on the gold alignments: `python -m tests.data.record_gold_figures` writes the figures.

Run it when a new model is shipped; a test compares what is shipped with what stands there. Only the parts that the file
names are measured: the part for reporting is not looked at until it is put there on purpose.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from model_export.alignment_evaluation import align_gold, judge_aligned
from model_export.corpus_readers import Corpus, SentencePair
from model_export.evaluation import EvaluatedModel, best_texts, load_bundle, score_translations, translate_corpus
from model_export.gold_alignments import read_gold
from service.domain import DecodingOptions

FOLDER: Final = Path(__file__).with_name("gold_alignments")
FIGURES: Final = FOLDER / "figures.json"
MODELS: Final = Path(__file__).parents[2] / "service" / "models"
BEAM_SIZE: Final = 4


def measure(model: EvaluatedModel, gold_file: str, part: str, swap: bool) -> dict[str, float]:
    """The alignment error rate, in percent, and chrF of one model on one part of a gold file.

    Args:
        model: what is measured.
        gold_file: name of the file beside the figures.
        part: `tune` or `report`.
        swap: the file's second side is what the model translates.
    """
    gold = read_gold(FOLDER / gold_file, part)
    gold = gold.swapped if swap else gold
    sentences = [SentencePair(str(pair.source), str(pair.target)) for pair in gold.pairs]
    corpus = Corpus(gold.name, sentences, list(range(len(sentences))))
    translated = translate_corpus(model, corpus, DecodingOptions(beam_size=BEAM_SIZE))
    _, chrf = score_translations(best_texts(translated), corpus)
    aer = judge_aligned(align_gold(model, gold, model.rule), gold).aer
    return {"aer": round(100 * aer, 2), "chrf": chrf.value}


def main() -> None:
    """Measures every model and part that the file names anew."""
    recorded = json.loads(FIGURES.read_text(encoding="utf-8"))
    for name, entry in recorded["models"].items():
        model = load_bundle(MODELS / name, entry["precision"])
        for part in entry["parts"]:
            entry["parts"][part] = measure(model, entry["gold"], part, entry["swap"])
            print(name, part, entry["parts"][part])
    FIGURES.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
