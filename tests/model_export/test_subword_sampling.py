"""Subword sampling: other cuts of the same words, by the right probabilities, the same again for seed and epoch."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given

from model_export.cli import main
from model_export.corpus_readers import Corpus, SentencePair
from model_export.data import encode_pairs
from model_export.errors import ConfigError
from model_export.run_directory import RunDirectory
from model_export.subword_sampling import SampledPairs, Sampling, SegmentationTable, word_of_each_chunk
from model_export.tokenizer_training import train_tokenizer
from service.alignment import word_of_each_token
from service.bundle.tokenizer import Tokenizer, prepare_chunks
from service.bundle.words import find_words
from tests.model_export.guided_task import write_task
from tests.reversing_task import CONFIG, training_arguments
from tests.small_corpus import PAIRS, SENTENCES, any_text

MODEL = train_tokenizer(SENTENCES, 120, character_coverage=1.0)
TOKENIZER = Tokenizer.from_bytes(MODEL)
CORPUS = Corpus("test", [SentencePair(*pair) for pair in PAIRS], list(range(1, len(PAIRS) + 1)))
LINKS = [np.array([[0, 0], [1, 2], [3, 1]], dtype=np.int32)] * len(PAIRS)


def sampled(candidates: int = 8, alpha: float = 0.3, seed: int = 1, max_tokens: int = 200) -> SampledPairs:
    encoded = encode_pairs(CORPUS, TOKENIZER, 200, LINKS)
    return SampledPairs(encoded, CORPUS, LINKS, MODEL, Sampling(candidates, alpha, seed, max_tokens))


def text_of(ids: np.ndarray) -> str:
    return TOKENIZER.decode(ids.tolist()).text


def test_texts_stay_and_cuts_change() -> None:
    pairs = sampled()
    first, second = pairs.epoch(0), pairs.epoch(1)
    for index, (source, target) in enumerate(PAIRS):
        for epoch in (first, second):
            assert text_of(epoch.source_ids[index]) == text_of(np.array(TOKENIZER.encode_ids(source)))
            assert text_of(epoch.target_ids[index]) == text_of(np.array(TOKENIZER.encode_ids(target)))
            assert epoch.source_ids[index][-1] == epoch.target_ids[index][-1] == TOKENIZER.eos_id
            assert epoch.target_ids[index][0] == TOKENIZER.bos_id
    changed = [one.tolist() != two.tolist() for one, two in zip(first.source_ids, second.source_ids, strict=True)]
    assert sum(changed) >= 8


def test_cuts_follow_from_seed_and_epoch() -> None:
    def ids(pairs: SampledPairs, epoch: int) -> list[list[int]]:
        return [array.tolist() for array in pairs.epoch(epoch).source_ids]

    pairs = sampled()
    assert ids(pairs, 3) == ids(sampled(), 3)  # also of a process that begins with this epoch
    assert ids(pairs, 0) == ids(pairs, 0)
    assert ids(pairs, 0) != ids(sampled(seed=2), 0)


def test_one_candidate_is_the_best_cut() -> None:
    best = encode_pairs(CORPUS, TOKENIZER, 200, LINKS)
    drawn = sampled(candidates=1).epoch(0)
    for name in ("source_ids", "target_ids", "token_links"):
        for one, other in zip(getattr(drawn, name), getattr(best, name), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_pair_that_would_get_too_long_is_cut_in_its_best_way() -> None:
    longest = max(len(TOKENIZER.encode_ids(sentence)) for sentence in SENTENCES)
    best = encode_pairs(CORPUS, TOKENIZER, 200, LINKS)
    drawn = sampled(candidates=64, alpha=0.0, max_tokens=longest).epoch(0)
    lengths = [max(len(s) - 1, len(t) - 2) for s, t in zip(drawn.source_ids, drawn.target_ids, strict=True)]
    assert max(lengths) <= longest
    assert any(np.array_equal(one, other) for one, other in zip(drawn.source_ids, best.source_ids, strict=True))
    assert len(drawn.token_links) == len(PAIRS)


def test_links_follow_the_cuts() -> None:
    drawn = sampled().epoch(0)
    for index, (source, target) in enumerate(PAIRS):
        source_words = words_by_text(drawn.source_ids[index][:-1], source)
        target_words = words_by_text(drawn.target_ids[index][1:-1], target)
        expected = {
            (i, j)
            for i, target_word in enumerate(target_words)
            for j, source_word in enumerate(source_words)
            if (source_word, target_word) in {(0, 0), (1, 2), (3, 1)}
        }
        assert {tuple(link) for link in drawn.token_links[index].tolist()} == expected


def words_by_text(ids: np.ndarray, text: str) -> list[int]:
    """The word of each token, by counting the characters that are no spaces."""
    owners = [index for index, word in enumerate(find_words(text)) for _ in word.text]
    position, words = 0, []
    for token_id in ids.tolist():
        words.append(owners[position])
        position += len(TOKENIZER.piece(token_id).replace("\u2581", ""))
    return words


@given(any_text)
def test_every_token_of_a_chunk_belongs_to_its_word(text: str) -> None:
    tokens = TOKENIZER.encode(text)
    chunks = prepare_chunks(text)
    counts = [len(TOKENIZER._encode_chunk(chunk)) for chunk in chunks]
    expected = word_of_each_token(tokens, find_words(text))
    np.testing.assert_array_equal(np.repeat(word_of_each_chunk(text), counts), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_cuts_are_drawn_by_their_flattened_probability(alpha: float) -> None:
    chunk, other = " boulanger", " train"
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(MODEL)
    candidates = [tuple(ids) for ids in processor.nbest_encode(chunk, nbest_size=4)]
    weights = np.array([np.exp(alpha * sum(processor.get_score(list(ids)))) for ids in candidates])
    table = SegmentationTable(MODEL, [other, chunk], Sampling(4, alpha, 1, 100))
    draws = 4000
    ids, lengths = table.sample(np.ones(draws, dtype=np.int32), np.random.default_rng(5))
    counts = Counter(tuple(part.tolist()) for part in np.split(ids, np.cumsum(lengths)[:-1]))
    assert counts.keys() <= set(candidates)
    found = np.array([counts[each] for each in candidates]) / draws
    np.testing.assert_allclose(found, weights / weights.sum(), atol=0.03)


def test_a_tokenizer_without_other_cuts_is_refused() -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, model_type="bpe", vocab_size=120, minloglevel=2
    )
    with pytest.raises(ConfigError, match=r"subword_candidates: this tokenizer knows one segmentation"):
        SegmentationTable(model.getvalue(), [" train"], Sampling(4, 0.2, 1, 100))


def test_training_draws_other_cuts_in_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the task are single letters; a space before them can be a piece of its own."""
    seen: list[int] = []
    epoch = SampledPairs.epoch
    monkeypatch.setattr(SampledPairs, "epoch", lambda pairs, number: (seen.append(number), epoch(pairs, number))[1])
    config = CONFIG.replace("epochs: 4", "epochs: 2\n  alignment_weight: 0.1\n  subword_candidates: 4")
    options = write_task(tmp_path, config, 100)
    assert main([*training_arguments(tmp_path), *options]) == 0
    assert seen == [0, 0, 1]
    assert RunDirectory(tmp_path / "run").read_config().training.subword_candidates == 4
