"""The tokenizer: ranges in the original, no subword across words, text that survives."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from service.bundle.normalization import normalize
from service.bundle.tokenizer import SPACE_SIGN, Tokenizer, prepare_chunks
from service.bundle.words import find_words
from service.errors import BundleError
from tests.small_corpus import PAIRS, SENTENCES, any_text, small_tokenizer


def test_special_ids_come_first() -> None:
    tokenizer = small_tokenizer()
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2, 3)
    assert 60 < tokenizer.vocabulary_size <= 120


def test_chunks_are_words_with_the_space_before_them() -> None:
    assert prepare_chunks("I don’t  know\u202f!") == [" I", " do", "n't", " know", " !"]


def test_a_boundary_that_normalisation_hides_still_separates() -> None:
    assert prepare_chunks("x℡y") == [" x", "TEL", "y"]


def test_frequent_words_are_one_piece() -> None:
    tokens = small_tokenizer().encode("the train don't")
    assert [token.text for token in tokens] == ["▁the", "▁train", "▁do", "n't"]


def test_ranges_leave_white_space_out() -> None:
    tokens = small_tokenizer().encode("  the\xa0 train")
    assert [(token.text, token.start, token.end) for token in tokens] == [("▁the", 2, 5), ("▁train", 7, 12)]


def test_pieces_of_an_expanded_character_share_its_range() -> None:
    tokens = small_tokenizer().encode("the…")
    assert [(token.text, token.start, token.end) for token in tokens] == [("▁the", 0, 3), *[(".", 3, 4)] * 3]


def test_an_unknown_character_is_a_token_with_its_range() -> None:
    tokenizer = small_tokenizer()
    tokens = tokenizer.encode("the 漢!")
    assert [(token.id == tokenizer.unk_id, token.text, token.start, token.end) for token in tokens] == [
        (False, "▁the", 0, 3),
        (False, "▁", 4, 4),
        (True, "漢", 4, 5),
        (False, "!", 5, 6),
    ]


@pytest.mark.parametrize("text", ["", "   ", "\n\u200b\x00"])
def test_nothing_visible_gives_no_tokens(text: str) -> None:
    assert small_tokenizer().encode(text) == ()
    assert small_tokenizer().encode_ids(text) == []


@pytest.mark.parametrize("sentence", SENTENCES)
def test_decoding_gives_the_text_back(sentence: str) -> None:
    tokenizer = small_tokenizer()
    encoded = tokenizer.encode(sentence)
    decoded = tokenizer.decode([token.id for token in encoded])
    assert decoded.text == sentence
    assert decoded.tokens == encoded


def test_special_tokens_stand_empty_at_the_end() -> None:
    tokenizer = small_tokenizer()
    decoded = tokenizer.decode([*tokenizer.encode_ids("the train"), tokenizer.eos_id])
    assert decoded.text == "the train"
    end = decoded.tokens[-1]
    assert (end.id, end.start, end.end, end.special) == (tokenizer.eos_id, 9, 9, True)


def test_decoded_text_never_has_loose_spaces() -> None:
    tokenizer = small_tokenizer()
    space = next(token.id for token in tokenizer.encode("漢") if token.text == SPACE_SIGN)
    the, train = tokenizer.encode_ids("the train")
    decoded = tokenizer.decode([space, the, space, space, train, space])
    assert decoded.text == "the train"
    assert [(token.start, token.end) for token in decoded.tokens] == [(0, 0), (0, 3), (4, 4), (4, 4), (4, 9), (9, 9)]


@given(any_text)
def test_no_token_crosses_a_word_boundary(text: str) -> None:
    words = find_words(text)
    for token in small_tokenizer().encode(text):
        assert any(word.start <= token.start <= token.end <= word.end for word in words)


@given(any_text)
def test_token_ranges_are_monotone_and_cover_every_word(text: str) -> None:
    tokens = small_tokenizer().encode(text)
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    assert starts == sorted(starts)
    assert ends == sorted(ends)
    for word in find_words(text):
        assert any(token.start == word.start for token in tokens)
        assert max(token.end for token in tokens if token.start < word.end) <= word.end


@given(any_text)
def test_pieces_spell_the_normalised_text(text: str) -> None:
    pieces = "".join(token.text for token in small_tokenizer().encode(text))
    assert pieces.replace(SPACE_SIGN, " ").removeprefix(" ") == normalize(text).text


@given(any_text)
def test_fast_path_and_normalised_text_give_the_same_ids(text: str) -> None:
    tokenizer = small_tokenizer()
    ids = [token.id for token in tokenizer.encode(text)]
    assert tokenizer.encode_ids(text) == ids
    # Text that has lost its original word boundaries ("℡") may be cut differently; ordinary text may not.
    words = [normalize(word.text).text for word in find_words(text)]
    if [word.text for word in find_words(normalize(text).text)] == words:
        assert tokenizer.encode_ids(normalize(text).text) == ids


@given(st.lists(st.integers(min_value=0, max_value=59), max_size=20))
def test_any_ids_decode_to_ranges_inside_the_text(ids: list[int]) -> None:
    decoded = small_tokenizer().decode(ids)
    assert " ".join(decoded.text.split(" ")) == decoded.text.strip(" ")
    assert [token.id for token in decoded.tokens] == ids
    position = 0
    for token in decoded.tokens:
        assert 0 <= token.start <= token.end <= len(decoded.text)
        if not token.special:
            assert token.start >= position
            position = token.end


def test_a_missing_file_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^tokenizer\.model: tokenizer: cannot be read: No such file"):
        Tokenizer.from_file(tmp_path / "tokenizer.model")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 100])
def test_a_broken_model_is_a_bundle_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.model"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"^broken\.model: tokenizer: is no SentencePiece model"):
        Tokenizer.from_file(path)


def test_a_model_that_normalises_by_itself_is_refused() -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(source for source, _ in PAIRS), model_writer=model, vocab_size=60, minloglevel=2
    )
    with pytest.raises(BundleError, match="changes text by itself"):
        Tokenizer.from_bytes(model.getvalue())
