"""Other aligners' links beside a model's: words that they are given, figures by hand, what is wrong with files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from model_export.cli import main
from model_export.compared_links import read_compared_links
from model_export.gold_alignments import read_gold
from service.bundle.manifest import Score
from service.bundle.reader import read_bundle
from tests.data.record_gold_figures import MODELS
from tests.model_export.commands import fail

BUNDLE = MODELS / "eng-fra"
GOLD = [
    "id\tpart\ttags\tenglish\tfrench\tlinks",
    "1\ttune\tx\tI like tea.\tJ'aime le thé.\t0-0 1-1 2p2 2-3 3-4",
    "2\treport\tx\tNo.\tNon.\t0-0 1-1",
    "3\ttune\tx\tThanks.\tMerci.\t0-0 1-1",
]
LINKS = ["0-0 1-1 2-2 2-0", "0-0"]
# Of part `tune`: 5 links, of which 4 are possible and 3 sure; 6 links are sure.
AER, PRECISION, RECALL = 1 - (3 + 4) / (5 + 6), 4 / 5, 3 / 6


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write(tmp_path / "gold.tsv", GOLD)


@pytest.fixture
def links(tmp_path: Path) -> Path:
    return write(tmp_path / "other.links", LINKS)


# --- Words ------------------------------------------------------------------------------------------------------


def words_of(directory: Path, *arguments: str | Path) -> dict[str, list[str]]:
    assert main(["words", *map(str, arguments), "--output", str(directory)]) == 0
    return {path.name: path.read_text(encoding="utf-8").splitlines() for path in directory.iterdir()}


def test_words_of_gold_texts_are_those_that_links_count(gold: Path, tmp_path: Path) -> None:
    assert words_of(tmp_path / "words", "--gold", gold, "--part", "tune") == {
        "source.words": ["i like tea .", "thanks ."],
        "target.words": ["j' aime le thé .", "merci ."],
        "pairs.words": ["i like tea . ||| j' aime le thé .", "thanks . ||| merci ."],
    }
    assert words_of(tmp_path / "all", "--gold", gold)["source.words"] == ["i like tea .", "no .", "thanks ."]


def test_words_of_the_shared_task_are_kept_as_they_are_but_for_case(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["Mr. Speaker , don't ||| M. le Président", "O\u2019Neil ||| "])
    gold = write(tmp_path / "a.gold", ["1-1 2p3", ""])
    both = ["mr. speaker , don't ||| m. le président", "<left-out> ||| <left-out>"]
    assert words_of(tmp_path / "words", "--gold", gold)["pairs.words"] == both


def test_only_gold_has_parts(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("words", "--input", gold, "--part", "tune", "--output", tmp_path / "words")
    assert fail(capsys, *arguments) == "--part: needs --gold"


# --- Figures ----------------------------------------------------------------------------------------------------


def test_figures_stand_beside_those_of_the_model(
    gold: Path, links: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = write(tmp_path / "right.links", ["0-0 1-1 2-3 3-4", "0-0 1-1"])
    written = tmp_path / "figures.json"
    files = ("--gold", gold, "--part", "tune", "--json", written)
    compared = ("--compare-links", f"other={links}", f"right={right}")
    assert main(["evaluate", "--bundle", str(BUNDLE), *map(str, files), *compared]) == 0
    found = json.loads(written.read_text(encoding="utf-8"))["alignment"]
    figures = found["figures"]
    assert list(figures) == ["one direction", "links of other", "links of right"]
    other = figures["links of other"]
    assert [other[name] for name in ("aer", "precision", "recall", "links")] == pytest.approx(
        [AER, PRECISION, RECALL, 5]
    )
    assert (other["unlinked_source_words"], other["unlinked_target_words"]) == pytest.approx((2 / 6, 3 / 7))
    assert (figures["links of right"]["aer"], figures["links of right"]["recall"]) == (0, 1)
    assert [(each["name"], each["file"]) for each in found["compared"]] == [
        ("other", "other.links"),
        ("right", "right.links"),
    ]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    [row] = [row for row in rows if row[:3] == ["links", "of", "other"]]
    assert row[3:] == ["36.36", "80.00", "50.00", "5", "33.3%,", "42.9%"]


def recorded(bundle: Path, *arguments: str | Path) -> dict[str, Score]:
    assert main(["evaluate", "--bundle", str(bundle), *map(str, arguments), "--record"]) == 0
    here = [score for score in read_bundle(bundle).manifest.scores if score.data.startswith("gold.tsv")]
    return {score.metric: score for score in here}


def test_figures_are_recorded_under_the_name_of_the_aligner(gold: Path, links: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "eng-fra"))
    compared = ("--compare-links", f"fast_align+gdfa={links}")
    scores = recorded(bundle, "--gold", gold, "--part", "tune", *compared)
    names = ("AER", "link precision", "link recall")
    assert set(scores) == {*names, *(f"{name} (links of fast_align+gdfa)" for name in names)}
    score = scores["AER (links of fast_align+gdfa)"]
    assert (score.value, score.data, score.precision, score.beam_size) == (36.36, "gold.tsv (tune)", "", None)
    assert score.signature.startswith("given|words|pairs:2|links:5|sha256:")
    assert score.command == (
        "interlinear-export evaluate --bundle eng-fra --gold gold.tsv --part tune "
        "--compare-links fast_align+gdfa=other.links"
    )
    assert "--compare-links" not in scores["AER"].command
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| link recall (links of fast_align+gdfa) | 50.00 | gold.tsv (tune) |  |  |" in card

    better = write(links, ["0-0 1-1 2-3 3-4", "0-0 1-1"])
    again = recorded(bundle, "--gold", gold, "--part", "tune", "--compare-links", f"fast_align+gdfa={better}")
    assert set(again) == set(scores)
    assert again[score.metric].value == 0
    assert again[score.metric].signature != score.signature


def test_one_file_of_links_serves_both_directions(gold: Path, links: Path, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    arguments = ["--gold", str(gold), "--part", "tune", "--swap", "--compare-links", f"other={links}"]
    assert main(["evaluate", "--bundle", str(MODELS / "fra-eng"), *arguments, "--json", str(written)]) == 0
    other = json.loads(written.read_text(encoding="utf-8"))["alignment"]["figures"]["links of other"]
    assert [other[name] for name in ("aer", "precision", "recall")] == pytest.approx([AER, PRECISION, RECALL])
    assert (other["unlinked_source_words"], other["unlinked_target_words"]) == pytest.approx((3 / 7, 2 / 6))


def test_words_given_by_the_gold_file_are_what_links_count(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["O'Neil does n't ||| O'Neil ne"])
    gold = write(tmp_path / "a.gold", ["1-1 2p2"])
    links, written = write(tmp_path / "other.links", ["0-0 2-1"]), tmp_path / "figures.json"
    arguments = ["--gold", str(gold), "--compare-links", f"other={links}", "--json", str(written)]
    assert main(["evaluate", "--bundle", str(BUNDLE), *arguments]) == 0
    other = json.loads(written.read_text(encoding="utf-8"))["alignment"]["figures"]["links of other"]
    assert (other["precision"], other["recall"]) == (1 / 2, 1)


# --- What is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["0-0"], "line 2 is missing: gold.tsv (tune) has 2 pairs; each needs a line of links, which may be empty"),
        (
            ["9-9", *LINKS],
            "line 3 is one too many: gold.tsv (tune) has 2 pairs; if these come last, `tail -n 2` takes their lines",
        ),
        (
            ["0-0 1:2", ""],
            "line 1: '1:2' is no link; a link is SOURCE-TARGET, words counted from 0 (0-0 1-2)",
        ),
        (
            ["", "2-0"],
            "line 2: links source word 2, but that side has 2 words; align the words that "
            "`interlinear-export words --gold` writes",
        ),
        (
            ["0-5", ""],
            "line 1: links target word 5, but that side has 5 words; align the words that "
            "`interlinear-export words --gold` writes",
        ),
    ],
)
def test_links_that_cannot_be_are_named_by_file_and_line(
    gold: Path, tmp_path: Path, lines: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    links = write(tmp_path / "other.links", lines)
    arguments = ("--gold", gold, "--part", "tune", "--compare-links", f"other={links}")
    assert fail(capsys, "evaluate", "--bundle", "nowhere", *arguments) == f"{links}: {problem}"


def test_links_of_a_pair_without_words_mean_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["a ||| b", "c ||| "])
    gold = write(tmp_path / "a.gold", ["1-1", ""])
    links = write(tmp_path / "other.links", ["0-0", "0-0"])  # the second is that of <left-out>
    assert read_compared_links("other", links, read_gold(gold)).links == (frozenset({(0, 0)}), frozenset())


def test_what_is_compared_needs_gold_and_names(links: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("evaluate", "--bundle", "nowhere")
    assert fail(capsys, *command, "--test", "x", "--compare-links", f"a={links}") == "--compare-links: needs --gold"
    twice = ("--compare-links", f"a={links}", "--compare-links", f"a={links}")
    assert fail(capsys, *command, "--gold", "x", *twice).startswith("--compare-links: a is there more than once")
    for wrong in (str(links), f"={links}", "a=", "a b=c"):
        with pytest.raises(SystemExit):
            main([*command, "--gold", "x", "--compare-links", wrong])
        assert f"{wrong!r} is not NAME=FILE" in capsys.readouterr().err
