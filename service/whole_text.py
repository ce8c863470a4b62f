"""From hypotheses of sentences to a hypothesis of the text that they are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.alignment import AlignmentDetail, move_links
from service.analysis import join_sentences, space_between
from service.diagnostics import move_findings
from service.domain import (
    Alignment,
    Alternative,
    AnalysedText,
    Hypothesis,
    Mechanism,
    Sentence,
    SentenceTranslation,
    TranslatedHypothesis,
)
from service.findings import Finding


@dataclass(frozen=True, slots=True)
class Decoded:
    """One hypothesis of one sentence; the ranges of `target` and all indices begin at 0.

    `alternatives` and `findings` are those of the whole text's `TranslatedHypothesis`, of this sentence.
    """

    hypothesis: Hypothesis
    target: AnalysedText
    alignments: tuple[Alignment, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What answers hold besides texts and scores.

    Attributes:
        alignment: how much of it.
        diagnostics: whether to look for signs of words left out, repeated or linked at random.
        copied_unknowns: whether source words that the model cannot read are copied.
    """

    alignment: AlignmentDetail = "soft"
    diagnostics: bool = False
    copied_unknowns: bool = False


def join_decoded(
    source: AnalysedText,
    separators: Sequence[str],
    decoded: Sequence[Decoded],
    mechanisms: Sequence[Mechanism],
    wanted: Wanted,
) -> TranslatedHypothesis:
    """Joins one hypothesis of every sentence to a hypothesis of the whole text.

    Args:
        source: the whole source text.
        separators: what stands around its sentences, one more than these.
        decoded: a hypothesis of each sentence.
        mechanisms: the model's, the primary first.
        wanted: what the answer is to hold.
    """
    targets = [each.target for each in decoded]
    target = join_sentences(targets, space_between(separators, targets))
    sentences = tuple(
        _place(each, source_place, target_place)
        for source_place, target_place, each in zip(source.sentences, target.sentences, decoded, strict=True)
    )
    log_probs = [each.hypothesis.token_log_probs for each in decoded]
    scores = [sentence.score for sentence in sentences]
    return TranslatedHypothesis(
        target=target,
        token_log_probs=np.concatenate([np.zeros(0, np.float32), *log_probs]),
        log_prob=sum(sentence.log_prob for sentence in sentences),
        score=sum(scores) / len(scores) if scores else 0.0,
        alignments=_of_whole_text(mechanisms, sentences, wanted.alignment),
        sentences=_without_repetition(sentences, wanted.alignment),
        alternatives=tuple(each for one in decoded for each in one.alternatives),
        findings=_all_findings(decoded, sentences) if wanted.diagnostics else None,
    )


def _place(decoded: Decoded, source: Sentence, target: Sentence) -> SentenceTranslation:
    """A sentence's hypothesis in its place in the whole text."""
    return SentenceTranslation(
        source=source,
        target=target,
        log_prob=decoded.hypothesis.log_prob,
        score=decoded.hypothesis.score,
        finished=decoded.hypothesis.finished,
        alignments=tuple(move_links(each, source.words[0], target.words[0]) for each in decoded.alignments),
    )


def _all_findings(decoded: Sequence[Decoded], sentences: Sequence[SentenceTranslation]) -> tuple[Finding, ...]:
    """Those of all sentences, in their places."""
    return tuple(
        finding
        for each, sentence in zip(decoded, sentences, strict=True)
        for finding in move_findings(each.findings, sentence.source.words[0], sentence.target.words[0])
    )


def _of_whole_text(
    mechanisms: Sequence[Mechanism], sentences: Sequence[SentenceTranslation], detail: AlignmentDetail
) -> tuple[Alignment, ...]:
    """All links of each mechanism; the matrices too where there is one sentence, or none."""
    if detail == "none":
        return ()
    if len(sentences) == 1:
        return sentences[0].alignments
    matrix = np.zeros((0, 0), np.float32) if detail == "soft" and not sentences else None
    return tuple(
        Alignment(
            mechanism,
            tokens=matrix,
            words=matrix,
            links=tuple(link for sentence in sentences for link in sentence.alignments[index].links),
        )
        for index, mechanism in enumerate(mechanisms)
    )


def _without_repetition(
    sentences: tuple[SentenceTranslation, ...], detail: AlignmentDetail
) -> tuple[SentenceTranslation, ...]:
    """Leaves a sentence its alignments only where they say more than the whole text's: matrices among several."""
    if detail == "soft" and len(sentences) > 1:
        return sentences
    return tuple(replace(sentence, alignments=()) for sentence in sentences)
