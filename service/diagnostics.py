"""Signs of words left out, repeated or linked at random, read from attention: heuristics, not judgements.

How often they are right differs from model to model. `interlinear-export evaluate --diagnostics` measures it, every
word of given translations deleted or doubled in turn; model cards have the figures, and the README those of the
built-in model. The thresholds here were set on the half of the gold alignments that is for tuning.

A word that was left out has two signs: nothing that was written looks back at it, and the attention by which the model
translates looked ahead to it, expecting to write its translation. Articles and the like, which often have no
counterpart, lack the second. A model without an aligner has no attention that looks back; the first heuristic is of
little use for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np

from service.alignment import word_matrix
from service.domain import AnalysedText, FloatArray, Mechanism
from service.findings import DEFAULT_OMISSION_RULE, Finding, OmissionRule

UNATTENDED_ALONE_BELOW: Final = 0.1
"""Attention that a source word got from all target words together, where the other sign cannot be had. With a lower
threshold more of the findings are right, with a higher one more is found; both signs together do better than this one
alone with any threshold that was tried."""

SHARED_FROM: Final = 0.2
"""Attention that two equal target words have in common. Half of it finds far more in sentences without any repetition,
a good deal more of it overlooks repetitions."""

DIFFUSE_FROM: Final = 4.0
"""Source words that a target word's attention is spread over: the exponential of its entropy; what goes to no word
counts as one."""


def diagnose(
    attentions: Sequence[tuple[Mechanism, FloatArray]],
    source: AnalysedText,
    target: AnalysedText,
    rule: OmissionRule = DEFAULT_OMISSION_RULE,
) -> tuple[Finding, ...]:
    """Looks for signs of trouble in one sentence; punctuation is left out on both sides.

    Args:
        attentions: each mechanism, the primary first, with its float32 (target tokens, source tokens), special tokens
            included.
        source: the source sentence; its ranges and indices begin at 0.
        target: the target sentence, likewise.
        rule: the model's, for words left out.

    Returns:
        What was found; word indices begin at 0 in the sentence.
    """
    matrices = [(mechanism, word_matrix(attention, source, target)) for mechanism, attention in attentions]
    words = matrices[0][1]
    if words.size == 0:
        return ()
    left_out = (
        Finding("unattended_source_word", (index,), (), attended)
        for index, attended, expected in attention_received(matrices, source)
        if _is_left_out(attended, expected, rule)
    )
    return (*left_out, *_repeated(words, source, target), *_diffuse(words, target))


def attention_received(
    matrices: Sequence[tuple[Mechanism, FloatArray]], source: AnalysedText
) -> Iterator[tuple[int, float, float | None]]:
    """Yields how much attention each source word got, punctuation left out.

    Args:
        matrices: each mechanism, the primary first, with its float32 (target words, source words).
        source: the source sentence.

    Yields:
        The word's index; what it got from the primary mechanism; and, if that one looks back at what was written (row
        offset 1), what it got from the first mechanism that looks ahead for what to write, None if there is none.
    """
    (primary, words), *others = matrices
    ahead = next((matrix for mechanism, matrix in others if primary.row_offset and not mechanism.row_offset), None)
    attended = words.sum(axis=0).tolist()
    expected = [None] * len(attended) if ahead is None else ahead.sum(axis=0).tolist()
    for index, both in enumerate(zip(attended, expected, strict=True)):
        if _is_word(source, index):
            yield index, *both


def _is_left_out(attended: float, expected: float | None, rule: OmissionRule) -> bool:
    if expected is None:
        return attended < UNATTENDED_ALONE_BELOW
    return attended < rule.unattended_below and expected >= rule.expected_from


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
