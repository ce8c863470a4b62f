"""Training the vocabulary: reproducible, whole words kept, small or empty corpora handled."""

from __future__ import annotations

import pytest

from model_export.errors import DataError
from model_export.tokenizer_training import count_chunks, train_tokenizer
from service.bundle.tokenizer import Tokenizer
from service.bundle.words import find_words
from tests.small_corpus import SENTENCES


def test_chunks_are_counted_with_their_space() -> None:
    counts = count_chunks(["don't do", "Do, do!"])
    assert counts == {" do": 3, "n't": 1, " Do": 1, ",": 1, "!": 1}


def test_the_same_text_gives_the_same_model_in_any_order() -> None:
    assert train_tokenizer(SENTENCES, 100) == train_tokenizer(reversed(SENTENCES), 100)


def test_a_word_that_is_part_of_no_other_can_be_one_piece() -> None:
    tokenizer = Tokenizer.from_bytes(train_tokenizer(["quiet morning"] * 50 + SENTENCES, 120))
    assert [token.text for token in tokenizer.encode("quiet morning")] == ["▁quiet", "▁morning"]


def test_digits_are_pieces_of_their_own() -> None:
    tokenizer = Tokenizer.from_bytes(train_tokenizer([*SENTENCES, *["in 1984"] * 50], 120, character_coverage=1.0))
    assert [token.text for token in tokenizer.encode("in 1984")] == ["▁in", "▁", "1", "9", "8", "4"]


def test_a_small_corpus_gives_a_small_vocabulary() -> None:
    assert Tokenizer.from_bytes(train_tokenizer(["a small text"], 5000)).vocabulary_size < 40


def test_rare_characters_become_unknown() -> None:
    tokenizer = Tokenizer.from_bytes(train_tokenizer([*SENTENCES * 20, "☃"], 120, character_coverage=0.999))
    assert tokenizer.unk_id in tokenizer.encode_ids("☃")
    assert tokenizer.unk_id not in tokenizer.encode_ids(SENTENCES[0])


def test_a_rare_digit_is_known_all_the_same() -> None:
    tokenizer = Tokenizer.from_bytes(train_tokenizer([*SENTENCES * 20, "7"], 120, character_coverage=0.999))
    assert tokenizer.unk_id not in tokenizer.encode_ids("7")


def test_a_chunk_beyond_the_trainers_limit_does_no_harm() -> None:
    assert Tokenizer.from_bytes(train_tokenizer([*SENTENCES, "漢" * 5000], 120)).vocabulary_size > 50


@pytest.mark.parametrize("sentences", [[], ["", " \u200b "]])
def test_no_text_is_an_error(sentences: list[str]) -> None:
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        train_tokenizer(sentences, 100)


def test_a_vocabulary_smaller_than_the_alphabet_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^tokenizer training failed: "):
        train_tokenizer(SENTENCES, 8, character_coverage=1.0)


def test_no_piece_of_the_vocabulary_holds_a_boundary() -> None:
    tokenizer = Tokenizer.from_bytes(train_tokenizer(SENTENCES, 150))
    pieces = [token.text for token in tokenizer.decode(range(4, tokenizer.vocabulary_size)).tokens]
    assert all("▁" not in piece[1:] for piece in pieces)
    assert all(len(find_words(piece.replace("▁", ""))) <= 1 or "'" in piece for piece in pieces)
