"""Subword regularisation: words are cut in another way in every epoch, so that the model learns what pieces mean.

Source: Kudo 2018, "Subword Regularization" (arXiv:1804.10959), section 3.2: a segmentation is drawn from the l best
with probability `P(x_i)^alpha / sum_j P(x_j)^alpha`. Drawn word by word, as words are encoded one by one; with numbers
from numpy, since SentencePiece's own generator cannot be set back, which going on with a run needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import sentencepiece

from model_export.corpus_readers import Corpus
from model_export.data import EncodedPairs
from model_export.errors import ConfigError
from model_export.word_alignments import spread_links
from service.alignment import word_of_each_token
from service.bundle.tokenizer import prepare_chunks, split_into_chunks
from service.bundle.words import find_words
from service.domain import IntArray, Token

LongArray: TypeAlias = npt.NDArray[np.int64]

_LONGEST_SAMPLED_CHUNK: Final = 64
"""Longer chunks are no words; their many segmentations would cost more than they teach."""
_PURPOSE: Final = 1  # tells the numbers drawn here from those that other parts draw for the same seed and epoch


@dataclass(frozen=True)
class Sampling:
    """How segmentations are drawn.

    Attributes:
        candidates: l, how many of the best segmentations of a word are drawn from.
        alpha: 0 draws all of them alike, 1 by their probability.
        seed: of the draws, together with the epoch.
        max_tokens: longest side of a pair; one that gets longer is cut in its best way.
    """

    candidates: int
    alpha: float
    seed: int
    max_tokens: int


class SegmentationTable:
    """The best segmentations of every chunk, all in a few flat arrays.

    Args:
        model: the SentencePiece model.
        chunks: each different chunk once.
        sampling: how many segmentations, and how their probabilities are flattened.

    Raises:
        ConfigError: the model cannot tell segmentations other than the best; only unigram models can.
    """

    def __init__(self, model: bytes, chunks: Sequence[str], sampling: Sampling) -> None:
        processor = sentencepiece.SentencePieceProcessor()
        processor.load_from_serialized_proto(model)
        scores = np.array([processor.get_score(token_id) for token_id in range(processor.get_piece_size())])
        segmentations: list[list[int]] = []
        thresholds: list[np.ndarray] = []
        for index, chunk in enumerate(chunks):
            candidates = _best_segmentations(processor, chunk, sampling.candidates)
            log_weights = sampling.alpha * np.array([scores[ids].sum() for ids in candidates])
            weights = np.exp(log_weights - log_weights.max())
            cumulative = np.cumsum(weights) / weights.sum()
            cumulative[-1] = 1.0
            thresholds.append(index + cumulative)
            segmentations += candidates
        self._thresholds = np.concatenate(thresholds)  # (segmentations,), chunk number + cumulative probability
        self._lengths = np.array([len(ids) for ids in segmentations], dtype=np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._ids = np.array([token_id for ids in segmentations for token_id in ids], dtype=np.int32)

    def sample(self, chunks: IntArray, generator: np.random.Generator) -> tuple[IntArray, LongArray]:
        """Draws a segmentation for each of `chunks` int32 (count,), numbers of chunks.

        Returns:
            All ids one after the other, int32; and how many each chunk got, int64 (count,).
        """
        drawn = chunks + generator.random(len(chunks))
        return self._gather(np.searchsorted(self._thresholds, drawn, side="right").astype(np.int64))

    def _gather(self, segmentations: LongArray) -> tuple[IntArray, LongArray]:
        lengths = self._lengths[segmentations]
        ends = np.cumsum(lengths)
        offsets = np.repeat(self._starts[segmentations] - (ends - lengths), lengths)
        return self._ids[offsets + np.arange(len(offsets))], lengths


def _best_segmentations(
    processor: sentencepiece.SentencePieceProcessor, chunk: str, candidates: int
) -> list[list[int]]:
    if candidates == 1 or len(chunk) > _LONGEST_SAMPLED_CHUNK:
        return [processor.encode(chunk, out_type=int)]
    try:
        return [list(ids) for ids in processor.nbest_encode(chunk, nbest_size=candidates, out_type=int)]
    except RuntimeError as error:
        raise ConfigError(
            "training.subword_candidates: this tokenizer knows one segmentation of a word only; use a unigram model"
        ) from error


class SampledPairs:
    """Sentence pairs whose words are cut anew in every epoch.

    Args:
        encoded: the pairs of the corpus that are used, cut in their best way.
        corpus: where they come from.
        word_links: per pair of the corpus int32 (links, 2), source word and target word; None without alignments.
        model: the SentencePiece model.
        sampling: how segmentations are drawn.
    """

    def __init__(
        self,
        encoded: EncodedPairs,
        corpus: Corpus,
        word_links: Sequence[IntArray] | None,
        model: bytes,
        sampling: Sampling,
    ) -> None:
        self._encoded = encoded
        self._sampling = sampling
        self._word_links = None if word_links is None else [word_links[member] for member in encoded.members]
        numbers: dict[str, int] = {}
        pairs = [corpus.pairs[member] for member in encoded.members]
        self._sides = [_Side([pair[side] for pair in pairs], numbers) for side in (0, 1)]
        self._table = SegmentationTable(model, list(numbers), sampling)

    def epoch(self, number: int) -> EncodedPairs:
        """The pairs as they are cut in one epoch, counted from 0."""
        generator = np.random.default_rng((self._sampling.seed, number, _PURPOSE))
        best = self._encoded
        drawn = EncodedPairs(best.pad_id, best.eos_id, line_name=best.line_name)
        (sources, source_words), (targets, target_words) = (side.cut(self._table, generator) for side in self._sides)
        for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if max(len(source), len(target)) > self._sampling.max_tokens:
                drawn.source_ids.append(best.source_ids[index])
                drawn.target_ids.append(best.target_ids[index])
                drawn.token_links.extend(best.token_links[index : index + 1])
                continue
            drawn.source_ids.append(np.append(source, best.source_ids[index][-1:]))
            drawn.target_ids.append(np.concatenate([best.target_ids[index][:1], target, best.target_ids[index][-1:]]))
            if self._word_links is not None:
                links = spread_links(self._word_links[index], source_words[index], target_words[index])
                drawn.token_links.append(links)
        return drawn


class _Side:
    """One side of all pairs as numbers of chunks; new chunks are entered into `numbers`."""

    def __init__(self, texts: Sequence[str], numbers: dict[str, int]) -> None:
        chunks: list[int] = []
        words: list[IntArray] = []
        counts: list[int] = []
        for text in texts:
            found = prepare_chunks(text)
            chunks += [numbers.setdefault(chunk, len(numbers)) for chunk in found]
            words.append(word_of_each_chunk(text))
            counts.append(len(found))
        self._chunks = np.array(chunks, dtype=np.int32)  # of all texts, one after the other
        self._words = np.concatenate(words)
        self._ends = np.cumsum(counts)  # (texts,), in chunks

    def cut(self, table: SegmentationTable, generator: np.random.Generator) -> tuple[list[IntArray], list[IntArray]]:
        """Per text its ids, and the word of each of them; both int32 (tokens,)."""
        ids, lengths = table.sample(self._chunks, generator)
        borders = np.cumsum(lengths)[self._ends - 1][:-1]
        return np.split(ids, borders), np.split(np.repeat(self._words, lengths), borders)


def word_of_each_chunk(text: str) -> IntArray:
    """The word that each chunk of a text belongs to, int32 (chunks,)."""
    normalized, ranges = split_into_chunks(text)
    firsts = [normalized.starts[start + (normalized.text[start] == " ")] for start, _ in ranges]
    return word_of_each_token([Token(0, "", first, first + 1) for first in firsts], find_words(text))
