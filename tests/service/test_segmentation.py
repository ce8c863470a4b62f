"""Sentence ranges: the rules one by one, and what holds for every text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.segmentation import choose_pause, find_pauses, split_sentences


def sentences_of(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


def assert_splits(text: str, *expected: str) -> None:
    assert sentences_of(text) == list(expected)


def assert_one_sentence(text: str) -> None:
    assert sentences_of(text) == [text]


def test_ranges_leave_white_space_out() -> None:
    assert split_sentences("  Hi.\n\n Bye! ") == [(2, 5), (8, 12)]


@pytest.mark.parametrize("text", ["", " ", "\n\r\n", "\u00a0\u3000\u2028\x1c\x85"])
def test_text_of_white_space_has_no_sentence(text: str) -> None:
    assert split_sentences(text) == []


def test_text_without_punctuation_is_one_sentence() -> None:
    assert_one_sentence("hello")


@pytest.mark.parametrize("mark", [".", "!", "?", "…", "...", "?!", "؟", "۔"])
def test_mark_before_white_space_ends_a_sentence(mark: str) -> None:
    assert_splits(f"One{mark} Two{mark}", f"One{mark}", f"Two{mark}")


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_line_break_ends_a_sentence(line_break: str) -> None:
    assert_splits(f"One{line_break}two", "One", "two")


def test_ideographic_marks_need_no_white_space() -> None:
    assert_splits("你好。我是谁？好！「好。」他说。", "你好。", "我是谁？", "好！", "「好。」", "他说。")


def test_danda_ends_a_sentence() -> None:
    assert_splits("मैं हूँ। तुम हो।", "मैं हूँ।", "तुम हो।")


def test_closing_quotes_and_brackets_belong_to_the_sentence() -> None:
    assert_splits('He said "Go." (Really!) She went.', 'He said "Go."', "(Really!)", "She went.")


def test_quoted_exclamation_before_a_small_letter_ends_nothing() -> None:
    assert_splits('"Stop!" he said. “Why?” I asked.', '"Stop!" he said.', "“Why?”", "I asked.")


def test_ellipsis_before_a_small_letter_ends_nothing() -> None:
    assert_splits("Then... he went. Well… No.", "Then... he went.", "Well…", "No.")


def test_french_spacing_is_kept_together() -> None:
    assert_splits(
        "Bonjour\u00a0! Ça va ? «\u00a0Stop\u00a0!\u00a0» dit-il. « Oui. » Il part.",
        "Bonjour\u00a0!",
        "Ça va ?",
        "«\u00a0Stop\u00a0!\u00a0» dit-il.",
        "« Oui. »",
        "Il part.",
    )


def test_german_quotation_opens_a_sentence() -> None:
    assert_splits("Er ging. »Halt!« rief er.", "Er ging.", "»Halt!« rief er.")


@pytest.mark.parametrize(
    "text",
    [
        "Mr. Smith met Mrs. Jones and Dr. Brown in St. Louis.",
        "M. Le Pen et Mme. Dupont sont là.",
        "Some fruit, e.g. apples, i.e. Apples.",
        "He came at 5 p.m. on Monday etc. as usual.",
        "See No. 5 and p. 7 of Sept. 11.",
        "J. R. R. Tolkien and the U.S. Army.",
        "(J. Smith came.)",
        "It costs $3.50 or 1,000.50 euros.",
        "Am 3. Oktober im 20. Jahrhundert.",
        "1. Open the lid.",
        "See www.example.com/a.b?c=d.e!f for more.",
        "Wait.What",
        "Hello world",
    ],
)
def test_text_is_one_sentence(text: str) -> None:
    assert_one_sentence(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I live in the U.S.", "How about you?"),
        ("He left at 5 p.m.", "Tom stayed."),
        ("Tea, coffee, etc.", "Nothing else."),
        ("It was I.", "He knew."),
        ("I am 30.", "You are not."),
        ("That was in 1999.", "Tom was there."),
        ("No.", "I won't."),
        ("Give it to me.", "Then go."),
        ("I like modern art.", "Tom does not."),
        ("hello there.", "how are you?"),
        ("2. Close it.", "3. Wait."),
        ("Il y en a.", "Paul aussi."),
    ],
)
def test_text_is_two_sentences(first: str, second: str) -> None:
    assert_splits(f"{first} {second}", first, second)


@pytest.mark.parametrize(
    "text",
    [
        "MS. JONES LEFT.",
        "CAPT. SMITH IS HERE.",
        "ST. JOHN AND GEN. A. LEE CLIMBED MT. FUJI.",
        "M. LE PEN ET MME. DUPONT SONT LÀ.",
        "DR. BROWN LEFT.",
        "THE U.S. IS BIG.",
        "THE U.S. AND CANADA MET THE U.S. ARMY ON THE 3. OF MAY.",
        "J. R. R. TOLKIEN",
        "SEE NO. 5.",
        "HE CAME AT 5 P.M. ON MONDAY.",
    ],
)
def test_text_in_capitals_is_one_sentence(text: str) -> None:
    assert_one_sentence(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("I LIVE IN THE U.S.", "HE LIVES HERE."),
        ("I LIVE IN THE U.S.", "HOW ABOUT YOU?"),
        ("IT WAS I.", "HE KNEW."),
        ("I AM 30.", "YOU ARE NOT."),
        ("HE LIVES IN MAIN ST.", "SHE DOES NOT."),
        ("I SAID NO.", "HE LEFT."),
        ("GIVE IT TO ME.", "TOM LEFT."),
        ("C'EST TOUT PRES.", "LE TRAIN ARRIVE."),
        ("TEA, COFFEE, ETC.", "NOTHING ELSE."),
        ("HE LEFT AT 5 P.M.", "SHE STAYED."),
        ("“WHY?”", "I ASKED."),
    ],
)
def test_text_in_capitals_is_two_sentences(first: str, second: str) -> None:
    assert_splits(f"{first} {second}", first, second)


@pytest.mark.parametrize(
    ("first", "second"), [("He works in ST.", "HE left."), ("SHE HAS MS.", "Tom has not."), ("NASA.", "The ESA.")]
)
def test_words_in_capitals_among_others_are_no_titles(first: str, second: str) -> None:
    assert_splits(f"{first} {second}", first, second)


def test_each_line_is_in_capitals_or_not() -> None:
    assert_splits("MS. JONES LEFT.\nShe has MS. Tom left.", "MS. JONES LEFT.", "She has MS.", "Tom left.")
    assert_one_sentence("The U.S. HE said.")


def find_pause(sentence: str) -> tuple[int, int] | None:
    return choose_pause(find_pauses(sentence), 0, len(sentence))


def parted(sentence: str) -> tuple[str, str]:
    pause = find_pause(sentence)
    assert pause is not None
    return sentence[: pause[0]], sentence[pause[1] :]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a, b;", "c, d e f g"),
        ("one:", "two, three, four five"),
        ("one two three –", "four, five"),
        ("one two three -", "four, five"),
        ("“Stop!”", "he said, and went on"),
        ("Well...", "he went, I think, away"),
        ("he came at 10:30,", "or at 3.15 perhaps"),
        ("it costs 1,000 euros,", "which is much"),
        ("the well-known (and loved)", "man of the town"),
        ("il dit « oui »,", "puis il partit"),
        ("Il vint ;", "elle partit, je crois"),
        ("aujourd'hui c'est", "l'anniversaire d'Anne"),
        ("plus de", "10 000 euros"),
    ],
)
def test_long_sentence_is_parted_at_its_strongest_pause(first: str, second: str) -> None:
    assert parted(f"{first} {second}") == (first, second)


def test_of_equal_pauses_the_one_nearest_to_the_middle_parts() -> None:
    assert parted("a, b, c d e f, g h i j k l") == ("a, b, c d e f,", "g h i j k l")


@pytest.mark.parametrize(
    ("first", "second"), [("我们去，", "他们来"), ("one—", "two, three"), ("你好；", "再见，朋友")]
)
def test_some_marks_part_without_white_space(first: str, second: str) -> None:
    assert parted(first + second) == (first, second)


@pytest.mark.parametrize("sentence", ["", "word", "don't", "1,000", "10:30", "a-b", "我们去他们来", ";;;", "Stop!"])
def test_nothing_is_parted_without_a_pause(sentence: str) -> None:
    assert find_pause(sentence) is None


TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="aB1 .!?…\"'»)(«。।\n\u00a0Mr"),
    st.lists(st.sampled_from(["Mr.", "U.S.", "5.", "He", "no", '."', "» ", " ", "\r\n", "?!", "。", "J."])).map(
        "".join
    ),
)


@settings(deadline=None)
@given(TEXTS)
def test_ranges_are_ordered_trimmed_and_lose_only_white_space(text: str) -> None:
    ranges = split_sentences(text)
    position = 0
    for start, end in ranges:
        assert position <= start < end <= len(text)
        assert not text[position:start].strip()
        assert text[start:end] == text[start:end].strip()
        position = end
    assert not text[position:].strip()


@settings(deadline=None)
@given(st.one_of(TEXTS, st.text(alphabet="aB1 ,;:-–—)» ，")))
def test_parting_loses_only_white_space_and_leaves_text_on_both_sides(text: str) -> None:
    for sentence in sentences_of(text):
        pause = find_pause(sentence)
        if pause is None:
            assert not any(character.isspace() for character in sentence)
            continue
        assert sentence[: pause[0]].strip()
        assert sentence[pause[1] :].strip()
        assert not sentence[slice(*pause)].strip()


@settings(deadline=None)
@given(TEXTS)
def test_no_sentence_holds_a_line_break(text: str) -> None:
    assert all(len(sentence.splitlines()) == 1 for sentence in sentences_of(text))


@settings(deadline=None)
@given(st.text(alphabet="aB .!?\"'\n"), st.text(alphabet="aB .!?\"'\n"))
def test_line_break_separates_independent_texts(left: str, right: str) -> None:
    assert sentences_of(f"{left}\n{right}") == sentences_of(left) + sentences_of(right)
