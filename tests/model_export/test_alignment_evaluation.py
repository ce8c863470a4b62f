"""Alignment error rate by hand, and the command on a language whose alignment is known exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_export.alignment_evaluation import align_gold, judge_aligned, judge_links, tune_rule
from model_export.cli import main
from model_export.evaluation import load_bundle, load_run
from model_export.gold_alignments import GoldPair, GoldSet, read_gold
from model_export.run_directory import RunDirectory
from service.bundle.reader import read_bundle
from service.domain import AlignmentRule
from tests.reversing_task import random_sentences, reverse

ONE = GoldPair("a b c", "x y", frozenset({(0, 0), (1, 1)}), frozenset({(0, 0), (1, 1), (2, 1)}), 3, 2)
OTHER = GoldPair("a", "x", frozenset({(0, 0)}), frozenset({(0, 0)}), 1, 1)


def test_figures_are_those_of_the_definition_over_all_pairs() -> None:
    # Found: 3 links, of which 2 are possible and 1 is sure; 3 links are sure.
    figures = judge_links([{(0, 0), (2, 1), (2, 0)}, set()], [ONE, OTHER])
    assert figures.precision == pytest.approx(2 / 3)
    assert figures.recall == pytest.approx(1 / 3)
    assert figures.aer == pytest.approx(1 - (1 + 2) / (3 + 3))
    assert figures.links == 3
    assert figures.unlinked_source_words == pytest.approx(2 / 4)  # b, and the a of the other pair
    assert figures.unlinked_target_words == pytest.approx(1 / 3)  # the x of the other pair


def test_all_right_and_nothing_found_are_the_ends() -> None:
    assert judge_links([set(ONE.possible), set(OTHER.sure)], [ONE, OTHER]).aer == 0
    nothing = judge_links([set(), set()], [ONE, OTHER])
    assert (nothing.aer, nothing.precision, nothing.recall) == (1, 1, 0)


def reversed_gold(path: Path, count: int) -> Path:
    """Gold links of sentences in reverse order: the first word is the last one of the other side."""
    lines = ["id\tpart\ttags\ten\tne\tlinks"]
    for number, sentence in enumerate(random_sentences(count, seed=6)):
        size = len(sentence.split())
        links = " ".join(f"{place}-{size - 1 - place}" for place in range(size))
        lines.append(f"{number}\t{'odd' if number % 2 else 'even'}\tx\t{sentence}\t{reverse(sentence)}\t{links}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reversed_gold(tmp_path_factory.mktemp("gold") / "gold.tsv", count=40)


def test_tuning_finds_what_is_best_on_its_grid(reversing_bundle: Path, gold: Path) -> None:
    model, part = load_bundle(reversing_bundle, None), read_gold(gold, "odd")
    candidates = tune_rule(model, part)
    best = candidates[0]
    assert [tuned.aer for tuned in candidates] == sorted(tuned.aer for tuned in candidates)
    assert judge_aligned(align_gold(model, part, best.rule), part).aer == best.aer
    assert {tuned.rule.remaining_threshold for tuned in candidates} == {None, 0.05, 0.1, 0.2}
    for rule in (AlignmentRule(), AlignmentRule(0.3, 0.0), AlignmentRule(0.3, 0.5), AlignmentRule(0.9, 0.0, 0.05)):
        assert judge_aligned(align_gold(model, part, rule), part).aer >= best.aer


def test_keras_and_graphs_align_alike(reversing_run: RunDirectory, reversing_bundle: Path, gold: Path) -> None:
    pairs = read_gold(gold)
    runs = (load_run(reversing_run.path), load_bundle(reversing_bundle, "fp32"))
    trained, exported = (align_gold(model, pairs, AlignmentRule()) for model in runs)
    for one, other in zip(trained, exported, strict=True):
        assert one.hypotheses[0].alignments[0].pharaoh == other.hypotheses[0].alignments[0].pharaoh
        assert one.hypotheses[0].log_prob == pytest.approx(other.hypotheses[0].log_prob, abs=1e-3)


def test_words_of_the_shared_task_format_are_aligned_as_given(reversing_bundle: Path) -> None:
    sides = (("a", "b c", "d", "e", "f"), ("f", "e", "d", "c b", "a"))
    points = frozenset((place, 4 - place) for place in range(5))
    pairs = GoldSet("made up", None, (GoldPair(*sides, points, points, 5, 5),))
    [aligned] = align_gold(load_bundle(reversing_bundle, None), pairs, AlignmentRule())
    assert [word.text for word in aligned.source.words] == list(sides[0])
    assert aligned.hypotheses[0].alignments[0].words is not None
    assert aligned.hypotheses[0].alignments[0].words.shape == (5, 5)


# --- The command ------------------------------------------------------------------------------------------------


def evaluate(*arguments: Any) -> int:
    return main(["evaluate", *map(str, arguments)])


def test_figures_are_printed_written_and_recorded(
    reversing_bundle: Path, gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(reversing_bundle, tmp_path / "reverser"))
    tuning = ("--part", "odd", "--tune-threshold", "--record")
    assert evaluate("--bundle", bundle, "--gold", gold, *tuning) == 0
    tuned = read_bundle(bundle).manifest.alignment
    assert "tuned: relative threshold" in capsys.readouterr().out

    written = tmp_path / "figures.json"
    report = ("--part", "even", "--reverse-bundle", bundle, "--json", written, "--record")
    assert evaluate("--bundle", bundle, "--gold", gold, *report) == 0
    shown = capsys.readouterr().out
    found = json.loads(written.read_text(encoding="utf-8"))["alignment"]
    assert (found["gold"], found["pairs"], found["tuned_here"]) == ("gold.tsv (even)", 20, False)
    assert found["rule"] == tuned.model_dump()
    assert set(found["figures"]) == {"one direction", "intersection", "grow-diag-final-and", "union", "mean"}
    model, part = load_bundle(bundle, None), read_gold(gold, "even")
    expected = judge_aligned(align_gold(model, part, tuned.rule), part)
    assert found["figures"]["one direction"]["aer"] == expected.aer
    assert f"{100 * expected.aer:.2f}" in shown

    manifest = read_bundle(bundle).manifest
    assert manifest.alignment == tuned
    scores = {(score.metric, score.data): score for score in manifest.scores}
    score = scores["AER", "gold.tsv (even)"]
    assert (score.value, score.precision, score.beam_size) == (round(100 * expected.aer, 2), "int8", None)
    rule = f"threshold:{tuned.threshold:g}|relative:{tuned.relative_threshold:g}"
    if tuned.remaining_threshold is not None:
        rule += f"|remaining:{tuned.remaining_threshold:g}"
    assert score.signature.startswith(f"forced|words|pairs:20|bahdanau|offset:0|{rule}|reverse-")
    assert score.command == (
        "interlinear-export evaluate --bundle reverser --precision int8 --gold gold.tsv --part even "
        "--reverse-bundle reverser"
    )
    assert ("AER (union)", "gold.tsv (even)") in scores
    assert ("AER", "gold.tsv (odd)") in scores
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"at least {tuned.threshold:g} that has at least" in card
    assert f"| AER | {score.value:.2f} | gold.tsv (even) | int8 |  |" in card


def test_translations_and_alignments_can_be_measured_together(
    reversing_bundle: Path, gold: Path, tmp_path: Path
) -> None:
    sentences = tmp_path / "test.tsv"
    sentences.write_text("a b c d e f\tf e d c b a\n", encoding="utf-8")
    written = tmp_path / "figures.json"
    options = ("--test", sentences, "--gold", gold, "--swap", "--json", written)
    assert evaluate("--bundle", reversing_bundle, *options) == 0
    found = json.loads(written.read_text(encoding="utf-8"))
    assert found["metrics"][0]["name"] == "BLEU"
    assert found["coverage"]["unfinished"] == 0
    assert found["speed"]["sentences_per_s"] > 0
    assert found["alignment"]["pairs"] == 40


def test_words_without_links_are_counted_by_the_rule_that_was_tuned(
    reversing_bundle: Path, gold: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(reversing_bundle, tmp_path / "reverser"))
    sentences = tmp_path / "test.tsv"
    sentences.write_text("a b c d e f\tf e d c b a\n", encoding="utf-8")
    tuning = ("--gold", gold, "--part", "odd", "--tune-threshold", "--record")
    assert evaluate("--bundle", bundle, "--test", sentences, *tuning) == 0
    manifest = read_bundle(bundle).manifest
    [score] = [score for score in manifest.scores if score.metric == "target words without link"]
    tuned = manifest.alignment
    assert tuned.rule != AlignmentRule()
    assert f"|threshold:{tuned.threshold:g}|relative:{tuned.relative_threshold:g}" in score.signature


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "--test: there is nothing to measure without it or --gold"),
        (("--gold", "x.tsv", "--tune-threshold"), "--tune-threshold: needs --part"),
        (("--test", "x.tsv", "--part", "tune"), "--part: needs --gold"),
        (("--test", "x.tsv", "--tune-threshold", "--part", "tune"), "--part: needs --gold"),
        (("--gold", "x.tsv", "--translations", "y.txt"), "--translations: needs --test"),
        (("--test", "x.tsv", "--reverse-bundle", "y"), "--reverse-bundle: needs --gold"),
    ],
)
def test_options_that_need_others_say_so(
    options: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--bundle", "anywhere", *options) == 1
    assert complaint in capsys.readouterr().err
