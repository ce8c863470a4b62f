"""Sentence pairs as people type them: clauses joined by commas, full stops left out, no capital letters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from model_export.corpus_readers import SentencePair
from service.bundle.words import find_words

FULL_STOP: Final = "."

Spelling: TypeAlias = Mapping[str, Counter[str]]
"""By case-folded word how often it is written how, elsewhere than at the start of a sentence."""


def is_statement(pair: SentencePair) -> bool:
    """Whether both sides end in a full stop, and hold more than that."""
    return all(side.endswith(FULL_STOP) and len(find_words(side)) > 1 for side in pair)


def count_spellings(texts: Iterable[str]) -> Spelling:
    """Counts how the words of sentences are written where they do not begin one."""
    spelling: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for word in find_words(text)[1:]:
            spelling[word.text.casefold()][word.text] += 1
    return spelling


def join_clauses(pairs: Sequence[SentencePair], spellings: Sequence[Spelling]) -> SentencePair:
    """Makes one statement of several: commas between, and first words written as they mostly are inside of sentences.

    Args:
        pairs: statements.
        spellings: of the first sides, and of the second.
    """
    sides = zip(*pairs, strict=True)
    return SentencePair(*(_join(side, spelling) for side, spelling in zip(sides, spellings, strict=True)))


def without_full_stop(pair: SentencePair) -> SentencePair:
    """The pair as people type it who leave the full stop out."""
    return SentencePair(*(side.removesuffix(FULL_STOP) for side in pair))


def has_capitals(side: str) -> bool:
    """Whether a text changes in lower case."""
    return side != side.lower()


def in_lower_case(pair: SentencePair, column: int) -> SentencePair:
    """The pair with one side as people type it who use no capital letters; the other stays as it should be."""
    sides = list(pair)
    sides[column] = sides[column].lower()
    return SentencePair(*sides)


def _join(sentences: Sequence[str], spelling: Spelling) -> str:
    first, *others = sentences
    clauses = [first]
    for sentence in others:
        word = find_words(sentence)[0]
        counts = spelling.get(word.text.casefold())
        usual = counts.most_common(1)[0][0] if counts else word.text
        clauses.append(sentence[: word.start] + usual + sentence[word.end :])
    return ", ".join(clause.removesuffix(FULL_STOP) for clause in clauses) + FULL_STOP
