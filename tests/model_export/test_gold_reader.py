"""Gold files of both formats, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.errors import DataError
from model_export.gold_alignments import GoldPair, read_gold

HEADER = "id\tpart\ttags\tenglish\tfrench\tlinks"
OWN_GOLD = Path(__file__).parents[1] / "data" / "gold_alignments" / "eng-fra.tsv"


def write_tsv(directory: Path, *lines: str, header: str = HEADER) -> Path:
    path = directory / "gold.tsv"
    path.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
    return path


def write_shared_task(directory: Path, texts: list[str], links: list[str]) -> Path:
    for suffix, lines in (("txt", texts), ("gold", links)):
        (directory / f"made-up.{suffix}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return directory / "made-up.gold"


def test_own_format_counts_from_0_in_the_words_of_the_service(tmp_path: Path) -> None:
    path = write_tsv(tmp_path, "1\ttune\tclitic\tI don't.\tJe n'ose.\t0-0 2p1 1p2 3-3", "2\treport\tx\tNo\tNon\t0-0")
    gold = read_gold(path)
    assert gold.name == "gold.tsv"
    assert gold.pairs[0] == GoldPair(
        "I don't.", "Je n'ose.", frozenset({(0, 0), (3, 3)}), frozenset({(0, 0), (2, 1), (1, 2), (3, 3)}), 4, 4
    )
    assert read_gold(path, "report").pairs == gold.pairs[1:]
    assert read_gold(path, "report").name == "gold.tsv (report)"


def test_the_format_of_the_shared_task_counts_from_1_in_given_words(tmp_path: Path) -> None:
    path = write_shared_task(tmp_path, ["do n't   ||| n' ose pas  ", "no ||| non"], ["1-2 2p1 2-3", ""])
    gold = read_gold(path)
    assert gold.pairs == (
        GoldPair(
            ("do", "n't"), ("n'", "ose", "pas"), frozenset({(0, 1), (1, 2)}), frozenset({(0, 1), (1, 0), (1, 2)}), 2, 3
        ),
        GoldPair(("no",), ("non",), frozenset(), frozenset(), 1, 1),
    )


def test_sides_can_change_places() -> None:
    pair = GoldPair("a b", "x", frozenset({(1, 0)}), frozenset({(1, 0), (0, 0)}), 2, 1)
    assert pair.swapped == GoldPair("x", "a b", frozenset({(0, 1)}), frozenset({(0, 1), (0, 0)}), 1, 2)
    assert pair.swapped.swapped == pair


def test_the_projects_own_file_has_two_halves() -> None:
    halves = [read_gold(OWN_GOLD, part).pairs for part in ("tune", "report")]
    assert [len(half) for half in halves] == [100, 100]
    assert {pair for half in halves for pair in half} == set(read_gold(OWN_GOLD).pairs)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1\ttune\tx\ta\tb", "gold.tsv:2: has 5 columns, not 6"),
        ("1\ttune\tx\ta\tb\t0-0 1-0", "gold.tsv:2: a link is outside of the sentences, which have 1 and 1 words"),
        ("1\ttune\tx\ta\tb\t0=0", "gold.tsv:2: '0=0' is no link; links are i-j (sure) and ipj (possible)"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(DataError) as caught:
        read_gold(write_tsv(tmp_path, line))
    assert str(caught.value) == f"{tmp_path}/{complaint}"


def test_what_is_no_gold_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its columns must be id, part, tags, two languages, links"):
        read_gold(write_tsv(tmp_path, "a\tb", header="a\tb"))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_gold(tmp_path / "none.tsv")
    with pytest.raises(DataError, match=r"has no part 'dev'; it has tune$"):
        read_gold(write_tsv(tmp_path, "1\ttune\tx\ta\tb\t0-0"), "dev")


def test_files_of_the_shared_task_must_fit_together(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 1 lines, .*made-up\.txt has 2"):
        read_gold(write_shared_task(tmp_path, ["a ||| b", "c ||| d"], ["1-1"]))
    with pytest.raises(DataError, match=r"made-up\.txt:1: must be source \|\|\| target"):
        read_gold(write_shared_task(tmp_path, ["a b"], ["1-1"]))
    with pytest.raises(DataError, match=r"made-up\.gold:1: a link is outside"):
        read_gold(write_shared_task(tmp_path, ["a ||| b"], ["0-1"]))
    with pytest.raises(DataError, match="has no parts"):
        read_gold(write_shared_task(tmp_path, ["a ||| b"], ["1-1"]), "tune")
