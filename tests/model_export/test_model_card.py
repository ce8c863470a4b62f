"""The model card says what the manifest says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from model_export.model_card import render_model_card
from service.bundle.manifest import Manifest
from tests.service.tiny_bundle import make_manifest

SCORE = {
    "metric": "BLEU",
    "value": 36.789,
    "signature": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.5.1",
    "data": "test.tsv",
    "precision": "int8",
    "beam_size": 4,
    "command": "interlinear-export evaluate --beam-size 4",
}
DATA = {
    "name": "Village Sentences",
    "pairs": 12345,
    "licence": "CC BY 2.0 FR",
    "attribution": "Sentences by the villagers",
    "source": "https://example.org/sentences",
}


def manifest(**changes: Any) -> Manifest:
    values = make_manifest(("int8",)) | {"files": {}, "training": {"config": {"seed": 7}, "data": [DATA]}}
    return Manifest.model_validate_json(json.dumps(values | changes))


def table_rows(card: str) -> list[list[str]]:
    """The cells of all rows; a `|` inside a cell is escaped."""
    lines = [line for line in card.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_data_is_attributed_with_its_licence() -> None:
    joined = DATA | {"name": "Village Sentences, joined", "pairs": 70}
    letters = DATA | {"name": "Letters", "attribution": "Letters by the villagers"}
    card = render_model_card(manifest(training={"config": {"seed": 7}, "data": [DATA, letters, joined]}))
    source = "From https://example.org/sentences. Licence: CC BY 2.0 FR."
    assert (
        f"Sentences by the villagers. {source}\n\n"
        "- Village Sentences: 12,345 pairs\n- Village Sentences, joined: 70 pairs\n"
        f"\nLetters by the villagers. {source}\n\n- Letters: 12,345 pairs\n"
    ) in card


def test_name_languages_and_limits_are_named() -> None:
    card = render_model_card(manifest(name="owl"))
    assert card.startswith("# owl\n")
    assert "Translates en to fr" in card
    assert "at most 64 subwords" in card
    assert "interlinear-1" in card


@pytest.mark.parametrize("setting", [["seed", "7"], ["attention_mechanism", "luong"], ["cell", "gru"]])
def test_settings_are_listed(setting: list[str]) -> None:
    assert setting in table_rows(render_model_card(manifest()))


def test_every_mechanism_has_a_row_with_its_arguments() -> None:
    settings = [{"name": "luong", "scale": True}, {"name": "luong_monotonic", "mode": "hard", "units": 8}]
    mechanisms = [{"name": "luong", "normalized": True}, {"name": "luong_monotonic", "normalized": False}]
    architecture = {"cell": "gru", "attention": settings, "attention_mechanism": "luong"}
    rows = table_rows(render_model_card(manifest(architecture=architecture, mechanisms=mechanisms)))
    assert ["luong", "primary", "1", "scale: True"] in rows
    assert ["luong_monotonic", "further", "at most 1", "mode: hard, units: 8"] in rows
    assert "attention" not in [row[0] for row in rows]


def test_the_mechanism_of_an_older_bundle_has_a_row_too() -> None:
    assert ["luong", "primary", "1", ""] in table_rows(render_model_card(manifest()))


def test_scores_come_with_all_that_is_needed_to_measure_them_again() -> None:
    rows = table_rows(render_model_card(manifest(scores=[SCORE])))
    [row] = [row for row in rows if row[0] == "BLEU"]
    signature = r"`nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:2.5.1`"
    assert row == ["BLEU", "36.79", "test.tsv", "int8", "4", signature, "`interlinear-export evaluate --beam-size 4`"]
    assert "Commands name bundles and files by the last part of their paths." in render_model_card(
        manifest(scores=[SCORE])
    )


def test_the_link_rule_says_what_becomes_of_words_that_remain() -> None:
    assert "other words have no link." in render_model_card(manifest())
    card = render_model_card(manifest(alignment={"threshold": 0.5, "remaining_threshold": 0.05}))
    assert "words without a link are then linked to each other, heaviest first, each once, from 0.05 on." in card


def test_the_work_of_an_aligner_is_told_from_attention_that_translates() -> None:
    mechanisms = [{"name": "bahdanau", "normalized": True}]
    attention = render_model_card(manifest(mechanisms=mechanisms))
    assert "Alignments are the attention by which the model translates, not the work of an aligner." in attention
    aligner = {"name": "bahdanau_aligner", "normalized": True, "row_offset": 1}
    architecture = {"aligner": {"name": "bahdanau"}, "attention": [{"name": "bahdanau"}]}
    card = render_model_card(manifest(mechanisms=[aligner, *mechanisms], architecture=architecture))
    assert "Alignments are the work of an aligner: an attention mechanism of the model that has no part" in card
    assert "attention by which the model translates" not in card


def test_what_the_service_does_with_capitals_is_told() -> None:
    text = " ".join(render_model_card(manifest()).split())
    assert "the service reads a sentence that is in capitals throughout in lower case if that takes fewer sub" in text


def test_known_weaknesses_have_a_section_if_there_are_any() -> None:
    assert "## Known weaknesses" not in render_model_card(manifest())
    card = render_model_card(manifest(error_analysis="- Rare words are misspelt.\n- Names are translated."))
    assert "\n## Known weaknesses\n\n- Rare words are misspelt.\n- Names are translated.\n\n## Agreement" in card


def test_without_scores_the_card_says_so() -> None:
    assert "None recorded." in render_model_card(manifest())


def test_parity_is_listed_by_precision() -> None:
    precisions = {
        "int8": {
            "encoder": "encoder.int8.onnx",
            "decoder_step": "decoder_step.int8.onnx",
            "parity": {"identical_share": 0.96875, "int8_bleu": 36.5},
        }
    }
    card = render_model_card(manifest(precisions=precisions))
    rows = table_rows(card)
    assert ["int8", "identical_share", "0.96875"] in rows
    assert ["int8", "int8_bleu", "36.5"] in rows
    text = " ".join(card.split())
    assert "on pairs of the dev set, by greedy search" in text
    assert "Graphs of lower precision were compared with the fp32 graphs on all dev pairs" in text
    assert "(`fp32_bleu` and `int8_bleu`)" in text


def test_parity_says_only_what_was_compared() -> None:
    names = {"encoder": "encoder.fp32.onnx", "decoder_step": "decoder_step.fp32.onnx"}
    card = render_model_card(manifest(precisions={"fp32": names | {"parity": {"sentences": 200}}}))
    assert "were compared with the trained model" in card
    assert "Graphs of lower precision" not in card
    unmeasured = render_model_card(manifest(precisions={"fp32": names}))
    assert "## Agreement of the graphs with the trained model\n\nNone recorded.\n" in unmeasured
