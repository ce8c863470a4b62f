"""Unknown tokens, and known ones that stand for source words with unknown characters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from service.domain import AnalysedText, FloatArray, Token, Word
from service.unknown_words import UnknownWords

EOS, UNK = 2, 3
SPACE, KASZ, RAN, OTHER, PART, MARK, WIDE = 9, 11, 12, 20, 21, 22, 23
SURFACES = {UNK: " \u2047 ", EOS: "", SPACE: " ", OTHER: " nag", PART: "on", MARK: "'", WIDE: "会"}


class Vocabulary:
    unk_id = UNK

    def is_special(self, token_id: int) -> bool:
        return token_id == EOS

    def surface(self, token_id: int) -> str:
        return SURFACES[token_id]


def text_of(*tokens: tuple[str, int, int, int]) -> AnalysedText:
    """The text "Łukasz ran" with these tokens."""
    words = (Word("Łukasz", 0, 6), Word("ran", 7, 10))
    pieces = [Token(token_id, piece, start, end) for piece, token_id, start, end in tokens]
    return AnalysedText("Łukasz ran", (), (*pieces, Token(EOS, "</s>", 10, 10, special=True)), words)


SOURCE = text_of(("▁", SPACE, 0, 0), ("Ł", UNK, 0, 1), ("ukasz", KASZ, 1, 6), ("▁ran", RAN, 7, 10))
NAME = (0.2, 0.3, 0.3, 0.1, 0.1)  # of all tokens the unknown one has most, of all words the name more than half
VERB = (0.0, 0.1, 0.1, 0.7, 0.1)
NONE = (0.2, 0.1, 0.2, 0.4, 0.1)
END = (0.0, 0.0, 0.0, 0.1, 0.9)


def rows(*weights: Sequence[float]) -> FloatArray:
    return np.array(weights, dtype=np.float32)


def replaced(*weights: Sequence[float]) -> dict[int, str]:
    """What stands for unknown tokens with these weights."""
    return dict(UnknownWords(SOURCE, Vocabulary()).replace((UNK,) * len(weights), rows(*weights)))


# --- Unknown tokens ---------------------------------------------------------------------------------------------


def test_unknown_characters_of_a_word_known_in_part_stand_for_themselves() -> None:
    assert replaced((0.1, 0.5, 0.2, 0.1, 0.1)) == {0: "Ł"}


def test_known_tokens_give_their_whole_word() -> None:
    assert replaced((0.0, 0.1, 0.6, 0.2, 0.1), VERB) == {0: "Łukasz", 1: "ran"}


def test_the_end_of_the_sentence_gives_nothing_and_a_space_the_word_after_it() -> None:
    assert replaced((0.1, 0.0, 0.0, 0.3, 0.6), (0.5, 0.1, 0.1, 0.2, 0.1)) == {0: "ran", 1: "Łukasz"}


def test_the_first_of_equals_is_taken() -> None:
    assert replaced((0.0, 0.0, 0.4, 0.4, 0.2)) == {0: "Łukasz"}


def test_nothing_unknown_needs_no_work() -> None:
    assert UnknownWords(SOURCE, Vocabulary()).replace((OTHER, EOS), rows(NAME, END)) == {}


# --- Known tokens for unknown words -----------------------------------------------------------------------------


def copied(ids: Sequence[int], *weights: Sequence[float], source: AnalysedText = SOURCE) -> dict[int, str]:
    """What stands for these tokens where unknown words are copied, whether they come together or one by one."""
    words = UnknownWords(source, Vocabulary(), copies=True)
    together = dict(words.replace(ids, rows(*weights)))
    alone = UnknownWords(source, Vocabulary(), copies=True)
    singly = [alone.replace((token_id,), rows(row)) for token_id, row in zip(ids, weights, strict=True)]
    assert together == {index: found[0] for index, found in enumerate(singly) if found}
    return together


def test_a_word_that_attends_to_an_unknown_one_gives_way_to_it() -> None:
    assert copied((OTHER, PART, OTHER, EOS), NAME, NAME, VERB, END) == {0: " Łukasz", 1: ""}


def test_letters_go_with_the_word_that_they_go_on() -> None:
    assert copied((OTHER, PART, MARK, PART), NAME, NONE, NONE, NONE) == {0: " Łukasz", 1: ""}


def test_a_word_is_copied_once_for_neighbours_and_again_further_on() -> None:
    assert copied((OTHER, OTHER, OTHER, OTHER), NAME, NAME, VERB, NAME) == {0: " Łukasz", 1: "", 3: " Łukasz"}


@pytest.mark.parametrize(("before", "text"), [(OTHER, " Łukasz"), (MARK, "Łukasz"), (SPACE, "Łukasz")])
def test_a_copy_in_the_middle_of_a_word_stands_apart_from_letters(before: int, text: str) -> None:
    assert copied((before, PART), NONE, NAME) == {1: text}


def test_an_unknown_token_behind_a_copy_adds_nothing() -> None:
    assert copied((OTHER, UNK, UNK), NAME, (0.1, 0.6, 0.1, 0.1, 0.1), VERB) == {0: " Łukasz", 1: "", 2: "ran"}


def test_a_word_spelled_by_unknown_tokens_is_copied_when_it_comes_again() -> None:
    spelling = (0.1, 0.6, 0.1, 0.1, 0.1)
    assert copied((UNK, PART, OTHER, OTHER), spelling, NAME, VERB, NAME) == {0: "Ł", 3: " Łukasz"}


def test_marks_stay_and_do_not_end_a_copy_that_they_attend_to() -> None:
    assert copied((MARK, OTHER, MARK, PART), NAME, NAME, NAME, NAME) == {1: " Łukasz", 3: ""}


def test_marks_give_way_to_marks() -> None:
    words = (Word("☕", 0, 1), Word("ran", 2, 5))
    tokens = (Token(UNK, "☕", 0, 1), Token(RAN, "▁ran", 1, 5), Token(EOS, "</s>", 5, 5, special=True))
    source = AnalysedText("☕ ran", (), tokens, words)
    assert copied((MARK, OTHER), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), source=source) == {0: "☕"}


def test_a_bare_space_does_not_decide_but_goes_with_a_copy() -> None:
    assert copied((SPACE, PART, SPACE, PART), NAME, NAME, NAME, NONE) == {1: "Łukasz", 2: "", 3: ""}


def test_letters_that_belong_to_another_word_stay() -> None:
    assert copied((OTHER, PART), NAME, VERB) == {0: " Łukasz"}


def test_scripts_without_spaces_lose_nothing_and_get_no_space() -> None:
    assert copied((WIDE, PART, WIDE, WIDE), NONE, NAME, NONE, NAME) == {1: "Łukasz", 3: " Łukasz"[1:]}


def test_half_of_the_attention_is_not_enough() -> None:
    assert copied((OTHER,), (0.1, 0.2, 0.2, 0.4, 0.1)) == {}


def test_what_an_unknown_token_stands_for_is_not_copied_again() -> None:
    assert copied((UNK, PART), (0.1, 0.6, 0.1, 0.1, 0.1), NAME) == {0: "Ł"}


def test_the_end_of_the_sentence_stays_whatever_it_attends_to() -> None:
    assert copied((OTHER, EOS), VERB, NAME) == {}


def test_known_words_are_not_copied() -> None:
    known = text_of(("▁", SPACE, 0, 0), ("Łukasz", KASZ, 0, 6), ("▁ran", RAN, 7, 10))
    assert copied((OTHER, PART), (0.1, 0.8, 0.1, 0.0), (0.0, 0.1, 0.9, 0.0), source=known) == {}


def test_no_word_is_copied_unless_that_is_wanted() -> None:
    assert UnknownWords(SOURCE, Vocabulary()).replace((OTHER, UNK), rows(NAME, VERB)) == {1: "ran"}
