"""Sentence pairs as subword ids, with what was too long for the model on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from model_export.corpus_readers import EMPTY_SIDE, Corpus, describe_rejected
from model_export.errors import DataError
from model_export.word_alignments import spread_links
from service.alignment import word_of_each_token
from service.bundle.tokenizer import Tokenizer
from service.bundle.words import find_words
from service.domain import IntArray

TOO_MANY_TOKENS = "too many tokens"


@dataclass(slots=True)
class EncodedPairs:
    """The pairs of one corpus as ids.

    Attributes:
        pad_id: what batches are padded with.
        eos_id: what ends a sentence.
        source_ids: per pair int32 (source_len,), end of sentence included.
        target_ids: per pair int32 (target_len,), start and end of sentence included.
        members: per pair its index in the corpus.
        token_links: per pair int32 (links, 2), target token and source token, both counted without special tokens; no
            item at all if the corpus has no alignments.
        rejected: line numbers of pairs that were left out, by problem.
        line_name: as in the corpus.
    """

    pad_id: int
    eos_id: int
    source_ids: list[IntArray] = field(default_factory=list)
    target_ids: list[IntArray] = field(default_factory=list)
    members: list[int] = field(default_factory=list)
    token_links: list[IntArray] = field(default_factory=list)
    rejected: dict[str, list[int]] = field(default_factory=dict)
    line_name: str = "line"

    def epoch(self, _: int) -> EncodedPairs:
        """The pairs of one epoch, counted from 0: here always the same."""
        return self

    def report(self) -> str:
        """Says how many pairs and tokens there are and, per problem, which lines were left out."""
        source_tokens = sum(len(ids) - 1 for ids in self.source_ids)
        target_tokens = sum(len(ids) - 2 for ids in self.target_ids)
        head = f"{len(self.source_ids)} pairs encoded: {source_tokens} source and {target_tokens} target tokens"
        if self.token_links:
            head += f", {sum(len(np.unique(links[:, 0])) for links in self.token_links)} of which have links"
        return "\n".join([head, *describe_rejected(self.rejected, self.line_name)])


def encode_pairs(
    corpus: Corpus,
    tokenizer: Tokenizer,
    max_tokens: int,
    word_links: Sequence[IntArray] | None = None,
    show_progress: bool = False,
) -> EncodedPairs:
    """Encodes a corpus.

    Args:
        corpus: sentence pairs.
        tokenizer: what the model will be served with.
        max_tokens: longest side that is kept, in subwords without special tokens.
        word_links: per pair of the corpus int32 (links, 2), source word and target word.
        show_progress: draw a progress bar.

    Raises:
        DataError: no pair is left.
    """
    encoded = EncodedPairs(tokenizer.pad_id, tokenizer.eos_id, line_name=corpus.line_name)
    progress = tqdm(corpus.pairs, f"encoding {corpus.name}", unit=" pairs", disable=not show_progress)
    for index, (line, pair) in enumerate(zip(corpus.lines, progress, strict=True)):
        source, target = tokenizer.encode_ids(pair.source), tokenizer.encode_ids(pair.target)
        if not source or not target:
            encoded.rejected.setdefault(EMPTY_SIDE, []).append(line)
        elif max(len(source), len(target)) > max_tokens:
            encoded.rejected.setdefault(TOO_MANY_TOKENS, []).append(line)
        else:
            encoded.members.append(index)
            encoded.source_ids.append(np.array([*source, tokenizer.eos_id], dtype=np.int32))
            encoded.target_ids.append(np.array([tokenizer.bos_id, *target, tokenizer.eos_id], dtype=np.int32))
            if word_links is not None:
                words = (_word_of_each_token(side, tokenizer) for side in pair)
                encoded.token_links.append(spread_links(word_links[index], *words))
    if not encoded.source_ids:
        raise DataError(f"{corpus.name}: no sentence pair of at most {max_tokens} tokens a side is left")
    return encoded


def _word_of_each_token(text: str, tokenizer: Tokenizer) -> IntArray:
    return word_of_each_token(tokenizer.encode(text), find_words(text))
