"""Longer training sentences: neighbours of chance are joined, so that the model meets lengths its corpus lacks.

Source: Kondo et al. 2021, "Sentence Concatenation Approach to Data Augmentation for Neural Machine Translation"
(arXiv:2104.08478), there with two sentences. Nothing stands between the joined ones, as in a text of several sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from model_export.batching import PairSource
from model_export.data import EncodedPairs
from service.domain import IntArray

FEWEST_JOINED: Final = 2
MOST_JOINED: Final = 4
_PURPOSE: Final = 2  # tells the numbers drawn here from those that other parts draw for the same seed and epoch


class ConcatenatedPairs:
    """Pairs of which a share is joined in groups of two to four, other groups in every epoch; none is lost or repeated.

    Args:
        pairs: what is joined.
        share: of the pairs that are dealt into groups, from 0 to 1.
        seed: of the dealing, together with the epoch.
        max_tokens: longest side of a group, in subwords without special tokens; longer groups stay apart.
    """

    def __init__(self, pairs: PairSource, share: float, seed: int, max_tokens: int) -> None:
        self._pairs = pairs
        self._share = share
        self._seed = seed
        self._max_tokens = max_tokens

    def epoch(self, number: int) -> EncodedPairs:
        """The pairs of one epoch, counted from 0."""
        pairs = self._pairs.epoch(number)
        joined = EncodedPairs(pairs.pad_id, pairs.eos_id, line_name=pairs.line_name)
        for group in self._deal(pairs, np.random.default_rng((self._seed, number, _PURPOSE))):
            joined.source_ids.append(_join([pairs.source_ids[member] for member in group], starts=0))
            joined.target_ids.append(_join([pairs.target_ids[member] for member in group], starts=1))
            if pairs.token_links:
                joined.token_links.append(_join_links(pairs, group))
        return joined

    def _deal(self, pairs: EncodedPairs, generator: np.random.Generator) -> Iterator[list[int]]:
        """Yields groups of indices that together hold each pair once."""
        order = generator.permutation(len(pairs.source_ids)).tolist()
        dealt = round(self._share * len(order))
        position = 0
        while position < dealt:
            size = min(int(generator.integers(FEWEST_JOINED, MOST_JOINED + 1)), dealt - position)
            group = order[position : position + size]
            position += size
            sources = sum(len(pairs.source_ids[member]) - 1 for member in group)
            targets = sum(len(pairs.target_ids[member]) - 2 for member in group)
            yield from [group] if max(sources, targets) <= self._max_tokens else ([member] for member in group)
        for member in order[dealt:]:
            yield [member]


def _join(parts: Sequence[IntArray], starts: int) -> IntArray:
    """Joins ids that each have `starts` special tokens before and one behind; keeps the first's and the last's."""
    inner = [part[starts:-1] for part in parts]
    return np.concatenate([parts[0][:starts], *inner, parts[-1][-1:]])


def _join_links(pairs: EncodedPairs, group: Sequence[int]) -> IntArray:
    """int32 (links, 2), target token and source token, each moved by the tokens before its pair."""
    moved = []
    offset = np.zeros(2, dtype=np.int32)
    for member in group:
        moved.append(pairs.token_links[member] + offset)
        offset += (len(pairs.target_ids[member]) - 2, len(pairs.source_ids[member]) - 1)
    return np.concatenate(moved)
