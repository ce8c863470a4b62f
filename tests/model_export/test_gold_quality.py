"""The models that are shipped translate and align the gold sentences as well as was recorded."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from model_export.evaluation import load_bundle
from tests.data.record_gold_figures import FIGURES, MODELS, measure

RECORDED: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
CASES = [(name, part) for name, entry in RECORDED["models"].items() for part in entry["parts"]]


@cache
def measured(name: str, part: str) -> dict[str, float]:
    entry = RECORDED["models"][name]
    return measure(load_bundle(MODELS / name, entry["precision"]), entry["gold"], part, entry["swap"])


@pytest.mark.parametrize(("name", "part"), CASES)
def test_alignments_are_no_worse_than_recorded(name: str, part: str) -> None:
    recorded = RECORDED["models"][name]["parts"][part]["aer"]
    assert measured(name, part)["aer"] <= recorded + RECORDED["margins"]["aer"]


@pytest.mark.parametrize(("name", "part"), CASES)
def test_translations_are_no_worse_than_recorded(name: str, part: str) -> None:
    recorded = RECORDED["models"][name]["parts"][part]["chrf"]
    assert measured(name, part)["chrf"] >= recorded - RECORDED["margins"]["chrf"]


def test_every_built_in_model_is_measured_on_the_part_for_tuning() -> None:
    built_in = {path.parent.name for path in MODELS.glob("*/manifest.json")}
    assert {name for name, part in CASES if part == "tune"} == built_in
