from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from service.decoding.search import decode
from tests.benchmark.naive import translate_naively
from tests.benchmark.sides.cell import Cell, make_jobs, pinned_options, random_sources
from tests.service.scripted_backend import IDS, ScriptedBackend, encode_letters, make_job, random_model

VOCABULARY_SIZE = 30


def test_sources_have_the_length_asked_for_and_end_like_sentences() -> None:
    cell = Cell(batch=5, beam_size=1, source_length=12, target_length=12)
    sources = random_sources(cell, VOCABULARY_SIZE, IDS)
    assert sources.shape == (5, 12)
    assert (sources[:, -1] == IDS.eos).all()
    assert not np.isin(sources[:, :-1], [IDS.pad, IDS.bos, IDS.eos, IDS.unk]).any()
    assert sources.max() < VOCABULARY_SIZE
    assert len(np.unique(sources, axis=0)) == 5
    np.testing.assert_array_equal(sources, random_sources(cell, VOCABULARY_SIZE, IDS))


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("target_length", [1, 3, 9])
def test_translations_have_exactly_the_pinned_length(beam_size: int, target_length: int) -> None:
    cell = Cell(3, beam_size, 5, target_length)
    backend = ScriptedBackend(random_model("abcdefg.", seed=1))  # ends at any time if it may
    results = decode(backend, make_jobs(cell, backend.vocabulary_size, IDS), IDS)
    assert {len(hypotheses[0].target_ids) for hypotheses in results} == {target_length}


def test_a_pinned_length_is_minimum_and_maximum() -> None:
    options = pinned_options(Cell(1, 4, 12, 25))
    assert (options.beam_size, options.min_decoding_length, options.max_decoding_length) == (4, 25, 25)


def test_cells_survive_json() -> None:
    cell = Cell(16, 4, 12, 25)
    assert Cell.of(asdict(cell)) == cell


def test_the_naive_loop_translates_as_greedy_search_does() -> None:
    # No probability for special tokens but the end: the naive loop would produce them.
    backend = ScriptedBackend(random_model("abc.", seed=4))
    naive = translate_naively(backend, list(encode_letters("abca.")), IDS, max_length=12)
    [[expected]] = decode(backend, [make_job("abca")], IDS)
    assert tuple(naive.target_ids) == expected.target_ids
    np.testing.assert_array_equal(naive.attention, expected.attention)


def test_the_naive_loop_goes_on_to_a_pinned_length() -> None:
    backend = ScriptedBackend(random_model("abc.", seed=4))
    naive = translate_naively(backend, list(encode_letters("ab.")), IDS, max_length=9, stops=False)
    assert len(naive.target_ids) == 9
