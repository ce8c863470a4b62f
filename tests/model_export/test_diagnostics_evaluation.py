"""Diagnostics are judged on gold pairs with words deleted and doubled: counted by hand on one pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_export.cli import main
from model_export.diagnostics_evaluation import measure_diagnostics
from model_export.evaluation import load_bundle
from model_export.gold_alignments import GoldPair, GoldSet
from tests.data.record_gold_figures import FOLDER, MODELS

BUNDLE = MODELS / "eng-fra"


def one_pair(*possible: tuple[int, int]) -> GoldSet:
    links = frozenset(possible)
    return GoldSet("made up", None, (GoldPair("I like tea.", "J'aime le thé.", links, links, 4, 5),))


def test_cases_are_counted() -> None:
    figures = measure_diagnostics(load_bundle(BUNDLE, None), one_pair((0, 0), (1, 1), (2, 2), (2, 3), (3, 4)))
    # Words deleted: "I" and "like" lose their only counterpart, "tea" keeps one of two, `le` and `thé` each.
    assert figures["unattended_source_word"].cases == 2
    # Doubled at once: all four words; two words further on: the first three, the last of them behind the full stop.
    assert figures["repeated_target_word"].cases == 7


def test_wrong_links_are_what_diffuse_attention_should_tell() -> None:
    figures = measure_diagnostics(load_bundle(BUNDLE, None), one_pair((3, 4)))
    assert figures["diffuse_target_word"].cases == 4  # all words but the full stop


def test_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = tmp_path / "gold.tsv"
    lines = (FOLDER / "eng-fra.tsv").read_text(encoding="utf-8").split("\n")
    tune = [line for line in lines if line.split("\t")[1:2] == ["tune"]]
    gold.write_text("\n".join([lines[0], *tune[:3]]) + "\n", encoding="utf-8")
    written = tmp_path / "figures.json"
    arguments = ["--bundle", str(BUNDLE), "--gold", str(gold), "--diagnostics", "--json", str(written)]
    assert main(["evaluate", *arguments]) == 0
    found = json.loads(written.read_text(encoding="utf-8"))["diagnostics"]
    assert set(found) == {"unattended_source_word", "repeated_target_word", "diffuse_target_word"}
    assert f"{100 * found['repeated_target_word']['recall']:.1f}" in capsys.readouterr().out


def test_diagnostics_need_gold_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("a ||| b\n", encoding="utf-8")
    (tmp_path / "a.gold").write_text("1-1\n", encoding="utf-8")
    assert main(["evaluate", "--bundle", str(BUNDLE), "--gold", str(tmp_path / "a.gold"), "--diagnostics"]) == 1
    assert "--diagnostics: needs a gold file with texts" in capsys.readouterr().err
