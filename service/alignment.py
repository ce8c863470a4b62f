"""Attention between tokens -> a matrix between words, hard links, and rows that still sum to 1 when rounded.

Everything here is about one sentence, except that `move_links` finds its links their place in a longer text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.bundle.tokenizer import SPACE_SIGN
from service.domain import (
    Alignment,
    AlignmentRule,
    AnalysedText,
    BoolArray,
    FloatArray,
    IntArray,
    Link,
    Mechanism,
    Token,
    Word,
)

AlignmentDetail: TypeAlias = Literal["none", "hard", "soft"]

DEFAULT_RULE = AlignmentRule()
"""What holds for bundles that say nothing of it."""

_NO_WORD = -1


def choose_rows(attentions: Sequence[FloatArray], mechanisms: Sequence[Mechanism]) -> tuple[FloatArray, ...]:
    """Gives every token, of each mechanism, the attention of the step that its alignment is read from.

    The decoder attends before it chooses a token, so the step that produces token t looks for what to write (row
    offset 0). A mechanism can be such that only the next step, which reads token t, looks back at its source (1); no
    step reads the last token, for which the first mechanism of offset 0 stands in, if there is one.

    Args:
        attentions: of each mechanism (target tokens, source tokens); row t is that of the step that produced token t.
        mechanisms: in the same order; none where no alignment is asked for.

    Returns:
        Arrays of the same shapes.
    """
    if not any(mechanism.row_offset for mechanism in mechanisms):
        return tuple(attentions)
    pairs = list(zip(attentions, mechanisms, strict=True))
    last = next((attention for attention, mechanism in pairs if not mechanism.row_offset), attentions[0])[-1:]
    return tuple(
        np.concatenate([attention[1:], last]) if mechanism.row_offset else attention for attention, mechanism in pairs
    )


def align(
    attentions: Iterable[tuple[Mechanism, FloatArray]],
    source: AnalysedText,
    target: AnalysedText,
    detail: AlignmentDetail,
    rule: AlignmentRule = DEFAULT_RULE,
) -> tuple[Alignment, ...]:
    """Says what attention tells about one sentence.

    Args:
        attentions: each mechanism with its float32 (target tokens, source tokens), special tokens included on both
            sides.
        source: the source sentence; its ranges and indices begin at 0.
        target: the target sentence, likewise.
        detail: `none` gives none, `hard` links without matrices, `soft` both.
        rule: the model's, for links.

    Returns:
        One alignment for each mechanism, in their order.
    """
    if detail == "none":
        return ()
    pairs = list(attentions)
    matrices = word_matrix(np.array([attention for _, attention in pairs]), source, target)
    alignments = []
    for (mechanism, attention), words in zip(pairs, matrices, strict=True):
        links = hard_links(words, rule)
        soft = detail == "soft"
        alignments.append(Alignment(mechanism, attention if soft else None, words if soft else None, links))
    return tuple(alignments)


def word_of_each_token(tokens: Sequence[Token], words: Sequence[Word]) -> IntArray:
    """Finds the word that each token belongs to, by character ranges.

    No token crosses a word boundary, so the word around a token's first character is the token's word. A token without
    characters right behind a word, but for a bare space, gave way to it (`service.unknown_words`), and belongs to it.

    Returns:
        int32 (tokens,), indices into `words`; -1 for special tokens and for tokens outside all words.
    """
    word_starts = [word.start for word in words]
    indices = []
    for token in tokens:
        last_begun = bisect_right(word_starts, token.start) - 1
        if token.start == token.end and not token.special and token.text != SPACE_SIGN:
            before = bisect_left(word_starts, token.start) - 1
            if before >= 0 and words[before].end == token.start:
                indices.append(before)
                continue
        inside = not token.special and last_begun >= 0 and token.start < words[last_begun].end
        indices.append(last_begun if inside else _NO_WORD)
    return np.array(indices, dtype=np.int32)


def word_matrix(attention: FloatArray, source: AnalysedText, target: AnalysedText) -> FloatArray:
    """Turns attention between tokens into attention between words.

    A target word attends to a source word with the sum over the source word's tokens (attention is a distribution
    over source tokens) and the mean over the target word's tokens (each of them made a choice of its own). What goes
    to special tokens belongs to no word, so rows may sum to less than 1. (Monotonic mechanisms may attend to nothing.)

    Args:
        attention: float32 (..., target tokens, source tokens), of one mechanism or several.
        source: the source sentence.
        target: the target sentence.

    Returns:
        float32 (..., target words, source words).
    """
    source_members = _membership(source)  # (source words, source tokens)
    target_members = _membership(target)  # (target words, target tokens)
    tokens_per_word = np.maximum(target_members.sum(axis=1, keepdims=True), 1.0)
    matrix: FloatArray = (target_members / tokens_per_word) @ attention @ source_members.T
    return matrix


def _membership(text: AnalysedText) -> FloatArray:
    """float32 (words, tokens), 1 where the token belongs to the word."""
    words = np.arange(len(text.words), dtype=np.int32)
    members: BoolArray = word_of_each_token(text.tokens, text.words) == words[:, np.newaxis]
    return members.astype(np.float32)


def hard_links(matrix: FloatArray, rule: AlignmentRule = DEFAULT_RULE) -> tuple[Link, ...]:
    """Links every target word to the source words that it attends to most, and enough; then those that remain.

    A target word is linked to each source word whose weight reaches both `threshold` and `relative_threshold` times the
    target word's greatest weight. So it may have several links, or none: the first condition leaves words without a
    counterpart alone, the second keeps words that have one from being linked to what they merely glanced at. Special
    tokens belong to no word, so nothing is ever linked to them.

    With a `remaining_threshold`, words that have no link then are linked to each other, the heaviest weight first, each
    word at most once, down to that weight. What is taken no longer competes, so a lower weight is enough.

    Source: the second step is competitive linking, Melamed 2000, "Models of Translational Equivalence among
    Words", with attention in the place of its scores.

    Args:
        matrix: float32 (target words, source words).
        rule: what is enough.

    Returns:
        The links, ordered by source, then target.
    """
    if matrix.size == 0:
        return ()
    greatest = matrix.max(axis=1, keepdims=True)  # (target words, 1)
    linked: BoolArray = np.logical_and(matrix >= rule.threshold, matrix >= rule.relative_threshold * greatest)
    if rule.remaining_threshold is not None:
        _link_remaining(linked, matrix, rule.remaining_threshold)
    source_words, target_words = np.nonzero(linked.T)
    weights = matrix[target_words, source_words]
    return tuple(map(Link, source_words.tolist(), target_words.tolist(), weights.tolist()))


def _link_remaining(linked: BoolArray, matrix: FloatArray, threshold: float) -> None:
    """Adds to `linked` (target words, source words) the links between words that have none."""
    targets, sources = np.flatnonzero(~linked.any(axis=1)), np.flatnonzero(~linked.any(axis=0))
    weights = matrix[np.ix_(targets, sources)]  # (free target words, free source words), a copy
    while weights.size:
        target, source = divmod(int(weights.argmax()), len(sources))  # of equals the first target word's first
        if not weights[target, source] >= threshold:
            return
        linked[targets[target], sources[source]] = True
        weights[target, :] = weights[:, source] = -np.inf


def move_links(alignment: Alignment, first_source_word: int, first_target_word: int) -> Alignment:
    """A sentence's alignment with links between words of the whole text, where its words begin at these indices."""
    if not first_source_word and not first_target_word:
        return alignment
    links = [
        Link(link.source + first_source_word, link.target + first_target_word, link.weight) for link in alignment.links
    ]
    return replace(alignment, links=tuple(links))


def round_rows(matrix: FloatArray, decimals: int = 4) -> npt.NDArray[np.float64]:
    """Rounds matrices of weights so that each row keeps its sum.

    Plain rounding loses many small weights at once. Here every weight is rounded down, and what the row lacks then
    goes, one unit of the last decimal each, to the weights that lost most (the largest-remainder method).

    Args:
        matrix: (..., rows, columns), weights of 0 or more.
        decimals: decimals to keep.

    Returns:
        float64, likewise; every entry within one unit of the last decimal of the original, every row's sum
        within half a unit of the row's original sum: rows that sum to at most 1 still do.
    """
    scale = 10**decimals
    scaled = matrix.astype(np.float64) * scale
    units = np.floor(scaled)
    missing = np.rint(scaled.sum(axis=-1) - units.sum(axis=-1))  # (..., rows)
    by_loss = (units - scaled).argsort(axis=-1, kind="stable")  # greatest loss first
    rank = by_loss.argsort(axis=-1, kind="stable")  # (..., rows, columns), each entry's place in that order
    rounded: npt.NDArray[np.float64] = (units + (rank < missing[..., np.newaxis])) / scale
    return rounded
