"""Word alignments: aligners get the words that the model's words are, and their links come back to the right pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_export.cli import main
from model_export.corpus_readers import Corpus, CorpusFormat, read_pairs
from model_export.errors import DataError
from model_export.word_alignments import read_alignments, spread_links
from tests.model_export.commands import fail

LINES = [
    "We'll go.\tOn ira !",
    "no tab here",
    "\u200b\tRien",
    "She doesn\u2019t eat.\tElle n'\u00c9coute pas l'\u00bd.",
    "\tvide",
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{line}\n" for line in LINES), encoding="utf-8")
    return path


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def as_lists(links: list[np.ndarray]) -> list[list[list[int]]]:
    return [array.tolist() for array in links]


# --- Words ------------------------------------------------------------------------------------------------------


def test_words_keep_the_line_of_their_pair(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["words", "--input", str(pairs), "--output", str(tmp_path / "words")]) == 0
    files = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "words").iterdir()}
    source = ["we 'll go .", "<left-out>", "<left-out>", "she does n't eat .", "<left-out>"]
    target = ["on ira !", "<left-out>", "<left-out>", "elle n' écoute pas l' 1\u20442 .", "<left-out>"]
    both = [f"{left} ||| {right}" for left, right in zip(source, target, strict=True)]
    assert files == {"source.words": source, "target.words": target, "pairs.words": both}
    assert "left out: wrong column count: 1 (line 2)" in capsys.readouterr().out


# --- Links ------------------------------------------------------------------------------------------------------


def test_links_follow_the_lines_of_the_file_and_not_the_pairs_that_are_left(pairs: Path, tmp_path: Path) -> None:
    corpus = read_pairs([pairs])
    assert corpus.lines == [1, 3, 4]
    links = write(tmp_path / "links", "0-0  3-2", "7-9", "0-0", "", "0-0")  # what lines left out link means nothing
    assert as_lists(read_alignments([links], corpus).links) == [[[0, 0], [3, 2]], [], []]


def test_several_files_continue_each_other_and_the_digest_is_that_of_their_content(pairs: Path, tmp_path: Path) -> None:
    corpus = read_pairs([pairs])
    whole = write(tmp_path / "whole", "0-0", "", "", "4-6", "")
    parts = [write(tmp_path / "a", "0-0", ""), write(tmp_path / "b", "", "4-6", "")]
    one, two = read_alignments([whole], corpus), read_alignments(parts, corpus)
    assert as_lists(one.links) == as_lists(two.links) == [[[0, 0]], [], [[4, 6]]]
    assert one.sha256 == two.sha256
    other = write(tmp_path / "other", "0-0", "", "", "4-5", "")
    assert read_alignments([other], corpus).sha256 != one.sha256


def test_swapped_pairs_take_the_same_file_of_links(pairs: Path, tmp_path: Path) -> None:
    swapped = read_pairs([pairs], CorpusFormat(swapped=True))
    assert swapped.pairs[0] == ("On ira !", "We'll go.")
    links = write(tmp_path / "links", "1-0 3-2", "", "", "", "")
    assert as_lists(read_alignments([links], swapped, swapped=True).links)[0] == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["0-0", "1-x"], r"line 2: '1-x' is no link; a link is SOURCE-TARGET, words counted from 0"),
        (["1p0"], r"line 1: '1p0' is no link"),
        (
            ["4-0"],
            r"line 1: links source word 4, but that side has 4 words; align the words that `interlinear-export w",
        ),
        (["0-3"], r"line 1: links target word 3, but that side has 3 words"),
        (["0-0"] * 4, r": line 5 is missing: .*pairs.tsv has 5 lines; each needs a line of links, which may be empty"),
        ([""] * 6, r"line 6: is one too many: .*pairs.tsv has 5 lines"),
    ],
)
def test_links_that_cannot_be_are_named_by_file_and_line(
    pairs: Path, tmp_path: Path, lines: list[str], problem: str
) -> None:
    with pytest.raises(DataError, match=rf"^{tmp_path / 'links'}.*{problem}"):
        read_alignments([write(tmp_path / "links", *lines)], read_pairs([pairs]))


def test_a_missing_file_is_named(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: cannot be read: No such file"):
        read_alignments([tmp_path / "none"], read_pairs([pairs]))


def test_a_translation_memory_cannot_be_swapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = tmp_path / "memory.tmx"
    languages = ("--source-language", "en", "--target-language", "fr")
    files = ("--train", memory, "--dev", memory, "--output", tmp_path / "run")
    assert "TMX names its languages, so there is nothing to swap" in fail(capsys, "train", *languages, *files, "--swap")


# --- Subwords ---------------------------------------------------------------------------------------------------


def test_links_spread_over_all_subwords_of_both_words() -> None:
    source_words = np.array([0, 1, 1, -1, 2], dtype=np.int32)
    target_words = np.array([0, 0, -1, 1], dtype=np.int32)
    links = np.array([[1, 0], [2, 0], [1, 0]], dtype=np.int32)
    expected = [[0, 1], [0, 2], [0, 4], [1, 1], [1, 2], [1, 4]]
    assert spread_links(links, source_words, target_words).tolist() == expected


def test_links_of_words_without_subwords_are_passed_over() -> None:
    words = np.array([0, 1], dtype=np.int32)
    assert spread_links(np.array([[5, 0], [0, 5], [1, 1]], dtype=np.int32), words, words).tolist() == [[1, 1]]
    assert spread_links(np.zeros((0, 2), dtype=np.int32), words, words).shape == (0, 2)


def test_the_line_count_holds_what_was_left_out() -> None:
    corpus = Corpus("x", lines=[1, 4], rejected={"a": [2, 3], "b": [5]})
    assert corpus.line_count == 5
