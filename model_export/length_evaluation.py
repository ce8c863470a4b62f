"""How translations hold up as sentences grow: pairs by length, with longer ones made of short ones where none are.

Corpora of everyday sentences have few long ones, so neighbours of the test file are joined: once as they stand, as text
of several sentences, and once by commas, as one sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sacrebleu.metrics import CHRF

from model_export.clauses import count_spellings, is_statement, join_clauses
from model_export.corpus_readers import Corpus, SentencePair
from service.bundle.words import find_words
from service.domain import TranslatedText

BANDS: Final = ((1, 10), (11, 20), (21, 40))
"""Source words of a row, from and to; punctuation marks are not counted. What is joined always fits the last: it is
complete with the part that reaches 21, and no part has more than 20."""

REPEATED_WORDS: Final = 4
"""Words of a run that counts as repeated. Of 194 texts of several sentences, whose translations repeat nothing, runs of
three found fault with 3 (`en train de`), runs of four with none."""


@dataclass(frozen=True)
class LengthBand:
    """Pairs whose sources have about the same length.

    Attributes:
        name: the range of words and, of joined pairs, what joins them.
        pairs: in the order of the test file.
    """

    name: str
    pairs: tuple[SentencePair, ...]


@dataclass(frozen=True)
class LengthFigures:
    """How the pairs of a band were translated.

    Attributes:
        band: its name.
        pairs: how many it has.
        chrf: corpus chrF, 0 to 100.
        signature: sacreBLEU's, of chrF.
        truncated: share of the translations that were cut at the length limit, in any of their sentences.
        repetitive: share of those that repeat themselves, as `is_repetitive` tells.
    """

    band: str
    pairs: int
    chrf: float
    signature: str
    truncated: float
    repetitive: float


def split_by_length(corpus: Corpus) -> list[LengthBand]:
    """Sorts pairs into bands, and makes two more of the longest kind; bands without a pair are left out.

    Each joined pair is made of neighbours until it is long enough: once as they stand, with a space between; once, of
    the pairs that end in a full stop on both sides, by commas, with the first words written as they mostly are inside
    of sentences. What is left at the end of the file is not used, nor are pairs that are long themselves.
    """
    first, last = BANDS[-1]
    bands = [LengthBand(f"{least}-{most} words", tuple(_of_length(corpus.pairs, least, most))) for least, most in BANDS]
    short = list(_of_length(corpus.pairs, 1, first - 1))
    sentences = [SentencePair(*map(" ".join, zip(*group, strict=True))) for group in _group_neighbours(short)]
    bands.append(LengthBand(f"{first}-{last} words, sentences joined", tuple(sentences)))
    spellings = [count_spellings(side) for side in zip(*corpus.pairs, strict=True)]
    statements = [pair for pair in short if is_statement(pair)]
    clauses = [join_clauses(group, spellings) for group in _group_neighbours(statements)]
    bands.append(LengthBand(f"{first}-{last} words, joined by commas", tuple(clauses)))
    return [band for band in bands if band.pairs]


def _of_length(pairs: Iterable[SentencePair], least: int, most: int) -> Iterator[SentencePair]:
    return (pair for pair in pairs if least <= len(_words(pair.source)) <= most)


def _group_neighbours(pairs: Iterable[SentencePair]) -> Iterator[list[SentencePair]]:
    group: list[SentencePair] = []
    for pair in pairs:
        group.append(pair)
        if sum(len(_words(each.source)) for each in group) >= BANDS[-1][0]:
            yield group
            group = []


def judge_band(band: LengthBand, translated: Sequence[TranslatedText]) -> LengthFigures:
    """Scores the best translation of each pair of a band."""
    best = [text.hypotheses[0] for text in translated]
    texts, references = [each.target.text for each in best], [pair.target for pair in band.pairs]
    metric = CHRF()
    cut = sum(not all(sentence.finished for sentence in each.sentences) for each in best)
    repetitive = sum(is_repetitive(*both) for both in zip(texts, references, strict=True))
    return LengthFigures(
        band=band.name,
        pairs=len(best),
        chrf=round(metric.corpus_score(texts, [references]).score, 2),
        signature=str(metric.get_signature()),
        truncated=cut / len(best),
        repetitive=repetitive / len(best),
    )


def is_repetitive(translation: str, reference: str) -> bool:
    """Whether a run of four words stands there more than once, and more often than in the reference.

    Marks are no words here, and case does not count.
    """
    expected = _count_runs(reference)
    return any(count > max(1, expected[run]) for run, count in _count_runs(translation).items())


def _count_runs(text: str) -> Counter[tuple[str, ...]]:
    words = _words(text.casefold())
    return Counter(zip(*(words[start:] for start in range(REPEATED_WORDS)), strict=False))


def _words(text: str) -> list[str]:
    return [word.text for word in find_words(text) if any(character.isalnum() for character in word.text)]
