"""`interlinear-export augment`: what becomes of hand-made pairs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.cli import main
from tests.model_export.commands import fail

PAIRS = [
    ("We saw Tom.", "Nous avons vu Tom."),
    ("Tom runs.", "Tom court."),
    ("You and we run.", "Vous et nous courons."),
    ("You sing.", "Vous chantez."),
    ("Who sings?", "Qui chante ?"),
    ("No.", "Non !"),
    (".", "."),
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS), encoding="utf-8")
    return path


def augment(pairs: Path, joined: int, unpunctuated: int, seed: int = 1) -> list[list[str]]:
    output = pairs.with_name("more.tsv")
    options = ("--joined", joined, "--unpunctuated", unpunctuated, "--seed", seed, "--output", output)
    assert main([*map(str, ("augment", "--input", pairs, *options))]) == 0
    return [line.split("\t") for line in output.read_text(encoding="utf-8").splitlines()]


def test_statements_are_joined_by_commas_and_written_as_inside_of_sentences(pairs: Path) -> None:
    # "we" and "nous" stand inside of a sentence in lower case; Tom is always Tom; "you" and "vous" never do.
    inside = dict(
        zip([source for source, _ in PAIRS], ["we saw Tom", "Tom runs", "You and we run", "You sing"], strict=False)
    )
    seen = set()
    for seed in range(8):
        ((source, target),) = augment(pairs, joined=1, unpunctuated=0, seed=seed)
        clauses = source.removesuffix(".").split(", ")
        assert source.endswith(".")
        assert target.endswith(".")
        assert 2 <= len(clauses) == len(target.split(", ")) <= 4
        first, *others = clauses
        assert f"{first}." in inside
        assert set(others) <= set(inside.values())
        assert len({each.lower() for each in clauses}) == len(clauses)
        if "we saw Tom" in others:
            assert target.split(", ")[clauses.index("we saw Tom")].rstrip(".") == "nous avons vu Tom"
        seen.add(source)
    assert len(seen) > 1  # the seed chooses


def test_full_stops_are_left_out_on_both_sides(pairs: Path) -> None:
    found = augment(pairs, joined=0, unpunctuated=4)
    assert sorted(map(tuple, found)) == sorted(tuple(side.removesuffix(".") for side in pair) for pair in PAIRS[:4])
    assert found == augment(pairs, joined=0, unpunctuated=4)


def test_too_few_statements_are_refused(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = pairs.with_name("more.tsv")
    arguments = ("augment", "--input", pairs, "--joined", 1, "--unpunctuated", 1, "--output", output)
    assert "4 pairs end in a full stop on both sides; --joined and --unpunctuated need up to 5" in fail(
        capsys, *arguments
    )
    assert not output.exists()


@pytest.mark.parametrize("option", ["--joined", "--unpunctuated"])
def test_counts_below_zero_are_refused(pairs: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = fail(capsys, "augment", "--input", pairs, "--output", pairs.with_name("more.tsv"), option, "-1")
    assert message == "--joined and --unpunctuated: must be at least 0"
