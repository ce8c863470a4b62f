"""Forced alignment: a given translation is decoded token by token as it stands, which scores and aligns it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from service.alignment import DEFAULT_RULE, AlignmentDetail, align, choose_rows
from service.analysis import analyse_whole, join_sentences
from service.bundle.tokenizer import Tokenizer
from service.diagnostics import diagnose
from service.domain import (
    AlignmentRule,
    AnalysedText,
    DecodingJob,
    DecodingOptions,
    Hypothesis,
    Mechanism,
    SentenceTranslation,
    TranslatedHypothesis,
    TranslatedText,
)
from service.errors import TextTooLongError
from service.findings import DEFAULT_OMISSION_RULE, OmissionRule
from service.given_words import join_words
from service.symmetrisation import Symmetrisation, symmetrise_pairs
from service.threads import run_aside
from service.translator import Decoder, TranslatorLimits

GivenText: TypeAlias = str | Sequence[str]
"""One side of a pair: a text, whose words the service finds, or its words."""


@dataclass(frozen=True, slots=True)
class GivenPair:
    """A text and its translation; a list of words stands for itself, links then refer to exactly these words."""

    source: GivenText
    target: GivenText

    @property
    def length(self) -> int:
        """Characters of both sides."""
        return sum(len(side) if isinstance(side, str) else sum(map(len, side)) for side in (self.source, self.target))


@dataclass(frozen=True, slots=True)
class AligningOptions:
    """How pairs are aligned.

    Attributes:
        alignment: how much of it to give.
        length_penalty: of the score, as in `DecodingOptions`.
        threshold: least weight of any link of a model, for `mean` of the mean of both; None for the model's own rule.
        backward: the model is of the other direction: it reads the target and is made to produce the source.
        diagnostics: whether to look for signs of words left out, repeated or linked at random.
    """

    alignment: AlignmentDetail = "soft"
    length_penalty: float = DecodingOptions().length_penalty
    threshold: float | None = None
    backward: bool = False
    diagnostics: bool = False


@dataclass(frozen=True, slots=True)
class _Side:
    """A side of a pair: the text without white space at its ends, and that white space."""

    text: AnalysedText
    separators: tuple[str, str]


class Aligner:
    """Aligns given pairs with one model.

    Args:
        tokenizer: the model's.
        decoder: what runs the model.
        limits: what it may be asked for.
        mechanisms: its attention mechanisms, the primary first.
        rule: how its attention becomes alignment.
        omission_rule: what speaks for a word's having been left out.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        decoder: Decoder,
        limits: TranslatorLimits,
        mechanisms: Sequence[Mechanism],
        rule: AlignmentRule = DEFAULT_RULE,
        omission_rule: OmissionRule = DEFAULT_OMISSION_RULE,
    ) -> None:
        self._tokenizer = tokenizer
        self._decoder = decoder
        self._limits = limits
        self._mechanisms = tuple(mechanisms)
        self._rule = rule
        self.omission_rule = omission_rule

    async def align(
        self, pairs: Sequence[GivenPair], options: AligningOptions = AligningOptions()
    ) -> list[TranslatedText]:
        """Scores and aligns every pair, all together in one call of the decoder.

        A pair is one unit, however many sentences it has: which of them belong together is not known. The model is made
        to produce the target, its end included, so `log_prob` is that of the whole target. A side without visible
        characters is an end of sentence alone; it is scored like any other and has no links.

        Args:
            pairs: any texts.
            options: how.

        Returns:
            Each pair with its target as the only hypothesis; sides change places where `backward` is set.

        Raises:
            TextTooLongError: a side has more tokens than the model takes; `field` names it.
            UnavailableError: the engine takes no work at the moment.
        """
        length = sum(pair.length for pair in pairs)
        with self._decoder.reserve(len(pairs)):
            sides = await run_aside(length, lambda: [self._prepare(*pair, options) for pair in enumerate(pairs)])
        jobs = [_job(source.text, target.text, options) for source, target in sides]
        hypotheses = await self._decoder.decode(jobs) if jobs else []
        return await run_aside(
            length,
            lambda: [
                self._put_together(source, target, best_first[0], options)
                for (source, target), best_first in zip(sides, hypotheses, strict=True)
            ],
        )

    def rule_for(self, options: AligningOptions) -> AlignmentRule:
        """The model's own rule, or one by which no link has less weight than was asked for, whatever remains."""
        if options.threshold is None:
            return self._rule
        return replace(self._rule, threshold=options.threshold, remaining_threshold=None)

    def _prepare(self, index: int, pair: GivenPair, options: AligningOptions) -> tuple[_Side, _Side]:
        """What the model reads, and what it is made to produce."""
        sides = [(f"source[{index}]", pair.source), (f"target[{index}]", pair.target)]
        given, forced = reversed(sides) if options.backward else sides
        limits = self._limits
        return self._take_apart(*given, limits.max_source_tokens), self._take_apart(*forced, limits.max_decoding_length)

    def _take_apart(self, name: str, given: GivenText, limit: int) -> _Side:
        if isinstance(given, str):
            text = given.strip()
            start = given.index(text)
            side = _Side(analyse_whole(text, self._tokenizer), (given[:start], given[start + len(text) :]))
        else:
            name = name.replace("[", "_words[")
            text, words = join_words(given)
            side = _Side(replace(analyse_whole(text, self._tokenizer), words=words), ("", ""))
        if len(side.text.tokens) > limit:
            problem = f"has {len(side.text.tokens)} tokens; at most {limit} are aligned (end of sentence included)"
            raise TextTooLongError(f"{name}: {problem}", name)
        return side

    def _put_together(
        self, source: _Side, target: _Side, hypothesis: Hypothesis, options: AligningOptions
    ) -> TranslatedText:
        rule = self.rule_for(options)
        attentions = choose_rows((hypothesis.attention, *hypothesis.other_attentions), self._mechanisms)
        pairs = list(zip(self._mechanisms, attentions, strict=True))
        alignments = align(pairs, source.text, target.text, options.alignment, rule)
        whole_source = join_sentences([source.text], source.separators)
        whole_target = join_sentences([target.text], target.separators)
        [source_place], [target_place] = whole_source.sentences, whole_target.sentences
        unit = SentenceTranslation(
            source_place, target_place, hypothesis.log_prob, hypothesis.score, hypothesis.finished, alignments=()
        )
        scored = TranslatedHypothesis(
            target=whole_target,
            token_log_probs=hypothesis.token_log_probs,
            log_prob=hypothesis.log_prob,
            score=hypothesis.score,
            alignments=alignments,
            sentences=(unit,),
            findings=diagnose(pairs, source.text, target.text, self.omission_rule) if options.diagnostics else None,
        )
        return TranslatedText(whole_source, (scored,))


def _job(source: AnalysedText, target: AnalysedText, options: AligningOptions) -> DecodingJob:
    target_ids = tuple(token.id for token in target.tokens)
    decoding = DecodingOptions(beam_size=1, length_penalty=options.length_penalty, max_decoding_length=len(target_ids))
    return DecodingJob(tuple(token.id for token in source.tokens), decoding, target_ids, complete=True)


async def align_both_ways(
    forward: Aligner, backward: Aligner, pairs: Sequence[GivenPair], options: AligningOptions, method: Symmetrisation
) -> list[TranslatedText]:
    """Aligns pairs with models of both directions and puts their links, or their matrices, together.

    Args:
        forward: translates the sources.
        backward: translates the targets.
        pairs: any texts.
        options: how.
        method: of putting together.

    Returns:
        What `forward` gives, with links of the primary mechanism of both.

    Raises:
        TextTooLongError: a side is too long for one of the models.
        UnavailableError: an engine takes no work at the moment.
    """
    if options.alignment == "none":
        return await forward.align(pairs, options)
    by_matrices = method == "mean"
    detail: AlignmentDetail = "soft" if by_matrices else options.alignment
    of_other: AlignmentDetail = "soft" if by_matrices else "hard"
    aligned = await forward.align(pairs, replace(options, alignment=detail))
    other = await backward.align(pairs, replace(options, alignment=of_other, backward=True, diagnostics=False))
    length = sum(pair.length for pair in pairs)
    both = await run_aside(length, lambda: symmetrise_pairs(aligned, other, method, forward.rule_for(options)))
    return both if detail == options.alignment else [_without_matrices(text) for text in both]


def _without_matrices(text: TranslatedText) -> TranslatedText:
    """The pair with links alone, as it is with `hard`."""
    [hypothesis] = text.hypotheses
    alignments = tuple(replace(alignment, tokens=None, words=None) for alignment in hypothesis.alignments)
    return replace(text, hypotheses=(replace(hypothesis, alignments=alignments),))
