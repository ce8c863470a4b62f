"""Guided alignment: what attention is drawn to, and the loss that draws it."""

from __future__ import annotations

import numpy as np
import pytest

from model_export.batching import BucketedBatches
from model_export.config import TrainConfig
from model_export.corpus_readers import Corpus, SentencePair
from model_export.data import EncodedPairs, encode_pairs
from model_export.guided_alignment import AlignmentCrossEntropy, alignment_row_weights, alignment_weight, guide
from tests.model_export.tiny_models import as_numpy
from tests.small_corpus import PAIRS, small_tokenizer

# --- Targets ----------------------------------------------------------------------------------------------------


def one_pair(token_links: list[tuple[int, int]]) -> EncodedPairs:
    pairs = EncodedPairs(pad_id=0, eos_id=2)
    pairs.source_ids.append(np.array([5, 6, 7, 2], dtype=np.int32))
    pairs.target_ids.append(np.array([1, 8, 9, 2], dtype=np.int32))
    pairs.token_links.append(np.array(token_links, dtype=np.int32).reshape(-1, 2))
    return pairs


@pytest.mark.parametrize("row_offset", [0, 1])
def test_rows_share_their_mass_among_the_links(row_offset: int) -> None:
    (batch,) = BucketedBatches(one_pair([(0, 1), (1, 0), (1, 2)]), 8, seed=1).epoch(0)
    expected = np.zeros((2, 4, 4), dtype=np.float32)  # the second row of the batch is filled up
    expected[0, row_offset, 1] = 1.0
    expected[0, row_offset + 1, [0, 2]] = 0.5
    found = guide(batch, {"alignments": 1.0}, row_offset).targets["alignments"]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


def test_the_aligner_is_drawn_to_the_words_of_the_token_that_a_step_reads_or_to_the_end() -> None:
    (batch,) = BucketedBatches(one_pair([(1, 0), (1, 2)]), 8, seed=1).epoch(0)
    guidance = guide(batch, {"alignments": 0.1, "aligner": 0.3}, row_offset=0)
    expected = np.zeros((2, 4, 4), dtype=np.float32)
    expected[0, [0, 1], 3] = 1.0  # neither the start nor the first token has links
    expected[0, 2, [0, 2]] = 0.5  # and the end of sentence is read by no step
    np.testing.assert_array_equal(guidance.targets["aligner"], expected)
    weights = np.zeros((2, 4), dtype=np.float32)
    weights[0, :3] = 0.1
    np.testing.assert_array_equal(guidance.row_weights["aligner"], weights)
    np.testing.assert_array_equal(guidance.row_weights["alignments"][0], np.array([0, 0.1, 0, 0], dtype=np.float32))


def test_without_alignments_nothing_is_guided() -> None:
    pairs = one_pair([])
    pairs.token_links.clear()
    (batch,) = BucketedBatches(pairs, 8, seed=1).epoch(0)
    guidance = guide(batch, {"alignments": 0.0, "aligner": 0.0}, row_offset=0)
    assert not any(array.any() for array in (*guidance.targets.values(), *guidance.row_weights.values()))


def test_without_alignments_batches_have_none() -> None:
    pairs = one_pair([])
    pairs.token_links.clear()
    (batch,) = BucketedBatches(pairs, 8, seed=1).epoch(0)
    assert batch.alignments is None


def test_links_of_words_become_links_of_their_subwords() -> None:
    tokenizer = small_tokenizer()
    source, target = PAIRS[1]  # I do n't know where ... | Je ne sais pas ...
    links = [np.array([[2, 1], [2, 3], [3, 2]], dtype=np.int32)]
    corpus = Corpus("test", [SentencePair(source, target)], [1])
    encoded = encode_pairs(corpus, tokenizer, 100, links)

    def tokens_of(text: str, word: str) -> set[int]:
        start = text.index(word)
        tokens = tokenizer.encode(text)
        return {index for index, token in enumerate(tokens) if start <= token.start < start + len(word)}

    linked = [("n't", "ne"), ("n't", "pas"), ("know", "sais")]
    expected = {(i, j) for left, right in linked for i in tokens_of(target, right) for j in tokens_of(source, left)}
    assert len(expected) > 3
    assert {tuple(link) for link in encoded.token_links[0].tolist()} == expected
    assert f", {len({i for i, _ in expected})} of which have links" in encoded.report()


# --- The loss ---------------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_mean_over_linked_rows() -> None:
    targets = np.array([[[1, 0, 0], [0, 0, 0]], [[0, 0.5, 0.5], [0, 0, 0]]], dtype=np.float32)
    attention = np.array([[[0.5, 0.25, 0.25], [1, 0, 0]], [[0.5, 0.25, 0.25], [0, 1, 0]]], dtype=np.float32)
    weights = alignment_row_weights(targets, 0.3)
    np.testing.assert_allclose(weights, [[0.15, 0.0], [0.15, 0.0]], rtol=1e-6)
    loss = AlignmentCrossEntropy()(targets, attention, sample_weight=weights)
    assert float(as_numpy(loss)) == pytest.approx(0.3 * (np.log(2) + np.log(4)) / 2, rel=1e-5)


def test_a_batch_without_links_has_no_loss() -> None:
    targets = np.zeros((2, 3, 4), dtype=np.float32)
    weights = alignment_row_weights(targets, 0.3)
    assert float(as_numpy(AlignmentCrossEntropy()(targets, targets, sample_weight=weights))) == 0.0


def test_the_weight_goes_along_a_straight_line() -> None:
    config = TrainConfig(alignment_weight=0.4, alignment_final_weight_factor=0.25)
    found = [alignment_weight(config, step, 200) for step in (0, 100, 200, 300)]
    assert found == pytest.approx([0.4, 0.25, 0.1, 0.1])
    assert alignment_weight(TrainConfig(alignment_weight=0.4), 150, 200) == pytest.approx(0.4)
