"""Attention mechanisms against their formulas, computed position by position."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

from model_export.attention import MECHANISMS, AttentionMechanism, LuongAttention
from tests.model_export.tiny_models import FloatArray, as_numpy, random_array, randomize

UNITS = 4  # of keys, and for Luong of queries
DEPTH = 3  # of the memory
LENGTHS = np.array([5, 2, 1])
MASK = np.arange(5) < LENGTHS[:, None]
SCATTERED_MASK = np.array([[True, False, True, True, False], [False, True, False, False, False], [True] * 5])


class Answer(NamedTuple):
    context: FloatArray
    alignments: FloatArray


def make_mechanism(name: str) -> AttentionMechanism:
    mechanism = MECHANISMS[name](UNITS)
    mechanism.build(UNITS, DEPTH)
    randomize(mechanism.trainable_variables, seed=3, scale=1.0)
    return mechanism


def attend(mechanism: AttentionMechanism, query: FloatArray, memory: FloatArray, mask: np.ndarray) -> Answer:
    prepared = mechanism.project_memory(memory, mask)
    context, alignments, state = mechanism(query, prepared, mechanism.initial_state(prepared))
    assert state == ()
    return Answer(as_numpy(context), as_numpy(alignments))


def score_by_hand(name: str, mechanism: AttentionMechanism, query: FloatArray, value: FloatArray) -> float:
    """The score of one query (Q,) against one memory vector (D,), from the formulas of the papers."""
    key = value @ as_numpy(mechanism.memory_layer.kernel)
    if name == "luong":
        return float(sum(q * k for q, k in zip(query, key, strict=True)))
    projected = query @ as_numpy(mechanism.query_layer.kernel)
    weights = as_numpy(mechanism.attention_v)
    return float(sum(v * math.tanh(k + q) for v, k, q in zip(weights, key, projected, strict=True)))


def answer_by_hand(
    name: str, mechanism: AttentionMechanism, query: FloatArray, memory: FloatArray, mask: np.ndarray
) -> Answer:
    context = np.zeros((len(query), DEPTH), dtype=np.float32)
    alignments = np.zeros(mask.shape, dtype=np.float32)
    for row in range(len(query)):
        positions = np.flatnonzero(mask[row])
        powers = [math.exp(score_by_hand(name, mechanism, query[row], memory[row, t])) for t in positions]
        for position, power in zip(positions, powers, strict=True):
            alignments[row, position] = power / sum(powers)
            context[row] += alignments[row, position] * memory[row, position]
    return Answer(context, alignments)


@pytest.mark.parametrize("mask", [MASK, SCATTERED_MASK], ids=["prefix", "scattered"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_a_step_follows_the_formula(name: str, mask: np.ndarray) -> None:
    mechanism = make_mechanism(name)
    query, memory = random_array(3, UNITS), random_array(3, 5, DEPTH, seed=1)
    answer = attend(mechanism, query, memory, mask)
    expected = answer_by_hand(name, mechanism, query, memory, mask)
    np.testing.assert_allclose(answer.alignments, expected.alignments, atol=1e-6)
    np.testing.assert_allclose(answer.context, expected.context, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("name", MECHANISMS)
def test_rows_sum_to_one_and_are_zero_at_padding(name: str, scale: float) -> None:
    memory = scale * random_array(3, 5, DEPTH, seed=1)
    alignments = attend(make_mechanism(name), scale * random_array(3, UNITS), memory, MASK).alignments
    assert (alignments[~MASK] == 0).all()
    np.testing.assert_allclose(alignments.sum(axis=1), 1.0, atol=1e-6)
    assert alignments[2].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("name", MECHANISMS)
def test_padding_changes_nothing(name: str) -> None:
    mechanism = make_mechanism(name)
    query, memory = random_array(1, UNITS), random_array(1, 7, DEPTH, seed=1)
    padded = attend(mechanism, query, memory, np.arange(7)[None, :] < 4)
    exact = attend(mechanism, query, memory[:, :4], np.ones((1, 4), dtype=bool))
    np.testing.assert_allclose(padded.alignments[:, :4], exact.alignments, atol=1e-7)
    np.testing.assert_allclose(padded.context, exact.context, atol=1e-6)


def test_prepared_values_are_zero_at_padding() -> None:
    memory = make_mechanism("bahdanau").project_memory(random_array(3, 5, DEPTH), MASK)
    assert (as_numpy(memory.values)[~MASK] == 0).all()
    assert (as_numpy(memory.keys)[~MASK] == 0).all()


def test_luong_refuses_queries_of_another_width() -> None:
    with pytest.raises(ValueError, match=r"units \(4\) must equal the query depth \(6\)"):
        LuongAttention(UNITS).build(6, DEPTH)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_mechanism_can_be_made_again_from_its_configuration(name: str) -> None:
    mechanism = MECHANISMS[name](UNITS, name="attention")
    again = MECHANISMS[name].from_config(mechanism.get_config())
    assert (again.units, again.name, type(again)) == (UNITS, "attention", type(mechanism))
