"""The split rule: known hashes, disjoint parts, one reference per held-out sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.corpus_readers import SentencePair, read_pairs
from model_export.errors import DataError
from model_export.splitting import PARTS, assign_part, fold, split_pairs, write_split

# First 8 digits of `printf '%s' "sentence number 10" | sha256sum`: 022fbdea; of 78: 0a336590; of 20: 0b1e52cc.
# 0.02 of 2^32 is 051eb851, 0.04 is 0a3d70a3.
DEV, TEST, TRAIN = "sentence number 10", "sentence number 78", "sentence number 20"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("I'm here!", "i m here"),
        ("  Über\u00a0STRASSE — 3.5 ﬁne ", "über strasse 3 5 fine"),
        ("straße", "strasse"),
        ("?!", ""),
    ],
)
def test_folding_keeps_letters_and_digits_only(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_the_part_follows_from_the_hash() -> None:
    assert [assign_part(source) for source in (DEV, TEST, TRAIN)] == ["dev", "test", "train"]
    assert assign_part("Sentence, number 10!") == "dev"


def test_dev_and_test_keep_the_first_line_in_sorted_order() -> None:
    pairs = [SentencePair(DEV, "b"), SentencePair(TRAIN, "x"), SentencePair(DEV, "a"), SentencePair(TRAIN, "y")]
    split = split_pairs(pairs)
    assert split.dev == [SentencePair(DEV, "a")]
    assert split.train == [SentencePair(TRAIN, "x"), SentencePair(TRAIN, "y")]


def test_held_out_targets_leave_the_other_parts() -> None:
    split = split_pairs(
        [SentencePair(DEV, "Bonjour !"), SentencePair(TEST, "bonjour"), SentencePair(TRAIN, "Bonjour.")]
    )
    assert (split.train, split.dev, split.test) == ([], [], [SentencePair(TEST, "bonjour")])


def test_excluded_sentences_are_in_no_part() -> None:
    pairs = [SentencePair(DEV, "un"), SentencePair(TEST, "deux"), SentencePair(TRAIN, "trois")]
    split = split_pairs(pairs, excluded=["Sentence number 10.", "Trois!"])
    assert (split.train, split.dev, split.test) == ([], [], [SentencePair(TEST, "deux")])


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40))))
def test_parts_are_disjoint_on_both_sides(numbers: list[tuple[int, int]]) -> None:
    pairs = [SentencePair(f"sentence number {source}", f"phrase {target}") for source, target in numbers]
    split = split_pairs(pairs)
    sources = [{fold(pair.source) for pair in split.part(part)} for part in PARTS]
    targets = [{fold(pair.target) for pair in split.part(part)} for part in PARTS]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not sources[first] & sources[second]
        assert not targets[first] & targets[second]
    assert split_pairs([*split.train, *split.dev, *split.test]) == split


def test_written_parts_can_be_read_again(tmp_path: Path) -> None:
    pairs = [SentencePair(DEV, "un"), SentencePair(TEST, "deux"), SentencePair("a\tb\r\nc", "trois")]
    paths = write_split(split_pairs(pairs), tmp_path / "new", "eng-fra")
    assert [path.name for path in paths.values()] == ["eng-fra.train.tsv", "eng-fra.dev.tsv", "eng-fra.test.tsv"]
    assert read_pairs([paths["train"]]).pairs == [SentencePair("a b c", "trois")]
    assert read_pairs([paths["dev"]]).pairs == [SentencePair(DEV, "un")]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_split(split_pairs([]), tmp_path / "file", "eng-fra")
