"""What a sentence gets does not depend on what its neighbours make the steps return."""

from __future__ import annotations

import random
from typing import Any

import pytest

from service.decoding.backend import StepOutput
from service.decoding.search import SearchBatch, decode
from tests.service.scripted_backend import IDS, ScriptedBackend, assert_same, copying, make_job, random_model


@pytest.mark.parametrize("seed", range(40))
def test_neighbours_that_want_more_candidates_change_nothing_under_coverage(seed: int) -> None:
    chance = random.Random(seed)
    model = random_model("._<?" + "abcdefg"[: chance.randint(2, 7)], seed)  # banned tokens fill candidates too
    wider: list[dict[str, Any]] = [
        {"num_alternatives": 10},
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.5},
        {"min_decoding_length": 3},
    ]
    jobs = []
    for _ in range(8):
        source = "".join(chance.choices("uvwxyz", k=chance.randint(1, 4)))
        beam_size = chance.randint(1, 4)
        jobs.append(
            make_job(
                source,
                beam_size=beam_size,
                num_hypotheses=beam_size,
                coverage_penalty=chance.choice([0.1, 0.5, 2.0, 10.0]),
                length_penalty=chance.choice([0.0, 1.0]),
                max_decoding_length=6,
            )
        )
    neighbours = [
        make_job("uvw", max_decoding_length=6, beam_size=beam_size, **chance.choice(wider)) for beam_size in range(1, 5)
    ]
    together = decode(ScriptedBackend(model), [*jobs, *neighbours], IDS)
    for job, hypotheses in zip(jobs, together[: len(jobs)], strict=True):
        [alone] = decode(ScriptedBackend(model), [job], IDS)
        assert_same(hypotheses, alone)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("options", [{"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 2}])
def test_rules_on_the_tokens_so_far_widen_the_step_by_the_tokens_they_look_at(
    beam_size: int, options: dict[str, Any]
) -> None:
    wanted: list[int] = []

    class NotingBackend(ScriptedBackend):
        def decode_step(self, input_ids: Any, rows: Any, forced_ids: Any, num_candidates: int) -> StepOutput:
            wanted.append(num_candidates)
            return super().decode_step(input_ids, rows, forced_ids, num_candidates)

    batch = SearchBatch(NotingBackend(copying), IDS)
    batch.admit([make_job("uvwxyzuvw", beam_size=beam_size)])
    for _ in range(3):
        batch.step()
    batch.admit([make_job("wuv", beam_size=beam_size, **options)])
    for _ in range(3):
        batch.step()
    banned = 3  # padding, start and unknown
    assert wanted == [beam_size + banned] * 3 + [beam_size + banned + n for n in range(3)]
