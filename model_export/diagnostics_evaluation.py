"""How often the service's diagnostics are right: on gold pairs whose target words are deleted or doubled on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from model_export.alignment_evaluation import make_aligner
from model_export.evaluation import EvaluatedModel
from model_export.gold_alignments import GoldPair, GoldSet
from service.bundle.words import find_words
from service.domain import TranslatedHypothesis, TranslatedText, Word
from service.findings import Finding, Heuristic
from service.forced_alignment import AligningOptions, GivenPair

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
    pairs = [GivenPair(str(change.gold.source), change.target) for change in changes]
    aligner = make_aligner(model, model.rule)
    aligned = asyncio.run(aligner.align(pairs, AligningOptions(diagnostics=True)))
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
    counterparts: dict[int, set[int]] = {}
    for source, target in gold.possible:
        if _is_word(text.source.words[source]):
            counterparts.setdefault(source, set()).add(target)
    wanted = {source for source, targets in counterparts.items() if targets == {deleted}}
    others = {source for source, targets in counterparts.items() if deleted not in targets}
    found = {each.source_words[0] for each in _findings(text, "unattended_source_word")}
    count.add(found, wanted, wanted | others)


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
