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


def augment(
    pairs: Path, joined: int = 0, unpunctuated: int = 0, lowercased: int = 0, seed: int = 1, swap: bool = False
) -> list[list[str]]:
    output = pairs.with_name("more.tsv")
    counts = ("--joined", joined, "--unpunctuated", unpunctuated, "--lowercased", lowercased)
    options = (*counts, "--seed", seed, "--output", output, *(["--swap"] if swap else []))
    assert main([*map(str, ("augment", "--input", pairs, *options))]) == 0
    return [line.split("\t") for line in output.read_text(encoding="utf-8").splitlines()]


def test_statements_are_joined_by_commas_and_written_as_inside_of_sentences(pairs: Path) -> None:
    # "we" and "nous" stand inside of a sentence in lower case; Tom is always Tom; "you" and "vous" never do.
    inside = dict(
        zip([source for source, _ in PAIRS], ["we saw Tom", "Tom runs", "You and we run", "You sing"], strict=False)
    )
    seen = set()
    for seed in range(8):
        ((source, target),) = augment(pairs, joined=1, seed=seed)
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
    found = augment(pairs, unpunctuated=4)
    assert sorted(map(tuple, found)) == sorted(tuple(side.removesuffix(".") for side in pair) for pair in PAIRS[:4])
    assert found == augment(pairs, unpunctuated=4)


@pytest.mark.parametrize("swap", [False, True])
def test_sources_are_lower_case_and_every_second_pair_loses_its_full_stop(pairs: Path, swap: bool) -> None:
    found = augment(pairs, lowercased=6, swap=swap)
    source, target = (1, 0) if swap else (0, 1)
    originals = {pair[source].lower().removesuffix("."): pair for pair in PAIRS}
    for index, pair in enumerate(found):
        original = originals.pop(pair[source].removesuffix("."))
        stops = index % 2 == 0 or original not in PAIRS[:4]  # only statements have a full stop to lose
        assert pair[source] == (original[source] if stops else original[source].removesuffix(".")).lower()
        assert pair[target] == (original[target] if stops else original[target].removesuffix("."))
    assert list(originals) == [""]  # the pair without a capital letter


def test_nothing_is_written_in_lower_case_unless_asked_for(pairs: Path) -> None:
    output = pairs.with_name("more.tsv")
    assert main([*map(str, ("augment", "--input", pairs, "--joined", 0, "--unpunctuated", 0, "--output", output))]) == 0
    assert output.read_bytes() == b""


def test_too_few_statements_are_refused(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = pairs.with_name("more.tsv")
    arguments = ("augment", "--input", pairs, "--joined", 1, "--unpunctuated", 1, "--output", output)
    assert "4 pairs end in a full stop on both sides; --joined and --unpunctuated need up to 5" in fail(
        capsys, *arguments
    )
    assert not output.exists()


def test_too_few_capital_letters_are_refused(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = pairs.with_name("more.tsv")
    counts = ("--joined", 0, "--unpunctuated", 0, "--lowercased", 7)
    assert "6 pairs have capital letters in the source; --lowercased needs 7" in fail(
        capsys, "augment", "--input", pairs, *counts, "--output", output
    )
    assert not output.exists()


@pytest.mark.parametrize("option", ["--joined", "--unpunctuated", "--lowercased"])
def test_counts_below_zero_are_refused(pairs: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = fail(capsys, "augment", "--input", pairs, "--output", pairs.with_name("more.tsv"), option, "-1")
    assert message == "--joined, --unpunctuated and --lowercased: must be at least 0"
