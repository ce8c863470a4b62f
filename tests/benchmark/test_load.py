from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from service.segmentation import split_sentences
from tests.benchmark.figures import Latency
from tests.benchmark.http_load import Load, LoadResult, load_table, share_of_engine, single_client_table
from tests.benchmark.requests import group_sentences, make_bodies, read_sentences
from tests.benchmark.services import parse_settings, process_tree, proportional_memory_mb
from tests.benchmark.wrk import parse_output


def result(side: str, rate: float, p50_ms: float = 10.0, load: Load | None = None) -> LoadResult:
    return LoadResult(side, load or Load(1, 1), 0, rate, Latency(p50_ms, p50_ms, p50_ms), errors=0)


# --- Requests ---------------------------------------------------------------------------------------------------


def test_every_line_is_one_sentence_and_no_two_are_equal() -> None:
    sentences = read_sentences()
    assert len(set(sentences)) == len(sentences) > 50
    for sentence in sentences:
        assert len(list(split_sentences(sentence))) == 1, sentence
    lengths = [len(sentence.split()) for sentence in sentences]
    assert min(lengths) <= 3
    assert max(lengths) >= 30


def test_every_sentence_occurs_equally_often() -> None:
    groups = group_sentences(32)
    texts = [text for group in groups for text in group]
    assert {len(group) for group in groups} == {32}
    assert {texts.count(sentence) for sentence in read_sentences()} == {32}


@pytest.mark.parametrize("size", [1, 32])
def test_bodies_hold_one_sentence_as_a_string_and_several_as_a_list(size: int) -> None:
    bodies = make_bodies(size, beam_size=2)
    assert not any("\n" in body for body in bodies)
    texts = read_sentences()[:size]
    expected = {"text": texts if size > 1 else texts[0], "model": "eng-fra", "beam_size": 2, "alignment": "soft"}
    assert json.loads(bodies[0]) == expected


# --- wrk --------------------------------------------------------------------------------------------------------


def test_the_last_line_of_wrk_is_the_scripts() -> None:
    line = {"requests": 5, "duration_s": 2.0, "p50_ms": 1.5, "p95_ms": 2.5, "p99_ms": 3.5, "errors": 1}
    parsed = parse_output(f"Running 2s test\n  Requests/sec: 2.5\n{json.dumps(line)}\n")
    assert (parsed.requests, parsed.duration_s, parsed.p99_ms, parsed.errors) == (5, 2.0, 3.5, 1)


def test_nothing_answered_has_no_latency() -> None:
    line = {"requests": 0, "duration_s": 2.0, "p50_ms": 0.0, "p95_ms": 0.0, "p99_ms": 0.0, "errors": 0}
    assert math.isnan(parse_output(json.dumps(line)).p50_ms)


# --- Services ---------------------------------------------------------------------------------------------------


def test_memory_is_that_of_the_whole_process_tree(tmp_path: Path) -> None:
    for pid, children, kilobytes in ((1, "2 3", 1000), (2, "4", 200), (3, "", 30), (4, "", 4)):
        task = tmp_path / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (task / "children").write_text(children, encoding="ascii")
        text = f"00-ff ---p [rollup]\nRss: 9999 kB\nPss:     {kilobytes} kB\nPss_Anon: 1 kB\n"
        (tmp_path / str(pid) / "smaps_rollup").write_text(text, encoding="ascii")
    assert process_tree(1, tmp_path) == [1, 2, 3, 4]
    assert proportional_memory_mb(1, tmp_path) == pytest.approx(1234 * 1024 / 1e6)


def test_processes_that_have_ended_count_nothing(tmp_path: Path) -> None:
    assert proportional_memory_mb(7, tmp_path) == 0


def test_settings_are_names_and_values() -> None:
    assert parse_settings(["max_queue=8", "host="]) == {"max_queue": "8", "host": ""}
    with pytest.raises(ValueError, match="max_queue: settings are given as name=value"):
        parse_settings(["max_queue"])


# --- Tables -----------------------------------------------------------------------------------------------------


def test_a_service_is_compared_with_the_fastest_engine() -> None:
    results = [result("interlinear", 80), result("engine alone, a", 90), result("engine alone, b", 100)]
    assert share_of_engine(results, Load(1, 1), "interlinear") == pytest.approx(0.8)
    rows = load_table(results).rows
    assert rows[0] == [1, 1, "interlinear", 80, 10, 10, 10, pytest.approx(80), 0]
    assert rows[1][-2] is None


def test_one_client_is_compared_with_the_engines_own_time() -> None:
    other = result("interlinear", 90, p50_ms=99, load=Load(8, 1))
    results = [result("interlinear", 100, p50_ms=6.5), result("engine alone, a", 200, p50_ms=5), other]
    assert single_client_table(results).rows == [["interlinear", 6.5, 1.5], ["engine alone, a", 5, 0]]
