"""How often the service's diagnostics are right: on gold pairs whose target words are deleted or doubled on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from model_export.alignment_evaluation import make_aligner
from model_export.evaluation import EvaluatedModel
from model_export.gold_alignments import GoldPair, GoldSet
from service.bundle.words import find_words
from service.diagnostics import attention_received
from service.domain import BoolArray, TranslatedHypothesis, TranslatedText, Word
from service.findings import Finding, Heuristic, OmissionRule
from service.forced_alignment import AligningOptions, GivenPair

UNATTENDED_BELOW: Final = tuple(step / 20 for step in range(1, 13))
EXPECTED_FROM: Final = tuple(step / 10 for step in range(16))

FAR: Final = 2
"""Words between a word and its double; doubles that follow at once are tried as well."""


@dataclass(frozen=True)
class HeuristicFigures:
    """How one heuristic did.

    Attributes:
        precision: share of the findings that are right.
        recall: share of what was to be found that was.
        cases: how much was to be found.
        findings_per_intact_sentence: how many findings a sentence has whose words were left alone.
    """

    precision: float
    recall: float
    cases: int
    findings_per_intact_sentence: float


@dataclass(frozen=True)
class _Change:
    """A gold pair with one target word deleted or doubled, or with none.

    Attributes:
        gold: the pair as it was.
        target: its target now.
        deleted: index of the target word that is not there any more.
        double: index, in `target`, of the word that is there once more.
    """

    gold: GoldPair
    target: str
    deleted: int | None = None
    double: int | None = None


@dataclass(frozen=True)
class TunedOmissionRule:
    """A rule, and how it did on what it was tuned on; `f1` is the harmonic mean of the other two."""

    rule: OmissionRule
    precision: float
    recall: float
    f1: float


@dataclass
class _Count:
    right: int = 0
    wrong: int = 0
    missed: int = 0
    intact: int = 0

    def add(self, found: set[int], wanted: set[int], possible: set[int]) -> None:
        """Counts findings: right in `wanted`, wrong in the rest of `possible`, and left out of account elsewhere."""
        self.right += len(found & wanted)
        self.wrong += len(found & possible - wanted)
        self.missed += len(wanted - found)

    def figures(self, sentences: int) -> HeuristicFigures:
        """As shares."""
        cases, findings = self.right + self.missed, self.right + self.wrong
        precision, recall = self.right / max(findings, 1), self.right / max(cases, 1)
        return HeuristicFigures(precision, recall, cases, self.intact / max(sentences, 1))


def measure_diagnostics(model: EvaluatedModel, gold: GoldSet) -> dict[Heuristic, HeuristicFigures]:
    """Aligns every pair as it is and with each of its target words deleted and doubled, and judges what is found.

    - A word left out: to be found are the source words whose only counterpart was deleted. Findings among those that
      have another one as well count neither way.
    - A word repeated: to be found is the double, which stands right behind the word, or two words further on.
    - Diffuse attention: to be found, in pairs as they are, are the target words whose best link is wrong; so this
      one's precision is the share of its findings with a wrong link.

    Args:
        model: what aligns.
        gold: the pairs, which must have texts, not lists of words.

    Raises:
        TextTooLongError: a pair is longer than the model takes.
    """
    changes = [change for pair in gold.pairs for change in _changes(pair)]
    aligned = _align(model, changes)
    left_out, repeated, diffuse = _Count(), _Count(), _Count()
    for change, text in zip(changes, aligned, strict=True):
        if change.deleted is not None:
            _judge_left_out(change.gold, change.deleted, text, left_out)
        elif change.double is not None:
            # A finding is known by the later of its words.
            found = {max(each.target_words) for each in _findings(text, "repeated_target_word")}
            repeated.add(found, {change.double}, set(range(len(text.hypotheses[0].target.words))))
        else:
            _judge_diffuse(change.gold, text, diffuse)
            left_out.intact += len(_findings(text, "unattended_source_word"))
            repeated.intact += len(_findings(text, "repeated_target_word"))
    sentences = len(gold.pairs)
    return {
        "unattended_source_word": left_out.figures(sentences),
        "repeated_target_word": repeated.figures(sentences),
        "diffuse_target_word": diffuse.figures(sentences),
    }


def tune_omissions(model: EvaluatedModel, gold: GoldSet) -> list[TunedOmissionRule]:
    """Tries every combination of thresholds on a grid, on all pairs with each of their target words deleted.

    Args:
        model: whose rule it is.
        gold: what to tune on, pairs of texts; figures of the tuned rule on anything else are untouched by it.

    Returns:
        For each threshold of what was expected the best of what was attended; the best of all first. None at all where
        the model has no attention that looks back beside one that looks ahead, so that the rule does nothing.

    Raises:
        TextTooLongError: a pair is longer than the model takes.
    """
    changes = [change for pair in gold.pairs for change in _changes(pair) if change.deleted is not None]
    received = [
        each for change, text in zip(changes, _align(model, changes), strict=True) for each in _cases(change, text)
    ]
    if any(expected is None for _, expected, _ in received):
        return []
    attended, expected, left_out = (np.array(column) for column in zip(*received, strict=True))
    best = []
    for least in EXPECTED_FROM:
        rules = [OmissionRule(below, least) for below in UNATTENDED_BELOW]
        tried = (
            _try_rule(rule, (attended < rule.unattended_below) & (expected >= rule.expected_from), left_out)
            for rule in rules
        )
        best.append(max(tried, key=lambda tuned: tuned.f1))
    return sorted(best, key=lambda tuned: -tuned.f1)


def _try_rule(rule: OmissionRule, found: BoolArray, left_out: BoolArray) -> TunedOmissionRule:
    right, cases, findings = int((found & left_out).sum()), int(left_out.sum()), int(found.sum())
    f1 = 2 * right / max(cases + findings, 1)
    return TunedOmissionRule(rule, right / max(findings, 1), right / max(cases, 1), f1)


def _cases(change: _Change, text: TranslatedText) -> Iterator[tuple[float, float | None, bool]]:
    """Yields what each source word got that counts, what was expected, and whether its only counterpart was deleted."""
    best = text.hypotheses[0]
    matrices = [(each.mechanism, each.words) for each in best.alignments if each.words is not None]
    if not best.target.words:
        return
    wanted, others = _expected_findings(change.gold, change.deleted, text)
    for index, attended, expected in attention_received(matrices, text.source):
        if index in wanted | others:
            yield attended, expected, index in wanted


def _align(model: EvaluatedModel, changes: Sequence[_Change]) -> list[TranslatedText]:
    pairs = [GivenPair(str(change.gold.source), change.target) for change in changes]
    return asyncio.run(make_aligner(model, model.rule).align(pairs, AligningOptions(diagnostics=True)))


def _changes(pair: GoldPair) -> Iterator[_Change]:
    """The pair as it is, then with each of its target words deleted, doubled, and doubled further on."""
    target = str(pair.target)
    words = find_words(target)
    yield _Change(pair, target)
    for index, word in enumerate(words):
        if not _is_word(word):
            continue
        space = target[: word.start].endswith(" ")
        yield _Change(pair, target[: word.start - space] + target[word.end :], deleted=index)
        for place in (index, index + FAR):
            if place < len(words):
                end = words[place].end
                doubled = f"{target[:end]} {word.text}{target[end:]}"
                if [each.text for each in find_words(doubled)] == _with(words, place + 1, word):
                    yield _Change(pair, doubled, double=place + 1)


def _with(words: Sequence[Word], index: int, word: Word) -> list[str]:
    texts = [each.text for each in words]
    return [*texts[:index], word.text, *texts[index:]]


def _judge_left_out(gold: GoldPair, deleted: int, text: TranslatedText, count: _Count) -> None:
    wanted, others = _expected_findings(gold, deleted, text)
    found = {each.source_words[0] for each in _findings(text, "unattended_source_word")}
    count.add(found, wanted, wanted | others)


def _expected_findings(gold: GoldPair, deleted: int | None, text: TranslatedText) -> tuple[set[int], set[int]]:
    """The source words whose only counterpart was deleted, and those whose counterparts are all still there."""
    counterparts: dict[int, set[int]] = {}
    for source, target in gold.possible:
        if _is_word(text.source.words[source]):
            counterparts.setdefault(source, set()).add(target)
    wanted = {source for source, targets in counterparts.items() if targets == {deleted}}
    others = {source for source, targets in counterparts.items() if deleted not in targets}
    return wanted, others


def _judge_diffuse(gold: GoldPair, text: TranslatedText, count: _Count) -> None:
    best = text.hypotheses[0]
    words = {index for index, word in enumerate(best.target.words) if _is_word(word)}
    wrong = {index for index in words if (_best_source(best, index), index) not in gold.possible}
    found = {each.target_words[0] for each in _findings(text, "diffuse_target_word")}
    count.add(found, wrong, words)
    count.intact += len(found)


def _best_source(hypothesis: TranslatedHypothesis, target: int) -> int:
    matrix = hypothesis.alignments[0].words
    return -1 if matrix is None or not matrix.shape[1] else int(matrix[target].argmax())


def _findings(text: TranslatedText, heuristic: Heuristic) -> list[Finding]:
    return [each for each in text.hypotheses[0].findings or () if each.heuristic == heuristic]


def _is_word(word: Word) -> bool:
    return any(character.isalnum() for character in word.text)
