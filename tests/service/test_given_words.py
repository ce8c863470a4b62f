"""Lists of words become text as people write it, and every word keeps its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle.words import find_words
from service.given_words import join_words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), ""),
        (("tea",), "tea"),
        (("I", "do", "n't", "know", "."), "I don't know."),
        (("Tom", "'s", "cat", ",", "the", "parents", "’s", "car"), "Tom's cat, the parents’s car"),
        (("J'", "ai", "l'", "eau", "jusqu'", "ici"), "J'ai l'eau jusqu'ici"),
        (("Quoi", "?", "(", "sic", ")", "..."), "Quoi ? (sic)..."),
        (("as", "-", "tu", "dit", "-", "il", "-", "?"), "as-tu dit-il - ?"),
        (("-", "5", "-", "3"), "- 5-3"),
        # what is one word to the service stays apart, and so do quotation marks
        (("aujourd'", "hui"), "aujourd' hui"),
        (("the", "parents'", "house"), "the parents' house"),
        (("he", "said", "'hello'"), "he said 'hello'"),
        (("New York", "is", "big"), "New York is big"),
        (("'", "a", "'"), "' a '"),
    ],
)
def test_words_are_written_as_people_write(words: tuple[str, ...], text: str) -> None:
    joined, places = join_words(words)
    assert joined == text
    assert tuple(joined[place.start : place.end] for place in places) == words == tuple(place.text for place in places)


@given(
    st.lists(
        st.sampled_from(["do", "n't", "'s", "l'", "eau", "'", ".", ",", "(", ")", "'ve", "t", "d'", "-", "\u200b"])
    )
)
def test_no_word_of_the_service_reaches_across_two_given_words(words: list[str]) -> None:
    joined, places = join_words(words)
    assert [joined[place.start : place.end] for place in places] == words
    for found in find_words(joined):
        assert sum(place.start < found.end and found.start < place.end for place in places) == 1
