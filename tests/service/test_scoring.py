"""The scoring rules by hand."""

from __future__ import annotations

import numpy as np
import pytest

from service.decoding.scoring import MINIMUM_COVERAGE, coverage_penalty, length_penalty


def test_length_penalty_by_hand() -> None:
    lengths = np.array([1, 7, 7, 13])
    weights = np.array([1.0, 1.0, 0.0, 2.0])
    np.testing.assert_allclose(length_penalty(lengths, weights), [1.0, 2.0, 1.0, 9.0])


def test_coverage_penalty_by_hand() -> None:
    sums = np.array([[0.5, 1.0, 3.0], [1.0, 1.0, 1.0], [0.5, 0.25, 1.0]], dtype=np.float32)
    expected = [2 * np.log(0.5), 0.0, np.log(0.5) + np.log(0.25)]
    np.testing.assert_allclose(coverage_penalty(sums, np.array([2.0, 5.0, 1.0])), expected)


def test_a_source_token_without_any_attention_costs_much_but_not_everything() -> None:
    [penalty] = coverage_penalty(np.array([[0.0, 1.0]], dtype=np.float32), np.array([1.0]))
    assert penalty == pytest.approx(np.log(MINIMUM_COVERAGE))
