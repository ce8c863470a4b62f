"""The gold alignments of the project are well formed, balanced, and agree with their guidelines."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from service.bundle.words import find_words

FOLDER = Path(__file__).parents[1] / "data" / "gold_alignments"
HEADER = "id\tpart\ttags\tenglish\tfrench\tlinks"


@dataclass(frozen=True)
class GoldPair:
    """One aligned pair; links are (English word, French word), counted from 0."""

    number: int
    part: str
    tags: tuple[str, ...]
    english: str
    french: str
    links: tuple[tuple[int, str, int], ...]

    def linked_words(self, mark: str) -> set[tuple[str, str]]:
        english, french = words(self.english), words(self.french)
        return {(english[i], french[j]) for i, kind, j in self.links if kind == mark}


def words(text: str) -> list[str]:
    return [word.text for word in find_words(text)]


def read_pair(line: str) -> GoldPair:
    number, part, tags, english, french, links = line.split("\t")
    matches = [re.fullmatch(r"(\d+)([-p])(\d+)", link) for link in links.split(" ")]
    assert all(matches), line
    parsed = tuple((int(match[1]), match[2], int(match[3])) for match in matches if match)
    return GoldPair(int(number), part, tuple(tags.split(",")), english, french, parsed)


@cache
def gold_pairs() -> tuple[GoldPair, ...]:
    header, *lines = (FOLDER / "eng-fra.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert header == HEADER
    return tuple(read_pair(line) for line in lines)


def word_count(text: str) -> int:
    return sum(any(character.isalnum() for character in word) for word in words(text))


def test_there_are_200_pairs_without_repeated_sentences() -> None:
    pairs = gold_pairs()
    assert [pair.number for pair in pairs] == list(range(1, 201))
    assert len({pair.english for pair in pairs}) == 200
    assert len({pair.french for pair in pairs}) == 200


def test_sentences_have_5_to_20_words_and_enough_are_long() -> None:
    counts = [(word_count(pair.english), word_count(pair.french)) for pair in gold_pairs()]
    assert all(5 <= count <= 20 for pair in counts for count in pair)
    assert sum(min(pair) >= 12 for pair in counts) >= 60


def test_words_hold_every_visible_character_of_their_sentence() -> None:
    for pair in gold_pairs():
        for text in (pair.english, pair.french):
            assert "".join(words(text)) == text.replace(" ", "")
            assert text == " ".join(text.split())


def test_french_spacing_and_apostrophes_are_plain() -> None:
    for pair in gold_pairs():
        assert not re.search(r"\S[!?;:]|[\u2018\u2019\u00a0\u202f]", pair.french), pair.french


def test_links_are_in_range_in_order_and_either_sure_or_possible() -> None:
    for pair in gold_pairs():
        positions = [(i, j) for i, _, j in pair.links]
        assert positions == sorted(set(positions)), pair.number
        assert all(i < len(words(pair.english)) and j < len(words(pair.french)) for i, j in positions), pair.number


def test_every_pair_has_more_than_one_sure_link() -> None:
    assert all(sum(kind == "-" for _, kind, _ in pair.links) > 1 for pair in gold_pairs())


def test_parts_alternate_and_share_every_main_phenomenon_equally() -> None:
    assert all(pair.part == ("tune" if pair.number % 2 else "report") for pair in gold_pairs())
    main = {part: Counter(pair.tags[0] for pair in gold_pairs() if pair.part == part) for part in ("tune", "report")}
    assert main["tune"] == main["report"]


def test_parts_have_sentences_of_the_same_length_on_average() -> None:
    def mean_length(part: str) -> float:
        return sum(word_count(pair.english) for pair in gold_pairs() if pair.part == part) / 100

    assert mean_length("tune") == pytest.approx(mean_length("report"), abs=0.5)


def test_examples_of_the_guidelines_are_in_the_data() -> None:
    text = (FOLDER / "GUIDELINES.md").read_text(encoding="utf-8")
    examples = re.findall(r"(?<!\w)(\d+):((?:\s+`[^`\s]+`)+)", text)
    rules = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    assert all(re.search(r"\d+:\s+`", rule) for rule in rules)
    for number, links in examples:
        for link in re.findall(r"`([^`]+)`", links):
            assert holds(gold_pairs()[int(number) - 1], link), f"{number}: {link}"


def holds(pair: GoldPair, example: str) -> bool:
    match = re.fullmatch(r"(.+?)([=~])(.+)", example)
    assert match, example
    english, french = match[1], match[3]
    if english == "∅":
        return has_unlinked(words(pair.french), {j for _, _, j in pair.links}, french)
    if french == "∅":
        return has_unlinked(words(pair.english), {i for i, _, _ in pair.links}, english)
    return (english, french) in pair.linked_words("-" if match[2] == "=" else "p")


def has_unlinked(sentence: list[str], linked: set[int], word: str) -> bool:
    return any(other == word and position not in linked for position, other in enumerate(sentence))
