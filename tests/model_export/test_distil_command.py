"""`interlinear-export distil`: hand-made hypotheses; which are chosen, which are left out, and that all are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_export.cli import main
from model_export.distillation import Choice, choose, find_best, find_nearest, parse_translation
from service.cli import main as run_service
from tests.model_export.commands import fail


def hypothesis(text: str, score: float | None, finished: bool = True) -> dict[str, Any]:
    return {"text": text, "score": score, "log_prob": -9.0, "sentences": [{"finished": True}, {"finished": finished}]}


def translated(source: str, *hypotheses: dict[str, Any]) -> dict[str, Any]:
    """What `interlinear translate --jsonl` says of a text, as far as it matters here, and a field more."""
    return {"source": {"text": source, "words": []}, "hypotheses": list(hypotheses)}


def scored(source: str, score: float) -> dict[str, Any]:
    """A source with one hypothesis."""
    return translated(source, hypothesis(source.upper(), score))


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


MODELS = ("--models-dir", str(Path(__file__).parents[1] / "data"), "--built-in-models", "false", "--log-level", "error")

# The references of "the cat" are reached by its second hypothesis and, nearly, by the third; "a dog" has one reference,
# from which its hypotheses are equally far.
REFERENCES = "the cat\tdas Tier\nthe cat\tdie Katze\na dog\tein Hund\n"
CAT = translated("the cat", hypothesis("der Kater", -0.1), hypothesis("die Katze", -0.2), hypothesis("die Katz", -0.3))
DOG = translated("a dog", hypothesis("xyz", -0.4), hypothesis("XYZ", -0.5))


@pytest.fixture
def references(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text(REFERENCES, encoding="utf-8")
    return path


def run(tmp_path: Path, lines: list[dict[str, Any]], *options: str | Path) -> list[str]:
    """Runs the command on one file, with the output in a directory of its own; returns its lines."""
    path, output = write(tmp_path / "in.jsonl", lines), tmp_path / "out" / "pairs.tsv"
    assert main(["distil", "--input", str(path), "--output", str(output), *map(str, options)]) == 0
    assert [each.name for each in output.parent.iterdir()] == [output.name]
    return output.read_text(encoding="utf-8").split("\n")


# --- Choosing -----------------------------------------------------------------------------------------------------


def test_the_nearest_is_nearest_to_any_of_the_references() -> None:
    texts = ["der Kater", "die Katze", "die Katz", "das Tier"]
    assert find_nearest(texts, ["die Katze"]) == 1
    assert find_nearest(texts[2:], ["die Katze"]) == 0
    assert find_nearest(texts, ["zzz", "das Tier"]) == 3


def test_of_equally_near_hypotheses_the_higher_rank_is_taken() -> None:
    assert find_nearest(["xyz", "ab", "ab"], ["ab"]) == 1
    assert find_nearest(["xyz", "XYZ"], ["ab"]) == 0


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, []), (0.2, [3]), (0.4, [1, 3]), (0.6, [1, 2, 3]), (0.74, [1, 2, 3, 4]), (1.0, [0, 1, 2, 3, 4])],
)
def test_the_best_share_is_rounded_and_takes_the_first_of_equals(share: float, expected: list[int]) -> None:
    scores = np.array([-np.inf, -0.5, -0.7, -0.1, -0.7])
    assert np.flatnonzero(find_best(scores, share)).tolist() == expected


@pytest.mark.parametrize("references", [[], ["die Katze"]])
def test_hypotheses_that_cannot_be_trained_on_are_passed_over(references: list[str]) -> None:
    bad = [hypothesis("die Katze", -0.1, finished=False), hypothesis(" ", -0.2), hypothesis("die\tKatze", -0.3)]
    line = translated(" the cat ", *bad, hypothesis(" der Kater ", None))
    translation = parse_translation("", json.dumps(line).encode())
    assert choose(translation, references) == Choice("the cat", "der Kater", 3, -np.inf)


# --- The command --------------------------------------------------------------------------------------------------


def test_references_choose_and_scores_choose_where_there_are_none(
    tmp_path: Path, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [scored("b", -0.9), scored("c", -0.2), scored("d", -0.7)]
    lines = [others[0], CAT, others[1], DOG, scored("c", -0.1), others[2], translated("e\tf", hypothesis("E", -0.1))]
    chosen = run(tmp_path, lines, "--references", references, "--keep-share", "0.67")
    assert chosen == ["the cat\tdie Katze", "c\tC", "a dog\txyz", "d\tD", ""]
    assert capsys.readouterr().out.splitlines() == [
        f"{references}: 3 pairs",
        f"{tmp_path / 'in.jsonl'}: 7 lines",
        "  left out: repeated source: 1 (line 5)",
        "  left out: tab or line break in the text: 1 (line 7)",
        "2 sources with references; ranks of the chosen: 1: 1, 2: 1",
        "0 sources of references without a usable translation",
        "3 sources without references: 2 kept, 1 left out by score (those below -0.7000)",
        f"wrote 4 pairs to {tmp_path / 'out' / 'pairs.tsv'}",
    ]


def test_without_references_all_best_hypotheses_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, [DOG, CAT]) == ["a dog\txyz", "the cat\tder Kater", ""]
    assert "2 sources without references: 2 kept, 0 left out by score\n" in capsys.readouterr().out


def test_references_that_are_not_used_are_counted(
    tmp_path: Path, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = translated("a dog", hypothesis("ein Hund", -0.1, finished=False))
    assert run(tmp_path, [cut, CAT], "--references", references) == ["the cat\tdie Katze", ""]
    shown = capsys.readouterr().out
    assert "  left out: cut at the length limit: 1 (line 1)\n" in shown
    assert "\n1 sources of references without a usable translation\n" in shown


def test_with_swap_the_target_is_the_first_column_of_both_files(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("die Katze\tthe cat\n", encoding="utf-8")
    assert run(tmp_path, [CAT, DOG], "--references", path, "--swap") == ["die Katze\tthe cat", "xyz\ta dog", ""]


def test_several_files_are_read_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write(tmp_path / "1", [scored("b", -0.9)]), write(tmp_path / "2", [CAT, scored("b", -0.1)])
    output = tmp_path / "out.tsv"
    assert main(["distil", "--input", str(first), str(second), "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == "b\tB\nthe cat\tder Kater\n"
    assert f"{second}: 2 lines\n  left out: repeated source: 1 (line 2)\n" in capsys.readouterr().out


def test_what_the_service_writes_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts, hypotheses, output = tmp_path / "text", tmp_path / "hypotheses", tmp_path / "out.tsv"
    texts.write_text("the cat sat\n\na dog ran. the cat\n", encoding="utf-8")
    assert run_service(["translate", *MODELS, str(texts)]) == 0
    cat, _, dog = capsys.readouterr().out.splitlines()
    options = ("--jsonl", "--alignment", "none", "--num-hypotheses", "2")
    assert run_service(["translate", *MODELS, *options, str(texts)]) == 0
    hypotheses.write_text(capsys.readouterr().out, encoding="utf-8")
    assert main(["distil", "--input", str(hypotheses), "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == f"the cat sat\t{cat}\na dog ran. the cat\t{dog}\n"
    assert "3 lines\n  left out: empty side: 1 (line 2)\n" in capsys.readouterr().out


# --- What is wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"source": {"text": "a"}', "is no valid JSON; was the file written to its end?"),
        (b"", "is no valid JSON; was the file written to its end?"),
        (b"\xff", "is no valid JSON; was the file written to its end?"),
        (b'{"source": {"text": "a"}, "hypotheses": []}', "hypotheses: Tuple should have at least 1 item"),
        (b'{"source": {"text": "a"}, "hypotheses": [{"text": "b"}]}', "hypotheses.0.score: Field required"),
        (b'{"source": "a", "target": "b"}', "source: Input should be an object; `interlinear translate --jsonl` "),
    ],
)
def test_a_malformed_line_is_named_and_nothing_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes, problem: str
) -> None:
    before = run(tmp_path, [CAT])
    path, output = tmp_path / "in.jsonl", tmp_path / "out" / "pairs.tsv"
    path.write_bytes(path.read_bytes() + line + b"\n")
    shown = fail(capsys, "distil", "--input", path, "--output", output)
    assert shown.startswith(f"{path}: line 2: {problem}")
    assert output.read_text(encoding="utf-8").split("\n") == before
    assert [each.name for each in output.parent.iterdir()] == [output.name]


def test_references_for_other_sources_are_refused(
    tmp_path: Path, references: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "in.jsonl", [CAT, DOG])
    options = ("--references", references, "--swap", "--output", tmp_path / "out.tsv")
    shown = fail(capsys, "distil", "--input", path, *options)
    assert shown.startswith(f"{references}: holds no reference for any source of {path}; ")
    assert not (tmp_path / "out.tsv").exists()


def test_a_file_without_any_pair_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = write(tmp_path / "in.jsonl", [CAT]), tmp_path / "out.tsv"
    shown = fail(capsys, "distil", "--input", path, "--output", output, "--keep-share", "0.2")
    assert shown == f"{output}: not written, as no pair is left"
    assert not output.exists()


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan"])
def test_a_share_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str) -> None:
    arguments = ("--input", tmp_path / "missing", "--output", tmp_path / "out.tsv", f"--keep-share={share}")
    assert fail(capsys, "distil", *arguments) == f"--keep-share: must be 0 to 1, not {share}"


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    shown = fail(capsys, "distil", "--input", missing, "--output", tmp_path / "out.tsv")
    assert shown == f"{missing}: No such file or directory"
