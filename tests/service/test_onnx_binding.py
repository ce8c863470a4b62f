"""Tensors that stay on a device: the same translations, with fewer copies. The CPU stands in for the device."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import service.onnx_backend
from service.bundle.reader import Bundle, read_bundle
from service.decoding.backend import DecoderRows
from service.decoding.search import SearchBatch, decode
from service.domain import DecodingJob, DecodingOptions
from service.onnx_backend import BackendOptions, OnnxBackend, load_backend, session_options
from service.onnx_binding import BoundSession, DeviceArray, bind_sessions
from tests.service.scripted_backend import IDS, assert_same
from tests.service.test_engine_continuous import decode_at_random
from tests.service.tiny_bundle import vocabulary_size, write_bundle
from tests.service.two_mechanisms import write_two_mechanisms

Writer = Callable[[Path], Path]


@pytest.fixture(scope="module", params=[write_bundle, write_two_mechanisms], ids=["one mechanism", "two mechanisms"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    write: Writer = request.param
    return read_bundle(write(tmp_path_factory.mktemp("bundles") / "tiny"))


def open_session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), session_options(1), providers=["CPUExecutionProvider"])


def bound_backend(bundle: Bundle) -> OnnxBackend:
    variant = bundle.variant("fp32")
    sessions = [open_session(bundle.path / name) for name in (variant.encoder, variant.decoder_step)]
    return OnnxBackend(*bind_sessions(*sessions, bundle.manifest, "cpu"), bundle.manifest, "cpu", "fp32")


def varied_jobs(count: int) -> list[DecodingJob]:
    """Sentences of 1 to 9 tokens for every kind of search, some with a forced prefix."""
    chance = random.Random(8)
    jobs = []
    for index in range(count):
        source = (*chance.choices(range(4, vocabulary_size()), k=chance.randint(0, 8)), IDS.eos)
        options = DecodingOptions(beam_size=1 + index % 4, max_decoding_length=chance.randint(1, 12))
        if index % 5 == 0:
            options = replace(options, sampling_top_k=5, num_hypotheses=3, beam_size=1, seed=index)
        elif index % 7 == 0:
            options = replace(options, beam_size=3, search_mode="tfa")
        else:
            options = replace(options, num_hypotheses=options.beam_size, coverage_penalty=0.3 * (index % 2))
        length = min(index % 3, (options.max_decoding_length or 0) - 1)
        prefix = tuple(chance.choices(range(4, vocabulary_size()), k=length)) if options.search_mode != "tfa" else ()
        jobs.append(DecodingJob(source, options, prefix))
    return jobs


@pytest.mark.parametrize("seed", range(4))
def test_a_running_batch_gives_to_the_bit_what_it_gives_without_binding(bundle: Bundle, seed: int) -> None:
    plain = load_backend(bundle, BackendOptions("cpu"))
    jobs = varied_jobs(30)
    expected, found = (decode_at_random(backend, jobs, seed) for backend in (plain, bound_backend(bundle)))
    assert [each is None for each in found] == [each is None for each in expected]
    for one, other in zip(found, expected, strict=True):
        if one is not None and other is not None:
            assert_same(one, other)


def test_one_bound_backend_serves_several_threads(bundle: Bundle) -> None:
    backend, jobs = bound_backend(bundle), varied_jobs(8)
    expected = decode(backend, jobs, IDS)
    with ThreadPoolExecutor(max_workers=4) as pool:
        results = list(pool.map(lambda _: decode(backend, jobs, IDS), range(8)))
    for result in results:
        for one, other in zip(result, expected, strict=True):
            assert_same(one, other)


# --- What is copied ---------------------------------------------------------------------------------------------


class Copies:
    """Counts what crosses between the host and the device."""

    def __init__(self) -> None:
        self.uploads: list[tuple[int, ...]] = []
        self.fetches: list[tuple[int, ...]] = []


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    """Of lasting inputs, and of what was kept on the device."""
    counted = Copies()
    make, fetch = onnxruntime.OrtValue.ortvalue_from_shape_and_type, DeviceArray.__array__

    def counting_make(shape: tuple[int, ...], *others: Any) -> onnxruntime.OrtValue:
        counted.uploads.append(tuple(shape))
        return make(shape, *others)

    def counting_fetch(self: DeviceArray, *others: Any, **options: Any) -> np.ndarray:
        counted.fetches.append(self.shape)
        return fetch(self, *others, **options)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", staticmethod(counting_make))
    monkeypatch.setattr(DeviceArray, "__array__", counting_fetch)
    return counted


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


UNITS = 6
NEVER_ENDING = DecodingOptions(beam_size=1, min_decoding_length=20, max_decoding_length=20)


def greedy_job(*source: int, steps: int = 20) -> DecodingJob:
    options = replace(NEVER_ENDING, min_decoding_length=steps, max_decoding_length=steps)
    return DecodingJob((*source, IDS.eos), options)


def test_nothing_but_the_mask_is_copied_while_rows_stay(tiny: Bundle, copies: Copies) -> None:
    batch = SearchBatch(bound_backend(tiny), IDS)
    batch.admit([greedy_job(5, 9, 12), greedy_job(7)])
    for _ in range(10):
        batch.step()
    assert copies.uploads == [(2, 4)]  # the mask, once; memory and state have never left the device
    assert copies.fetches == []


def test_a_sentence_that_joins_costs_one_copy_of_all(tiny: Bundle, copies: Copies) -> None:
    batch = SearchBatch(bound_backend(tiny), IDS)
    batch.admit([greedy_job(5, 9, 12)])
    batch.step()
    copies.uploads.clear()
    batch.admit([greedy_job(7, 8)])
    assert Counter(copies.fetches) == {(1, UNITS): 2, (1, 4, UNITS): 2, (1, 3, UNITS): 2}
    copies.fetches.clear()
    for _ in range(10):
        batch.step()
    assert sorted(copies.uploads) == [(2, 4), (2, 4, UNITS), (2, 4, UNITS)]
    assert copies.fetches == []


def test_a_sentence_that_leaves_costs_one_copy_of_the_rest(tiny: Bundle, copies: Copies) -> None:
    batch = SearchBatch(bound_backend(tiny), IDS)
    batch.admit([greedy_job(5, 9, 12, steps=3), greedy_job(7, 4, 6)])
    for _ in range(3):
        batch.step()
    assert batch.live_rows == 1
    assert Counter(copies.fetches) == {(2, UNITS): 1, (2, 4, UNITS): 2}
    copies.uploads.clear()
    for _ in range(5):
        batch.step()
    assert sorted(copies.uploads) == [(1, 4), (1, 4, UNITS), (1, 4, UNITS)]
    assert len(copies.fetches) == 3


def test_beams_that_change_parents_fetch_the_state_alone(tiny: Bundle, copies: Copies) -> None:
    batch = SearchBatch(bound_backend(tiny), IDS)
    batch.admit([DecodingJob((5, 9, IDS.eos), replace(NEVER_ENDING, beam_size=3))])
    batch.step()  # three rows from now on
    copies.uploads.clear()
    copies.fetches.clear()
    for _ in range(10):
        batch.step()
    assert sorted(copies.uploads) == [(3, 3), (3, 3, UNITS), (3, 3, UNITS)]
    assert set(copies.fetches) == {(3, UNITS)}
    assert len(copies.fetches) <= 10


def test_a_copy_on_the_device_is_given_up_with_its_array(tiny: Bundle) -> None:
    session = BoundSession(
        open_session(tiny.path / tiny.variant("fp32").encoder), "cpu", lasting=("source_ids", "source_lengths")
    )
    feeds = {"source_ids": np.array([[5, 2]], dtype=np.int32), "source_lengths": np.array([2], dtype=np.int32)}
    session.run(["memory_keys"], feeds)
    assert len(session._uploads) == 2
    del feeds["source_ids"]
    assert len(session._uploads) == 1


def test_what_stays_on_the_device_becomes_an_array_where_one_is_needed(tiny: Bundle) -> None:
    ids, lengths = np.array([[5, 9, 2], [7, 2, 0]], dtype=np.int32), np.array([3, 2], dtype=np.int32)
    expected = load_backend(tiny, BackendOptions("cpu")).encode(ids, lengths)
    found = bound_backend(tiny).encode(ids, lengths)
    for one, other in zip((*found.memory, *found.state), (*expected.memory, *expected.state), strict=True):
        assert isinstance(one, DeviceArray)
        assert (one.shape, len(one)) == (other.shape, 2)
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one[1:], other[1:])
        assert np.asarray(one) is np.asarray(one)
        assert np.array(one) is not np.asarray(one)
    selected = found.select(np.array([1, 1, 0], dtype=np.int32))
    np.testing.assert_array_equal(selected.memory[0], expected.memory[0][[1, 1, 0]])


# --- What is bound ----------------------------------------------------------------------------------------------


def test_a_model_on_cuda_is_bound_to_it(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def bind_to_cpu(*arguments: Any) -> tuple[BoundSession, BoundSession]:
        *others, device = arguments
        asked.append(device)
        return bind_sessions(*others, "cpu")

    monkeypatch.setattr(service.onnx_backend, "_open_on_cuda", lambda path, threads: open_session(path))
    monkeypatch.setattr(service.onnx_backend, "bind_sessions", bind_to_cpu)
    backend = load_backend(tiny, BackendOptions("cuda"))
    assert (asked, backend.provider) == (["cuda"], "cuda")
    jobs = varied_jobs(4)
    expected = decode(load_backend(tiny, BackendOptions("cpu")), jobs, IDS)
    for one, other in zip(decode(backend, jobs, IDS), expected, strict=True):
        assert_same(one, other)


def test_a_model_on_the_cpu_is_not_bound(tiny: Bundle) -> None:
    rows = load_backend(tiny, BackendOptions("cpu")).encode(np.array([[5, 2]], np.int32), np.array([2], np.int32))
    assert isinstance(rows, DecoderRows)
    assert {type(array) for array in (*rows.memory, *rows.state)} == {np.ndarray}
