"""Diagnostics are judged on gold pairs with words deleted and doubled: counted by hand on one pair."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from model_export.cli import main
from model_export.diagnostics_evaluation import measure_diagnostics, tune_omissions
from model_export.evaluation import load_bundle
from model_export.gold_alignments import GoldPair, GoldSet, read_gold
from service.bundle.reader import read_bundle
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
    heuristics = {"unattended_source_word", "repeated_target_word", "diffuse_target_word"}
    assert set(found) == heuristics | {"omission_rule"}
    assert f"{100 * found['repeated_target_word']['recall']:.1f}" in capsys.readouterr().out


def test_the_rule_for_words_left_out_is_tuned_by_what_is_measured() -> None:
    model, gold = load_bundle(BUNDLE, None), read_gold(FOLDER / "eng-fra.tsv", "tune")
    few = replace(gold, pairs=gold.pairs[:8])
    best, *others = tune_omissions(model, few)
    figures = measure_diagnostics(replace(model, omission_rule=best.rule), few)["unattended_source_word"]
    assert (best.precision, best.recall) == (figures.precision, figures.recall)
    assert best.f1 == pytest.approx(2 / (1 / figures.precision + 1 / figures.recall))
    assert all(other.f1 <= best.f1 for other in others)
    assert 0 < figures.recall < 1


def test_there_is_nothing_to_tune_where_no_attention_looks_back() -> None:
    model = load_bundle(BUNDLE, None)
    ahead = replace(model, mechanisms=tuple(replace(each, row_offset=0) for each in model.mechanisms))
    assert tune_omissions(ahead, one_pair((0, 0), (1, 1))) == []


def test_the_tuned_rule_and_its_figures_are_recorded(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "eng-fra"))
    before = read_bundle(bundle).manifest.omission
    gold, written = tmp_path / "gold.tsv", tmp_path / "figures.json"
    gold.write_text("\n".join((FOLDER / "eng-fra.tsv").read_text(encoding="utf-8").split("\n")[:9]) + "\n", "utf-8")
    arguments = [
        "--bundle",
        str(bundle),
        "--gold",
        str(gold),
        "--part",
        "tune",
        "--diagnostics",
        "--json",
        str(written),
    ]
    assert main(["evaluate", *arguments, "--tune-threshold", "--record"]) == 0
    manifest = read_bundle(bundle).manifest
    found = json.loads(written.read_text(encoding="utf-8"))["diagnostics"]
    assert manifest.omission.model_dump() == found["omission_rule"] != before.model_dump()
    here = [score for score in manifest.scores if score.data.startswith(gold.name)]
    [score] = [score for score in here if score.metric == "unattended_source_word precision"]
    assert score.value == round(100 * found["unattended_source_word"]["precision"], 2)
    assert score.signature.endswith(f"|expected:{manifest.omission.expected_from:g}")
    assert score.command.endswith("--part tune --diagnostics")
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    for heuristic in ("unattended_source_word", "repeated_target_word", "diffuse_target_word"):
        metric = f"{heuristic} findings per intact sentence"
        [score] = [score for score in here if score.metric == metric]
        assert score.value == round(found[heuristic]["findings_per_intact_sentence"], 4)
        assert score.command.endswith("--part tune --diagnostics")
        assert f"| {metric} | {score.value:.2f} |" in card


def test_diagnostics_need_gold_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("a ||| b\n", encoding="utf-8")
    (tmp_path / "a.gold").write_text("1-1\n", encoding="utf-8")
    assert main(["evaluate", "--bundle", str(BUNDLE), "--gold", str(tmp_path / "a.gold"), "--diagnostics"]) == 1
    assert "--diagnostics: needs a gold file with texts" in capsys.readouterr().err
