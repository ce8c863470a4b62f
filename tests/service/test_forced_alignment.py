"""Given pairs, scored and aligned as they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.domain import AlignmentRule, DecodingJob, Hypothesis, Sentence, TranslatedText
from service.errors import OverloadedError, TextTooLongError
from service.forced_alignment import Aligner, AligningOptions, GivenPair
from service.threads import SHORT_TEXT
from service.translator import TranslatorLimits
from tests.service.translation_fakes import (
    EOS,
    ONE_MECHANISM,
    TWO_MECHANISMS,
    UNK,
    FullDecoder,
    RoomyDecoder,
    UnusedTokenizer,
    WordTokenizer,
    hypothesis,
)


class ForcedDecoder(RoomyDecoder):
    """Gives every job back what it forces; target token t attends to source token t, the rest to the end."""

    def __init__(self) -> None:
        self.calls: list[tuple[DecodingJob, ...]] = []

    async def decode(self, jobs: Sequence[DecodingJob]) -> list[tuple[Hypothesis, ...]]:
        self.calls.append(tuple(jobs))
        return [(self.force(job),) for job in jobs]

    @staticmethod
    def force(job: DecodingJob) -> Hypothesis:
        columns = np.minimum(np.arange(len(job.prefix_ids)), len(job.source_ids) - 1)
        return hypothesis(job.prefix_ids, np.eye(len(job.source_ids))[columns], log_prob=-float(len(job.prefix_ids)))


def align(pairs: Sequence[GivenPair], decoder: Any = None, **options: Any) -> list[TranslatedText]:
    aligner = Aligner(WordTokenizer(), decoder or ForcedDecoder(), TranslatorLimits(8, 12), ONE_MECHANISM)  # type: ignore[arg-type]
    return asyncio.run(aligner.align(pairs, AligningOptions(**options)))


def test_pairs_without_room_are_refused_before_any_is_taken_apart() -> None:
    aligner = Aligner(UnusedTokenizer(), FullDecoder(), TranslatorLimits(8, 12), ONE_MECHANISM)  # type: ignore[arg-type]
    with pytest.raises(OverloadedError, match="no room for 2"):
        asyncio.run(aligner.align([GivenPair("a", "b"), GivenPair("c", "d")]))


def align_one(source: Any, target: Any, **options: Any) -> TranslatedText:
    [aligned] = align([GivenPair(source, target)], **options)
    return aligned


def test_the_whole_target_is_forced_its_end_and_unknown_words_included() -> None:
    decoder = ForcedDecoder()
    align([GivenPair("I see", "je vois ☃"), GivenPair("☃", "☃")], decoder, length_penalty=0.5)
    [[job, other]] = decoder.calls
    assert (job.source_ids[-1], job.prefix_ids[-2:], job.complete) == (EOS, (UNK, EOS), True)
    assert (job.options.beam_size, job.options.max_decoding_length, job.options.length_penalty) == (1, 4, 0.5)
    assert (other.source_ids, other.prefix_ids) == ((UNK, EOS), (UNK, EOS))


def test_both_sides_keep_their_text_and_ranges() -> None:
    aligned = align_one(" I see.\n", "\tJe vois  ☃ ! ")
    [given] = aligned.hypotheses
    assert (aligned.source.text, given.target.text) == (" I see.\n", "\tJe vois  ☃ ! ")
    assert [(token.text, token.start, token.end) for token in given.target.tokens] == [
        ("Je", 1, 3),
        ("vois", 4, 8),
        ("☃", 10, 11),
        ("!", 12, 13),
        ("</s>", 13, 13),
    ]
    assert aligned.source.sentences == (Sentence(1, 7, tokens=(0, 4), words=(0, 3)),)
    [unit] = given.sentences
    assert unit.target == Sentence(1, 13, tokens=(0, 5), words=(0, 4))
    assert (unit.log_prob, given.log_prob, given.token_log_probs.tolist()) == (-5.0, -5.0, [-1.0] * 5)
    assert unit.finished
    assert given.alignments[0].pharaoh == "0-0 1-1 2-2"  # the fourth word attends to the end of sentence


def test_several_sentences_are_one_unit() -> None:
    aligned = align_one("No. Yes.", "Non. Si.")
    assert len(aligned.source.sentences) == len(aligned.hypotheses[0].sentences) == 1
    alignment = aligned.hypotheses[0].alignments[0]
    assert alignment.tokens is not None
    assert alignment.tokens.shape == (5, 5)
    assert alignment.pharaoh == "0-0 1-1 2-2 3-3"


def test_links_refer_to_the_words_that_are_given() -> None:
    aligned = align_one(("New York", "do", "n't", "."), "a b c d e")
    assert aligned.source.text == "New York don't."
    assert [word.text for word in aligned.source.words] == ["New York", "do", "n't", "."]
    # five tokens on either side: "New York" has two of them
    assert aligned.hypotheses[0].alignments[0].pharaoh == "0-0 0-1 1-2 2-3 3-4"


@pytest.mark.parametrize(("source", "target"), [("", "je"), ("I", " \n"), ("", ""), ((), ("je",)), ("\u200b", ())])
def test_a_side_of_nothing_is_scored_and_has_no_links(source: Any, target: Any) -> None:
    aligned = align_one(source, target)
    [given] = aligned.hypotheses
    assert given.target.tokens[-1].special
    assert given.log_prob == -len(given.target.tokens)
    assert given.alignments[0].links == ()
    words = given.alignments[0].words
    assert words is not None
    assert words.shape == (len(given.target.words), len(aligned.source.words))


def test_details_and_threshold_are_the_callers() -> None:
    assert align_one("I see", "je vois", alignment="none").hypotheses[0].alignments == ()
    [hard] = align_one("I see", "je vois", alignment="hard").hypotheses[0].alignments
    assert (hard.tokens, hard.words, hard.pharaoh) == (None, None, "0-0 1-1")

    class Halved(ForcedDecoder):
        @staticmethod
        def force(job: DecodingJob) -> Hypothesis:
            forced = ForcedDecoder.force(job)
            return hypothesis(forced.target_ids, forced.attention / 2)

    pairs = [GivenPair("I see", "je vois")]
    assert align(pairs, Halved(), threshold=0.5)[0].hypotheses[0].alignments[0].pharaoh == "0-0 1-1"
    assert align(pairs, Halved(), threshold=0.51)[0].hypotheses[0].alignments[0].pharaoh == ""


def test_the_rule_of_the_model_holds_for_rows_and_mechanisms() -> None:
    class Two(ForcedDecoder):
        @staticmethod
        def force(job: DecodingJob) -> Hypothesis:
            forced = ForcedDecoder.force(job)
            both = forced.attention, forced.attention[:, ::-1]
            return Hypothesis(forced.target_ids, forced.token_log_probs, -1.0, -1.0, both[0], True, (both[1],))

    mechanisms = [replace(mechanism, row_offset=1) for mechanism in TWO_MECHANISMS]
    rule = AlignmentRule(0.5, 1.0)
    aligner = Aligner(WordTokenizer(), Two(), TranslatorLimits(8, 8), mechanisms, rule)  # type: ignore[arg-type]
    [aligned] = asyncio.run(aligner.align([GivenPair("a b c", "x y z")]))
    # target word t attends as the step after it does: to source word t + 1; mirrored, to 3 - (t + 1)
    assert [each.pharaoh for each in aligned.hypotheses[0].alignments] == ["1-0 2-1", "0-2 1-1 2-0"]


@pytest.mark.parametrize(
    ("source", "target", "field", "message"),
    [
        ("a " * 8, "x", "source[1]", "source[1]: has 9 tokens; at most 8 are aligned"),
        ("a", "x " * 12, "target[1]", "target[1]: has 13 tokens; at most 12 are aligned"),
        (("a",) * 8, "x", "source_words[1]", "source_words[1]: has 9 tokens"),
        ("a", ("x",) * 12, "target_words[1]", "target_words[1]: has 13 tokens"),
    ],
)
def test_what_is_too_long_is_refused_not_cut(source: Any, target: Any, field: str, message: str) -> None:
    decoder = ForcedDecoder()
    with pytest.raises(TextTooLongError) as caught:
        align([GivenPair("a", "x"), GivenPair(source, target)], decoder)
    assert caught.value.field == field
    assert str(caught.value).startswith(message)
    assert decoder.calls == []


def test_nothing_to_align_needs_no_decoder() -> None:
    decoder = ForcedDecoder()
    assert align([], decoder) == []
    assert decoder.calls == []


def test_much_text_is_aligned_like_little() -> None:
    pair = GivenPair("a b", "x y")
    many = align([pair] * SHORT_TEXT)
    assert {each.hypotheses[0].alignments[0].pharaoh for each in many} == {"0-0 1-1"}
