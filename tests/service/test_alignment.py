"""Word matrices, links and rounding, with values worked out by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.alignment import align, choose_rows, hard_links, round_rows, word_matrix, word_of_each_token
from service.domain import AlignmentRule, AnalysedText, Link, Mechanism, Token, Word

LUONG = Mechanism("luong", normalized=True)
MONOTONIC = Mechanism("luong_monotonic", normalized=False)

# "unlikely. " in three subwords and an end of sentence -> words "unlikely", "."
SOURCE = AnalysedText(
    "unlikely.",
    (),
    (Token(4, "▁un", 0, 2), Token(5, "likely", 2, 8), Token(6, ".", 8, 9), Token(2, "</s>", 9, 9, special=True)),
    (Word("unlikely", 0, 8), Word(".", 8, 9)),
)
# "peu probable." -> words "peu", "probable", "."
TARGET = AnalysedText(
    "peu probable.",
    (),
    (
        Token(7, "▁peu", 0, 3),
        Token(8, "▁prob", 4, 8),
        Token(9, "able", 8, 12),
        Token(6, ".", 12, 13),
        Token(2, "</s>", 13, 13, special=True),
    ),
    (Word("peu", 0, 3), Word("probable", 4, 12), Word(".", 12, 13)),
)
ATTENTION = np.array(
    [
        [0.5, 0.25, 0.125, 0.125],  # peu
        [0.25, 0.5, 0.25, 0.0],  # prob
        [0.0, 0.75, 0.0, 0.25],  # able
        [0.0, 0.0625, 0.0625, 0.875],  # . looks at the end of sentence
        [0.0, 0.0, 0.5, 0.5],  # </s>
    ],
    dtype=np.float32,
)
WORDS = np.array([[0.75, 0.125], [0.75, 0.125], [0.0625, 0.0625]], dtype=np.float32)


def test_tokens_find_their_words_by_range() -> None:
    assert word_of_each_token(SOURCE.tokens, SOURCE.words).tolist() == [0, 0, 1, -1]
    assert word_of_each_token(TARGET.tokens, TARGET.words).tolist() == [0, 1, 1, 2, -1]


def test_token_of_a_space_alone_belongs_to_the_word_it_precedes() -> None:
    tokens = (Token(4, "▁a", 0, 1), Token(5, "▁", 2, 2), Token(6, "b", 2, 3), Token(5, "▁", 3, 3))
    words = (Word("a", 0, 1), Word("b", 2, 3))
    assert word_of_each_token(tokens, words).tolist() == [0, 1, 1, -1]


def test_tokens_of_one_expanded_character_share_its_word() -> None:
    tokens = (Token(4, "▁1", 0, 1), Token(5, "/", 0, 1), Token(6, "2", 0, 1))
    assert word_of_each_token(tokens, (Word("½", 0, 1),)).tolist() == [0, 0, 0]


def test_tokens_without_words_belong_to_none() -> None:
    assert word_of_each_token(SOURCE.tokens, ()).tolist() == [-1, -1, -1, -1]
    assert word_of_each_token((), ()).shape == (0,)


def test_word_matrix_sums_over_source_and_averages_over_target() -> None:
    matrix = word_matrix(ATTENTION, SOURCE, TARGET)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, WORDS)


def test_links_go_to_the_best_source_word_and_skip_weak_ones() -> None:
    assert hard_links(WORDS) == (Link(0, 0, 0.75), Link(0, 1, 0.75))


def test_links_are_ordered_by_source_then_target() -> None:
    matrix = np.array([[0.0, 0.875], [0.875, 0.0], [0.25, 0.75]], dtype=np.float32)
    assert hard_links(matrix) == (Link(0, 1, 0.875), Link(1, 0, 0.875), Link(1, 2, 0.75))


def test_equal_weights_are_linked_alike() -> None:
    assert hard_links(np.array([[0.5, 0.5]], dtype=np.float32)) == (Link(0, 0, 0.5), Link(1, 0, 0.5))


def test_a_target_word_has_every_link_that_reaches_both_thresholds() -> None:
    matrix = np.array([[0.5, 0.375, 0.125], [0.125, 0.125, 0.125], [0.0, 0.25, 0.75]], dtype=np.float32)
    rule = AlignmentRule(threshold=0.25, relative_threshold=0.75)
    # 0.375 is 0.75 x 0.5; row 1 is below the threshold; 0.25 reaches the threshold, but not 0.75 x 0.75
    assert hard_links(matrix, rule) == (Link(0, 0, 0.5), Link(1, 0, 0.375), Link(2, 2, 0.75))


def test_without_a_relative_threshold_every_weight_that_is_enough_is_a_link() -> None:
    matrix = np.array([[0.25, 0.75], [0.125, 0.5]], dtype=np.float32)
    links = hard_links(matrix, AlignmentRule(threshold=0.25, relative_threshold=0.0))
    assert links == (Link(0, 0, 0.25), Link(1, 0, 0.75), Link(1, 1, 0.5))


def test_words_that_remain_are_linked_to_each_other_heaviest_first_and_once() -> None:
    matrix = np.array(
        [
            [0.75, 0.125, 0.0, 0.0],  # a link by the threshold, which takes source 0
            [0.5, 0.25, 0.125, 0.0],  # its best is taken; 0.25 is less than the next row's
            [0.0, 0.375, 0.25, 0.125],  # takes source 1
            [0.0, 0.3125, 0.0625, 0.03125],  # source 1 is taken, the others are below the lower threshold
        ],
        dtype=np.float32,
    )
    rule = AlignmentRule(threshold=0.625, relative_threshold=0.0, remaining_threshold=0.125)
    assert hard_links(matrix, rule) == (Link(0, 0, 0.75), Link(1, 2, 0.375), Link(2, 1, 0.125))


def test_of_equal_weights_that_remain_the_first_target_word_takes_the_first_source_word() -> None:
    matrix = np.full((2, 2), 0.25, dtype=np.float32)
    assert hard_links(matrix, AlignmentRule(0.5, 0.0, remaining_threshold=0.25)) == (
        Link(0, 0, 0.25),
        Link(1, 1, 0.25),
    )


def test_attention_to_special_tokens_is_no_link() -> None:
    to_the_end = np.zeros_like(ATTENTION)
    to_the_end[:, -1] = 1.0
    [alignment] = align([(LUONG, to_the_end)], SOURCE, TARGET, "soft", AlignmentRule(0.001, 0.0))
    assert alignment.links == ()


def test_rows_can_be_those_of_the_step_that_reads_the_token() -> None:
    """The last token, which no step reads, has the row of the mechanism that looks for what to write."""
    attention = np.array([[1, 0], [0.5, 0.5], [0, 1]], dtype=np.float32)
    of_both = (attention, attention[::-1])
    reads, writes = (Mechanism("luong", normalized=True, row_offset=offset) for offset in (1, 0))
    assert choose_rows(of_both, (writes, writes)) == of_both
    chosen = choose_rows(of_both, (reads, writes))
    np.testing.assert_array_equal(chosen[0], [[0.5, 0.5], [0, 1], [1, 0]])
    assert chosen[1] is of_both[1]
    np.testing.assert_array_equal(choose_rows((attention,), (reads,))[0], [[0.5, 0.5], [0, 1], [0, 1]])


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_matrix_without_words_has_no_links(shape: tuple[int, int]) -> None:
    assert hard_links(np.zeros(shape, np.float32)) == ()


def test_soft_alignment_has_matrices_and_links() -> None:
    [alignment] = align([(LUONG, ATTENTION)], SOURCE, TARGET, "soft")
    np.testing.assert_array_equal(alignment.tokens, ATTENTION)
    np.testing.assert_array_equal(alignment.words, WORDS)
    assert alignment.pharaoh == "0-0 0-1"


def test_hard_alignment_has_links_only() -> None:
    [alignment] = align([(LUONG, ATTENTION)], SOURCE, TARGET, "hard")
    assert alignment.tokens is None
    assert alignment.words is None
    assert alignment.pharaoh == "0-0 0-1"


def test_no_alignment_is_none() -> None:
    assert align([(LUONG, ATTENTION)], SOURCE, TARGET, "none") == ()


def test_every_mechanism_has_its_own_alignment() -> None:
    mirrored = ATTENTION[:, ::-1]
    one, other = align([(LUONG, ATTENTION), (MONOTONIC, mirrored)], SOURCE, TARGET, "soft")
    assert (one.mechanism, other.mechanism) == (LUONG, MONOTONIC)
    np.testing.assert_array_equal(one.words, WORDS)
    np.testing.assert_array_equal(other.tokens, mirrored)
    # "probable": the mean of 0 + 0.25 and 0.25 + 0, and of 0.5 and 0.75
    np.testing.assert_array_equal(other.words, np.float32([[0.25, 0.25], [0.25, 0.625], [0.9375, 0.0625]]))
    assert other.pharaoh == "0-0 0-2 1-0 1-1"  # "peu" attends to both alike


def test_a_mechanism_that_attends_to_nothing_links_nothing() -> None:
    [alignment] = align([(MONOTONIC, np.zeros_like(ATTENTION))], SOURCE, TARGET, "soft")
    assert alignment.links == ()
    assert alignment.pharaoh == ""
    assert alignment.tokens is not None
    assert not round_rows(alignment.tokens).any()


def test_rounded_rows_that_sum_to_less_than_one_do_not_come_to_more() -> None:
    sevenths = np.full((1, 7), 0.142855, np.float32)  # sums to 0.999985; rounded one by one, to 1.0003
    assert round_rows(sevenths).sum() == pytest.approx(1.0, abs=1e-12)
    less = np.full((1, 7), 0.12855, np.float32)  # sums to 0.89985; rounded one by one, to 0.9002
    assert round_rows(less).sum() == pytest.approx(0.8998, abs=1.01e-4)


def test_empty_target_has_empty_word_matrix() -> None:
    target = AnalysedText("", (), (Token(2, "</s>", 0, 0, special=True),), ())
    [alignment] = align([(LUONG, ATTENTION[-1:])], SOURCE, target, "soft")
    assert alignment.words is not None
    assert alignment.words.shape == (0, 2)
    assert alignment.links == ()


def test_rounded_row_of_thirds_still_sums_to_one() -> None:
    rounded = round_rows(np.full((1, 3), 1 / 3, np.float32))
    np.testing.assert_allclose(rounded, [[0.3334, 0.3333, 0.3333]], atol=1e-12)


def test_many_small_weights_survive_rounding() -> None:
    row = np.full((1, 301), 0.00004, np.float32)  # plain rounding makes 0 of each, and 0.988 of the row
    row[0, 0] = 0.988
    assert round_rows(row).sum() == pytest.approx(1.0, abs=1e-9)


def test_exact_decimals_are_left_alone() -> None:
    matrix = np.array([[0.9, 0.0999, 0.0001], [0.0, 1.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(round_rows(matrix), [[0.9, 0.0999, 0.0001], [0.0, 1.0, 0.0]], atol=1e-12)


def test_empty_matrix_rounds_to_itself() -> None:
    assert round_rows(np.zeros((0, 0), np.float32)).shape == (0, 0)
    assert round_rows(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_matrices_of_several_mechanisms_are_rounded_each_for_itself() -> None:
    one = np.array([[0.99994, 0.00003, 0.00003], [0.5, 0.25, 0.25]])
    other = np.array([[1 / 3, 1 / 3, 1 / 3], [0.0, 1.0, 0.0]])
    rounded = round_rows(np.stack([one, other]).astype(np.float32))
    expected = [[[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]], [[0.3334, 0.3333, 0.3333], [0.0, 1.0, 0.0]]]
    np.testing.assert_allclose(rounded, expected, atol=1e-12)


@settings(deadline=None)
@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.floats(0, 1, width=32)))
def test_rounding_keeps_each_entry_and_row_sum(matrix: np.ndarray) -> None:
    rounded = round_rows(matrix)
    assert np.abs(rounded - matrix).max() < 1e-4 + 1e-9
    assert np.abs(rounded.sum(axis=1) - matrix.astype(np.float64).sum(axis=1)).max() <= 0.5e-4 + 1e-9
    np.testing.assert_allclose(rounded, np.round(rounded, 4), atol=1e-12)


@st.composite
def analysed_texts(draw: st.DrawFn) -> AnalysedText:
    """Words of 1 to 4 letters with a space between, each cut into tokens at random, and an end of sentence."""
    tokens: list[Token] = []
    words: list[Word] = []
    position = 0
    for length in draw(st.lists(st.integers(1, 4), max_size=5)):
        words.append(Word("x" * length, position, position + length))
        cuts = sorted(draw(st.sets(st.integers(1, length))) | {0, length})
        tokens += [Token(4, "x", position + start, position + end) for start, end in pairwise(cuts)]
        position += length + 1
    text = " ".join(word.text for word in words)
    tokens.append(Token(2, "</s>", len(text), len(text), special=True))
    return AnalysedText(text, (), tuple(tokens), tuple(words))


@settings(deadline=None)
@given(analysed_texts(), analysed_texts(), st.integers(0, 2**32 - 1))
def test_word_matrix_has_its_shape_and_rows_within_one(source: AnalysedText, target: AnalysedText, seed: int) -> None:
    attention = np.random.default_rng(seed).dirichlet(np.ones(len(source.tokens)), len(target.tokens))
    [alignment] = align([(LUONG, attention.astype(np.float32))], source, target, "soft")
    assert alignment.words is not None
    assert alignment.words.shape == (len(target.words), len(source.words))
    assert (alignment.words >= 0).all()
    assert (alignment.words.sum(axis=1) <= 1 + 1e-5).all()
    for link in alignment.links:
        assert link.weight == alignment.words[link.target, link.source] == alignment.words[link.target].max()
    assert len({link.target for link in alignment.links}) == len(alignment.links)
