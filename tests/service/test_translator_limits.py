"""Lengths, prefixes and over-long sentences: what becomes of them in jobs, and what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.bundle.words import find_words
from service.domain import DecodingOptions
from service.errors import InvalidRequestError, TextTooLongError
from tests.service.translation_fakes import EOS, GREEDY, EchoDecoder, make_translator, translate


def test_job_ends_with_end_of_sentence_and_has_a_length_limit() -> None:
    decoder = EchoDecoder()
    translate(["a b c"], decoder=decoder)
    [[job]] = decoder.calls
    assert job.source_ids == (4, 5, 6, EOS)
    assert job.options == replace(GREEDY, max_decoding_length=2 * 4 + 10)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (DecodingOptions(max_decoding_length=5), 5),
        (DecodingOptions(min_decoding_length=30), 30),
        (DecodingOptions(min_decoding_length=60), 60),
    ],
)
def test_length_limit_respects_the_options(options: DecodingOptions, expected: int) -> None:
    decoder = EchoDecoder()
    translate(["a b c"], options, decoder=decoder)
    assert decoder.calls[0][0].options.max_decoding_length == expected


def test_derived_length_limit_stays_within_the_model() -> None:
    decoder = EchoDecoder()
    asyncio.run(make_translator(decoder, max_target=12).translate(["a b c"], GREEDY))
    assert decoder.calls[0][0].options.max_decoding_length == 12


def test_length_beyond_the_model_is_refused() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        translate(["a b c"], DecodingOptions(max_decoding_length=61))
    assert caught.value.field == "max_decoding_length"


def test_cut_hypothesis_is_marked_unfinished() -> None:
    [result] = translate(["a b c. d."], DecodingOptions(beam_size=1, max_decoding_length=3))
    [best] = result.hypotheses
    assert best.target.text == "a b c d ."
    assert [sentence.finished for sentence in best.sentences] == [False, True]


def test_over_long_sentence_without_white_space_is_refused_with_its_index() -> None:
    translate(["short", "a" + "#" * 18])
    with pytest.raises(TextTooLongError, match=r"21 tokens.*at most 20") as caught:
        translate(["short", "a" + "#" * 19])
    assert caught.value.field == "text[1]"


def test_over_long_sentence_is_parted_at_its_strongest_pauses_until_the_parts_fit() -> None:
    text = f" {'a ' * 7}b, {'c ' * 8}d; {'e ' * 11}f, {'g ' * 14}h.\n"
    decoder = EchoDecoder()
    [result] = translate([text], decoder=decoder)
    assert [len(job.source_ids) - 1 for job in decoder.calls[0]] == [19, 13, 16]
    parts = [text[sentence.start : sentence.end] for sentence in result.source.sentences]
    assert [part[-2:] for part in parts] == ["d;", "f,", "h."]
    assert result.source.text == text
    assert result.hypotheses[0].target.text.split() == [word.text for word in find_words(text)]
    assert [text[word.start : word.end] for word in result.source.words] == [word.text for word in result.source.words]


def test_sentence_that_fits_is_left_whole() -> None:
    [result] = translate([f"{'a ' * 8}b, {'c ' * 7}d."])  # 19 tokens and the end of sentence
    assert len(result.source.sentences) == 1


def test_sentence_that_the_model_prefers_in_parts_is_parted_where_it_has_pauses() -> None:
    translator = make_translator(EchoDecoder(), preferred_source=8)
    [result] = asyncio.run(translator.translate([f"a b c d e, f g h i. a{'#' * 14}"], GREEDY))
    assert [sentence.start for sentence in result.source.sentences] == [0, 11, 20]


def test_sentence_with_a_prefix_is_left_whole_where_it_can_be() -> None:
    translator = make_translator(EchoDecoder(), preferred_source=8)
    [result] = asyncio.run(translator.translate(["a b c d e, f g h i."], GREEDY, "Oh"))
    assert result.hypotheses[0].target.text == "Oh a b c d e , f g h i ."


def test_text_is_parted_between_words_where_nothing_else_is_left() -> None:
    decoder = EchoDecoder()
    [result] = translate(["x " * 50], decoder=decoder)
    assert [len(job.source_ids) - 1 for job in decoder.calls[0]] == [12, 13, 12, 13]
    assert result.hypotheses[0].target.text == " ".join("x" * 50) + " "


def test_prefix_of_a_sentence_that_has_to_be_parted_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"takes whole; the text has 2") as caught:
        translate([f"{'a ' * 11}b, {'c ' * 11}d."], prefix="Oh")
    assert caught.value.field == "target_prefix"


def test_prefix_is_forced_and_begins_the_translation() -> None:
    decoder = EchoDecoder()
    [result] = translate(["a b"], prefix=" Oh  la ", decoder=decoder)
    [[job]] = decoder.calls
    assert len(job.prefix_ids) == 2
    assert job.options.max_decoding_length == 2 + 2 * 3 + 10
    [best] = result.hypotheses
    assert best.target.text == "Oh la a b"
    assert [(word.start, word.end) for word in best.target.words] == [(0, 2), (3, 5), (6, 7), (8, 9)]


@pytest.mark.parametrize("prefix", [None, "", "  "])
def test_empty_prefix_forces_nothing(prefix: str | None) -> None:
    assert translate(["a. b."], prefix=prefix)[0].hypotheses[0].target.text == "a . b ."


@pytest.mark.parametrize(
    ("texts", "prefix"), [(["a. b."], "Oh"), (["a.", "b. c."], "Oh"), (["a.", ""], "Oh"), (["a."], "☃")]
)
def test_impossible_prefix_is_refused(texts: list[str], prefix: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        translate(texts, prefix=prefix)
    assert caught.value.field == "target_prefix"
