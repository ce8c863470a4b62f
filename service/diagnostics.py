"""Signs of words left out, repeated or linked at random, read from attention: heuristics, right more often than not.

Figures are those of the built-in model, whose aligner has sharp rows, on the half of the gold alignments that is for
tuning, every word of the given translations deleted or doubled in turn (`interlinear-export evaluate --diagnostics`). A
model without an aligner looks at words that it has not written, so the first heuristic is of no use for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from service.alignment import word_matrix
from service.domain import AnalysedText, FloatArray
from service.findings import Finding

UNATTENDED_BELOW: Final = 0.1
"""Attention that a source word got from all target words together. Below 0.05 the precision rises from 0.50 to 0.58 and
the recall falls from 0.42 to 0.25; below 0.2 they are 0.41 and 0.57. Neither a least length of words nor a greatest
frequency, which should tell articles and the like, made more of the findings right."""

SHARED_FROM: Final = 0.2
"""Attention that two equal target words have in common. From 0.1 on the findings in sentences without any repetition
double; from 0.5 on the recall falls from 0.6 to 0.4."""

DIFFUSE_FROM: Final = 4.0
"""Source words that a target word's attention is spread over: the exponential of its entropy; what goes to no word
counts as one. Of the target words from here on, half have their best link wrong, of all words a sixth."""


def diagnose(attention: FloatArray, source: AnalysedText, target: AnalysedText) -> tuple[Finding, ...]:
    """Looks for signs of trouble in one sentence; punctuation is left out on both sides.

    Args:
        attention: float32 (target tokens, source tokens) of the primary mechanism, special tokens included.
        source: the source sentence; its ranges and indices begin at 0.
        target: the target sentence, likewise.

    Returns:
        What was found; word indices begin at 0 in the sentence.
    """
    words = word_matrix(attention, source, target)
    if words.size == 0:
        return ()
    return (*_unattended(words, source), *_repeated(words, source, target), *_diffuse(words, target))


def move_findings(found: Sequence[Finding], first_source_word: int, first_target_word: int) -> tuple[Finding, ...]:
    """A sentence's findings with indices in the whole text, where its words begin at these."""
    return tuple(
        replace(
            each,
            source_words=tuple(first_source_word + index for index in each.source_words),
            target_words=tuple(first_target_word + index for index in each.target_words),
        )
        for each in found
    )


def _unattended(words: FloatArray, source: AnalysedText) -> Iterator[Finding]:
    """Source words that hardly any attention went to."""
    for index, attention in enumerate(words.sum(axis=0).tolist()):
        if attention < UNATTENDED_BELOW and _is_word(source, index):
            yield Finding("unattended_source_word", (index,), (), attention)


def _repeated(words: FloatArray, source: AnalysedText, target: AnalysedText) -> Iterator[Finding]:
    """Equal target words that stand side by side or share attention, unless the source word occurs as often itself."""
    occurrences = Counter(word.text.casefold() for word in source.words)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, word in enumerate(target.words):
        if _is_word(target, index):
            places[word.text.casefold()].append(index)
    for equal in places.values():
        for first, second in pairwise(equal):
            shared = np.minimum(words[first], words[second])  # (source words,)
            attended = int((words[first] + words[second]).argmax())
            more = len(equal) > occurrences[source.words[attended].text.casefold()]
            if more and (second == first + 1 or shared.sum() >= SHARED_FROM):
                yield Finding("repeated_target_word", (attended,), (first, second), float(shared.sum()))


def _diffuse(words: FloatArray, target: AnalysedText) -> Iterator[Finding]:
    """Target words whose attention is spread over many source words."""
    nowhere = np.clip(1 - words.sum(axis=1, keepdims=True), 0, 1)
    weights = np.concatenate([words, nowhere], axis=1)  # (target words, source words + 1)
    entropies = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(axis=1)
    for index, spread in enumerate(np.exp(entropies).tolist()):
        if spread >= DIFFUSE_FROM and _is_word(target, index):
            yield Finding("diffuse_target_word", (), (index,), spread)


def _is_word(text: AnalysedText, index: int) -> bool:
    """Whether it has letters or digits; what begins with an apostrophe (`'s`) is a word as well."""
    return any(character.isalnum() for character in text.words[index].text)
