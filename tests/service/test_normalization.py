"""Normalisation: by hand for each rule, by property for any text."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given

from service.bundle.normalization import normalize
from tests.small_corpus import any_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Plain text, as it is.", "Plain text, as it is."),
        ("  two \t\n spaces\u202f!\xa0", "two spaces !"),
        ("a\x0bb\x1cc\x85d\u2028e\u3000f", "a b c d e f"),
        ("l’eau ‘x’ l´eau ʼn ＇", "l'eau 'x' l'eau 'n '"),
        ("“hi” „da“", '"hi" "da"'),
        ("« garder »", "« garder »"),
        ("wait…", "wait..."),
        ("ﬁn ½ x² Ⅳ", "fin 1⁄2 x2 IV"),
        ("e\u0301 \u1112\u1161\u11ab", "é 한"),
        ("ㄱㅏ ｶﾞ", "가 ガ"),
        ("non‑breaking", "non-breaking"),
        ("s\xado\u200bf\ufefft\x00", "soft"),
        ("e\u200b\u0301", "é"),
        ("a\u200db", "ab"),
        ("👩\u200d🚀 👩\u200d x", "👩\u200d🚀 👩 x"),
        ("Brand™ ‼", "Brand™ ‼"),
        ("\xa8 \ufdfa", "\xa8 \ufdfa"),
        ("x▁y", "x_y"),
        ("!ㅏ", "!ᅡ"),
        ("น้ำ", "น้\u0e4d\u0e32"),
    ],
)
def test_each_rule(text: str, expected: str) -> None:
    assert normalize(text).text == expected


def test_ranges_refer_to_the_original() -> None:
    #        0 1  2-3      4   5-6   7
    text = " ½e\u0301…  x"
    normalized = normalize(text)
    assert normalized.text == "1⁄2é... x"
    assert normalized.starts == (1, 1, 1, 2, 4, 4, 4, 5, 7)
    assert normalized.ends == (2, 2, 2, 4, 5, 5, 5, 6, 8)


def test_marks_beyond_any_writing_system_are_left_out_in_reasonable_time() -> None:
    normalized = normalize("x" + "\u0301\u0323" * 50_000 + "y")
    assert len(normalized.text) == 33
    assert normalized.text[0] == "x"
    assert (normalized.text[-1], normalized.starts[-1]) == ("y", 100_001)


def test_every_character_alone_is_stable() -> None:
    changing = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.decomposition(character) or unicodedata.category(character) in {"Cc", "Cf", "Zs", "Pi", "Pf"}
    ]
    once = [normalize(character).text for character in changing]
    assert [normalize(text).text for text in once] == once


@given(any_text)
def test_normalized_text_stays_as_it_is(text: str) -> None:
    once = normalize(text).text
    assert normalize(once).text == once


@given(any_text)
def test_normalized_text_has_single_inner_spaces_only(text: str) -> None:
    normalized = normalize(text).text
    assert " ".join(normalized.split()) == normalized


@given(any_text)
def test_ranges_are_monotone_and_inside(text: str) -> None:
    normalized = normalize(text)
    assert len(normalized.starts) == len(normalized.ends) == len(normalized.text)
    assert list(normalized.starts) == sorted(normalized.starts)
    assert list(normalized.ends) == sorted(normalized.ends)
    assert all(0 <= start < end <= len(text) for start, end in zip(normalized.starts, normalized.ends, strict=True))


@given(any_text)
def test_a_character_in_nfkc_form_maps_to_its_own(text: str) -> None:
    normalized = normalize(text)
    for character, start, end in zip(normalized.text, normalized.starts, normalized.ends, strict=True):
        if end - start == 1 and character.isalpha() and unicodedata.is_normalized("NFKC", text[start]):
            assert text[start] == character
