"""Words: by hand for the rule's cases, by property for any text."""

from __future__ import annotations

import pytest
from hypothesis import given

from service.bundle.words import find_words
from tests.small_corpus import any_text


def words_of(text: str) -> list[str]:
    return [word.text for word in find_words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I like tea.", "I like tea ."),
        ("J'aime l’eau, dit-il.", "J' aime l’ eau , dit - il ."),
        ("qu'il jusqu'ici lorsqu'elle QU'ON", "qu' il jusqu' ici lorsqu' elle QU' ON"),
        ("d'aujourd'hui", "d' aujourd'hui"),
        ("j't'aime", "j' t' aime"),
        ("l'«idée»", "l' « idée »"),
        ("don't isn’t can't CAN'T", "do n't is n’t ca n't CA N'T"),
        ("Tom's I'm we're she'll they've he'd", "Tom 's I 'm we 're she 'll they 've he 'd"),
        ("shouldn't've", "should n't 've"),
        ("the L's and 1990's", "the L 's and 1990 's"),
        ("O'Brien o'clock ma'am", "O'Brien o'clock ma'am"),
        ("vas-tu ?", "vas - tu ?"),
        ("3.50 1,000", "3 . 50 1 , 000"),
        ("'hello' dogs'", "' hello ' dogs '"),
        ("the letter 'l' is", "the letter ' l ' is"),
        ("l' eau", "l' eau"),
    ],
)
def test_words_end_where_the_rule_says(text: str, expected: str) -> None:
    assert words_of(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("漢字かなカナー3", ["漢字", "かなカナー", "3"]),
        ("ภาษาไทยabc", ["ภาษาไทย", "abc"]),
        ("한국어 말", ["한국어", "말"]),
        ("नमस्ते", ["नमस्ते"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    ],
)
def test_scripts_without_spaces_give_one_word_per_run(text: str, expected: list[str]) -> None:
    assert words_of(text) == expected


def test_an_emoji_sequence_is_one_word() -> None:
    family, thumb, france, germany, five = "👨\u200d👩\u200d👧", "👍🏽", "🇫🇷", "🇩🇪", "5\ufe0f\u20e3"
    assert words_of(f"{family}{thumb}{france}{germany} {five}!") == [family, thumb, france, germany, five, "!"]


def test_combining_marks_stay_with_what_they_follow() -> None:
    assert words_of("e\u0301te\u0301 !\u0301?") == ["e\u0301te\u0301", "!\u0301", "?"]


def test_invisible_characters_separate_nothing_and_are_at_no_words_end() -> None:
    words = find_words("\u200bfor\xadest\u200b\x00 do\u200bn't")
    assert [(word.text, word.start, word.end) for word in words] == [
        ("for\xadest", 1, 8),
        ("do", 11, 13),
        ("n't", 14, 17),
    ]


def test_text_without_visible_characters_has_no_words() -> None:
    assert find_words(" \t\n\u3000\u200b\x00") == []


@given(any_text)
def test_words_are_ordered_ranges_without_white_space(text: str) -> None:
    position = 0
    for word in find_words(text):
        assert position <= word.start < word.end <= len(text)
        assert word.text == text[word.start : word.end]
        assert not any(character.isspace() for character in word.text)
        position = word.end


@given(any_text, any_text)
def test_words_do_not_depend_on_what_is_beyond_white_space(left: str, right: str) -> None:
    assert words_of(f"{left} {right}") == words_of(left) + words_of(right)


@given(any_text)
def test_every_letter_and_digit_is_in_a_word(text: str) -> None:
    covered = {position for word in find_words(text) for position in range(word.start, word.end)}
    assert {position for position, character in enumerate(text) if character.isalnum()} <= covered
