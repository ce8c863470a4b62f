"""Encoding pairs: special tokens in their places, nothing lost without a trace."""

from __future__ import annotations

import numpy as np
import pytest

from model_export.corpus_readers import Corpus, SentencePair
from model_export.data import encode_pairs
from model_export.errors import DataError
from tests.small_corpus import PAIRS, small_tokenizer


def corpus_of(*pairs: tuple[str, str]) -> Corpus:
    return Corpus("test", [SentencePair(*pair) for pair in pairs], list(range(11, 11 + len(pairs))))


def test_sides_carry_their_special_tokens() -> None:
    tokenizer = small_tokenizer()
    encoded = encode_pairs(corpus_of(PAIRS[0]), tokenizer, max_tokens=100)
    source, target = (tokenizer.encode_ids(side) for side in PAIRS[0])
    assert encoded.source_ids[0].tolist() == [*source, tokenizer.eos_id]
    assert encoded.target_ids[0].tolist() == [tokenizer.bos_id, *target, tokenizer.eos_id]
    assert encoded.source_ids[0].dtype == encoded.target_ids[0].dtype == np.int32


def test_pairs_that_cannot_be_used_are_reported_by_line() -> None:
    encoded = encode_pairs(corpus_of(("the", "le"), ("\u200b", "le"), ("the the the", "le")), small_tokenizer(), 2)
    assert len(encoded.source_ids) == len(encoded.target_ids) == 1
    assert encoded.rejected == {"empty side": [12], "too many tokens": [13]}
    assert encoded.report().splitlines()[1:] == [
        "  left out: empty side: 1 (line 12)",
        "  left out: too many tokens: 1 (line 13)",
    ]


def test_the_limit_counts_no_special_tokens() -> None:
    assert len(encode_pairs(corpus_of(("the train", "le train")), small_tokenizer(), 2).source_ids) == 1


def test_no_pair_left_is_an_error() -> None:
    with pytest.raises(DataError, match=r"^test: no sentence pair of at most 1 tokens a side is left"):
        encode_pairs(corpus_of(PAIRS[0]), small_tokenizer(), max_tokens=1)
