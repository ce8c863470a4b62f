"""Which sentences are in capitals, and changes of case that leave every character in its place."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle.words import find_word_ranges
from service.capitals import can_begin_in_capitals, encode_as_read, is_in_capitals, to_capitals, to_lower_case
from service.domain import Token
from tests.service.test_translator_ranges import real_tokenizer
from tests.service.translation_fakes import LetterTokenizer, UnusedTokenizer


@pytest.mark.parametrize("text", ["OK", "WHERE IS IT?", "OÙ ÇA ?", "A1 B2", "İSTANBUL", "ẞẞ", "ΠΟΥ;", "NO. 5 漢字 ☃"])
def test_in_capitals_is_what_has_two_letters_with_case_and_none_that_is_small(text: str) -> None:
    assert is_in_capitals(text)


@pytest.mark.parametrize(
    "text", ["", "I", "I 5 漢字!", "5 + 5", "漢字", "I am VERY tired", "NASAs", "STRAßE", "Ok", "ǅ A B", "iPHONE"]
)
def test_one_small_letter_or_a_single_capital_leaves_a_text_as_it_stands(text: str) -> None:
    assert not is_in_capitals(text)


@pytest.mark.parametrize(
    ("text", "lowered", "raised"),
    [
        ("WHERE, Tom?", "where, tom?", "WHERE, TOM?"),
        ("OÙ ÉTAIT L'ŒUF ?", "où était l'œuf ?", "OÙ ÉTAIT L'ŒUF ?"),
        ("İSTANBUL Iı", "İstanbul iı", "İSTANBUL II"),
        ("Straße, STRAẞE", "straße, straße", "STRAßE, STRAẞE"),
        ("ﬁn ŉ ΐ", "ﬁn ŉ ΐ", "ﬁN ŉ ΐ"),
        ("ΣΟΦΟΣ", "σοφος", "ΣΟΦΟΣ"),
        ("A1 B2 漢字 ☃ 5", "a1 b2 漢字 ☃ 5", "A1 B2 漢字 ☃ 5"),
        ("", "", ""),
    ],
)
def test_case_changes_where_a_character_stays_one_character(text: str, lowered: str, raised: str) -> None:
    assert (to_lower_case(text), to_capitals(text)) == (lowered, raised)


@given(st.text())
def test_every_character_keeps_its_place(text: str) -> None:
    assert len(to_lower_case(text)) == len(to_capitals(text)) == len(text)
    assert to_capitals(text) == "".join(map(to_capitals, text))
    if is_in_capitals(text):
        assert to_capitals(text) == text


def test_words_stay_the_same_whatever_character_changes_its_case() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    changed = [(each, other(each)) for each in characters for other in (to_lower_case, to_capitals)]
    contexts = ("{}", "a{}b", "'{}", "{}'a", "a'{}", "don'{}")
    different = [
        (before, after)
        for before, after in changed
        if before != after
        for context in contexts
        if find_word_ranges(context.format(before)) != find_word_ranges(context.format(after))
    ]
    assert different == []


def test_a_sentence_in_capitals_is_read_in_lower_case_if_that_takes_fewer_tokens() -> None:
    tokens, lowered = encode_as_read("WHERE IS IT?", LetterTokenizer())
    assert lowered
    assert [(token.text, token.start, token.end) for token in tokens] == [
        ("where", 0, 5),
        ("is", 6, 8),
        ("it", 9, 11),
        ("?", 11, 12),
    ]


@pytest.mark.parametrize("sentence", ["NASA", "NASA OK", "I", "Where is it?", "A B"])
def test_what_lower_case_does_not_make_shorter_stays(sentence: str) -> None:
    tokenizer = LetterTokenizer("NASA", "OK")
    assert encode_as_read(sentence, tokenizer) == (tokenizer.encode(sentence), False)


def test_a_vocabulary_of_subwords_decides_in_the_same_way() -> None:
    tokenizer = real_tokenizer()
    tokens, lowered = encode_as_read("I LIKE TEA AND EAU.", tokenizer)
    assert lowered
    assert tokens == tokenizer.encode("i like tea and eau.")
    assert encode_as_read("AIT", tokenizer) == (tokenizer.encode("AIT"), False)  # letters in either case


def test_the_caller_may_decide() -> None:
    tokenizer = LetterTokenizer("NASA")
    assert encode_as_read("NASA 5", tokenizer, True) == (tokenizer.encode("nasa 5"), True)
    tokens, lowered = encode_as_read("WHERE", tokenizer, False)
    assert ([token.text for token in tokens], lowered) == (list("WHERE"), False)


def test_ordinary_text_is_encoded_once() -> None:
    class CountingTokenizer(UnusedTokenizer):
        def __init__(self) -> None:
            self.texts: list[str] = []

        def encode(self, text: str) -> tuple[Token, ...]:
            self.texts.append(text)
            return ()

    tokenizer = CountingTokenizer()
    encode_as_read("Where is NASA?", tokenizer)  # type: ignore[arg-type]
    assert tokenizer.texts == ["Where is NASA?"]


@pytest.mark.parametrize(
    ("prefix", "can"),
    [("OÙ EST", True), ("J'", True), ("« 5 ", True), ("", True), ("STRAßE", True), ("Où est", False), ("est", False)],
)
def test_a_translation_in_capitals_begins_with_what_could_be_one(prefix: str, can: bool) -> None:
    assert can_begin_in_capitals(prefix) is can
