"""The part of `interlinear-export evaluate` that measures translations by the length of their sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from model_export.corpus_readers import Corpus
from model_export.evaluation import EvaluatedModel, Metric, translate_corpus
from model_export.length_evaluation import REPEATED_WORDS, LengthFigures, judge_band, split_by_length
from service.domain import DecodingOptions, TranslatedText


def measure_by_length(
    model: EvaluatedModel, corpus: Corpus, translated: Sequence[TranslatedText], options: DecodingOptions
) -> list[LengthFigures]:
    """Translates joined pairs as well, prints the figures of each band, and returns them.

    Args:
        model: what translates.
        corpus: the test pairs.
        translated: their translations by the same options.
        options: how to translate.

    Raises:
        TextTooLongError: a joined source is longer than the model takes, and cannot be parted.
    """
    known = dict(zip(corpus.pairs, translated, strict=True))
    figures = []
    for band in split_by_length(corpus):
        if all(pair in known for pair in band.pairs):
            texts = [known[pair] for pair in band.pairs]
        else:
            texts = translate_corpus(model, Corpus(band.name, list(band.pairs)), options)
        figures.append(judge_band(band, texts))
    _print_figures(figures)
    return figures


def _print_figures(figures: Iterable[LengthFigures]) -> None:
    print("by length of the source: pairs, chrF, cut at the length limit %, repetitive %")
    for each in figures:
        shares = f"{100 * each.truncated:5.1f}  {100 * each.repetitive:5.1f}"
        print(f"  {each.band:<32}{each.pairs:6}  {each.chrf:5.2f}  {shares}")


def length_metrics(figures: Iterable[LengthFigures]) -> list[Metric]:
    """What is recorded: of each band chrF and two shares in percent."""
    metrics = []
    for each in figures:
        pairs = f"pairs:{each.pairs}"
        metrics += [
            Metric(f"chrF ({each.band})", each.chrf, f"{pairs}|{each.signature}"),
            Metric(f"cut at the length limit ({each.band})", round(100 * each.truncated, 2), f"{pairs}|percent"),
            Metric(
                f"repetitive ({each.band})", round(100 * each.repetitive, 2), f"{pairs}|percent|run:{REPEATED_WORDS}"
            ),
        ]
    return metrics
