"""Translations by source length: bands and joined pairs worked out by hand, repetition and cuts counted."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import sacrebleu

from model_export.cli import main
from model_export.corpus_readers import Corpus, SentencePair
from model_export.length_evaluation import LengthBand, is_repetitive, judge_band, split_by_length
from service.bundle.reader import read_bundle
from tests.model_export.commands import fail
from tests.reversing_task import random_sentences, write_pairs
from tests.service.translation_fakes import (
    GREEDY,
    EchoDecoder,
    ScriptedDecoder,
    WordTokenizer,
    hypothesis,
    make_translator,
    translate_with,
)


def words(count: int, mark: str = "") -> str:
    return " ".join(["word"] * count) + mark


def bands_of(*pairs: tuple[str, str]) -> dict[str, list[tuple[str, str]]]:
    corpus = Corpus("made up", [SentencePair(*pair) for pair in pairs], list(range(1, len(pairs) + 1)))
    return {band.name: list(band.pairs) for band in split_by_length(corpus)}


# --- Bands ------------------------------------------------------------------------------------------------------


def test_a_band_has_the_pairs_of_its_length_without_their_marks() -> None:
    sources = [words(10, " , - !"), words(11), words(20, "?"), words(21, "?"), words(40), words(41)]
    bands = bands_of(*((source, "x") for source in sources))
    assert bands["1-10 words"] == [(sources[0], "x")]
    assert bands["11-20 words"] == [(sources[1], "x"), (sources[2], "x")]
    assert bands["21-40 words"] == [(sources[3], "x"), (sources[4], "x")]


def test_neighbours_are_joined_until_they_are_long_enough_and_the_rest_is_left_out() -> None:
    first, second, third, fourth, fifth = ((words(count, "!"), f"t{count}") for count in (20, 20, 30, 15, 6))
    bands = bands_of(first, second, third, fourth, fifth, (words(3, "!"), "t3"))
    assert bands["21-40 words, sentences joined"] == [
        (f"{first[0]} {second[0]}", "t20 t20"),
        (f"{fourth[0]} {fifth[0]}", "t15 t6"),
    ]


def test_statements_become_clauses_whose_first_words_are_written_as_inside_of_sentences() -> None:
    long, name = f"We saw {words(9)}.", f"Tom {words(9)}."
    bands = bands_of(
        (f"I think we {words(8)}.", "Je pense que nous aussi."),
        (f"Do they {words(9)}?", "Nous ?"),
        (name, "Tom."),  # with the pair before the last 21 words
        (long, "Nous."),
        (name.replace("Tom", "Then Tom"), "Alors Tom."),
    )
    assert bands["21-40 words, joined by commas"] == [
        (f"I think we {words(8)}, Tom {words(9)}.", "Je pense que nous aussi, Tom."),
        (f"{long[:-1]}, Then Tom {words(9)}.", "Nous, Alors Tom."),  # neither word was seen inside, so both stay
    ]
    [(source, target)] = bands_of((f"So we {words(8)}.", "Et nous."), (long, "Nous."))["21-40 words, joined by commas"]
    assert (source, target) == (f"So we {words(8)}, we saw {words(9)}.", "Et nous, nous.")


def test_bands_without_pairs_are_left_out() -> None:
    assert list(bands_of((words(5), "x"))) == ["1-10 words"]


# --- Figures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("translation", "reference", "expected"),
    [
        ("a b c d, A B C D.", "?", True),
        ("a b c d, a b c d.", "a b c d x A b c d", False),
        ("a b c d a b c d a b c d", "a b c d x a b c d", True),
        ("a b c, a b c.", "?", False),
        ("a b c d", "?", False),
    ],
)
def test_a_run_of_four_words_may_come_as_often_as_in_the_reference(
    translation: str, reference: str, expected: bool
) -> None:
    assert is_repetitive(translation, reference) is expected


def test_a_band_is_scored_and_its_cut_translations_are_counted() -> None:
    tokenizer = WordTokenizer()
    ids = (tokenizer.id_of("la"),) * 5  # "la la la la" stands there twice
    cut = ScriptedDecoder((hypothesis(ids, [[1.0, 0.0]] * 5, finished=False),))
    [looping] = asyncio.run(make_translator(cut, tokenizer).translate(["song"], GREEDY))
    pairs = (SentencePair("some tea", "some coffee"), SentencePair("song", "la chanson"))
    figures = judge_band(LengthBand("short", pairs), [translate_with(EchoDecoder(), "some tea"), looping])
    assert (figures.pairs, figures.truncated, figures.repetitive) == (2, 0.5, 0.5)
    expected = sacrebleu.corpus_chrf(["some tea", "la la la la la"], [["some coffee", "la chanson"]]).score
    assert figures.chrf == round(expected, 2)


# --- The command ------------------------------------------------------------------------------------------------


def test_figures_by_length_are_printed_written_and_recorded(
    reversing_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(reversing_bundle, tmp_path / "reverser"))
    write_pairs(tmp_path / "test.tsv", random_sentences(8, seed=5))
    files = ("--test", str(tmp_path / "test.tsv"), "--json", str(tmp_path / "out.json"))
    options = ("--beam-size", "1", "--by-length", "--record")
    assert main(["evaluate", "--bundle", str(bundle), *files, *options]) == 0

    short, joined = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["by_length"]
    assert (short["band"], short["pairs"]) == ("1-10 words", 8)
    assert (joined["band"], joined["pairs"]) == ("21-40 words, sentences joined", 2)  # four of 6 or 7 words each
    scores = {score.metric: score for score in read_bundle(bundle).manifest.scores}
    assert scores["chrF (1-10 words)"].value == scores["chrF"].value == short["chrf"] > 90
    recorded = scores["repetitive (21-40 words, sentences joined)"]
    assert recorded.value == round(100 * joined["repetitive"], 2)
    assert recorded.signature == "pairs:2|percent|run:4"
    assert recorded.command.endswith("--beam-size 1 --length-penalty 1.0 --test test.tsv --by-length")
    assert f"  1-10 words                           8  {short['chrf']:.2f}    0.0    0.0\n" in capsys.readouterr().out
    assert "| cut at the length limit (1-10 words) | 0.00 |" in (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_lengths_need_a_test_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(capsys, "evaluate", "--bundle", "b", "--gold", "g", "--by-length") == "--by-length: needs --test"
