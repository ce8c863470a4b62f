"""The whole pipeline: text -> sentences -> tokens -> decoding -> target sentences -> target text with its alignment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from service.alignment import DEFAULT_RULE, AlignmentDetail, align, choose_rows
from service.analysis import analyse_decoded, analyse_sentences, has_words, join_sentences
from service.bundle.tokenizer import Tokenizer
from service.capitals import can_begin_in_capitals, to_lower_case
from service.decoding.jobs import default_length_limit
from service.decoding.lane import Hypotheses
from service.decoding.progress import Listener
from service.diagnostics import diagnose
from service.domain import (
    AlignmentRule,
    Alternative,
    Alternatives,
    AnalysedText,
    DecodingJob,
    DecodingOptions,
    FloatArray,
    Mechanism,
    TranslatedText,
)
from service.errors import InvalidRequestError, TextTooLongError
from service.findings import DEFAULT_OMISSION_RULE, Finding, OmissionRule
from service.threads import run_aside
from service.unknown_words import UnknownWords
from service.whole_text import Decoded, Wanted, join_decoded


class Decoder(Protocol):
    """What decodes: `service.engine.Engine`."""

    async def decode(self, jobs: Sequence[DecodingJob], listener: Listener | None = None) -> list[Hypotheses]:
        """The hypotheses of each job, best first, at least one; a listener may be told of them before."""
        ...

    def reserve(self, sentences: int) -> AbstractContextManager[None]:
        """Keeps room for sentences while their texts are taken apart, or raises UnavailableError before any is."""
        ...


def count_texts(texts: Sequence[str]) -> int:
    """How many sentences texts have at least."""
    return sum(map(has_words, texts))


@dataclass(frozen=True, slots=True)
class TranslatorLimits:
    """What a model may be asked for, in tokens of one sentence, end of sentence included.

    `preferred_source_tokens`: the longest sentence that is not parted though it could be; None if that is
    `max_source_tokens`.
    """

    max_source_tokens: int
    max_decoding_length: int
    preferred_source_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A source text in sentences or their parts (ranges begin at 0 in each), and the separators around them."""

    field: str
    sentences: list[AnalysedText]
    separators: list[str]


@lru_cache(maxsize=1024)  # few lengths, and mostly the same options
def _with_limit(options: DecodingOptions, max_decoding_length: int) -> DecodingOptions:
    return replace(options, max_decoding_length=max_decoding_length)


class Translator:
    """Translates texts with one model.

    Args:
        tokenizer: the model's.
        decoder: what runs the model.
        limits: what it may be asked for.
        mechanisms: its attention mechanisms, the primary first; empty only where no alignment is ever asked for.
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
        self.tokenizer = tokenizer
        self.decoder = decoder
        self._limits = limits
        self.mechanisms = tuple(mechanisms)
        self.rule = rule
        self.omission_rule = omission_rule

    async def translate(
        self,
        texts: Sequence[str],
        options: DecodingOptions,
        target_prefix: str | None = None,
        alignment: AlignmentDetail = "soft",
        diagnostics: bool = False,
    ) -> list[TranslatedText]:
        """Translates every text, all sentences together in one call of the decoder.

        White space between sentences and at a text's ends is kept, line breaks too, and so is what has no letter and no
        digit; a text of nothing else, the empty one included, is its own translation, with no sentences and no call of
        the model. A sentence that is longer than the model takes, or translates well, is parted at pauses, and its
        parts count as sentences. Hypothesis k of a text joins the k-th hypotheses of its sentences, the last where
        there are fewer. Its `log_prob` is the sum over the sentences. Its `score` is their mean: comparable between
        texts of any length, the sentence's own score where there is one sentence, and never better for a later
        hypothesis.

        A sentence in capitals is read as `service.capitals` says; with a prefix, only if that is in capitals too.

        Alignment matrices stand on the hypothesis where the text has one sentence and on each sentence where it has
        several; links are on the hypothesis, between words of the whole text.

        Args:
            texts: any texts.
            options: how to decode each sentence.
            target_prefix: what the translation of each text begins with; each must then be a single sentence.
            alignment: how much of it to give: `none`, `hard` (links) or `soft` (matrices too).
            diagnostics: whether to look for signs of words left out, repeated or linked at random.

        Raises:
            TextTooLongError: a sentence has more tokens than the model takes and no pause; `field` names the text.
            InvalidRequestError: a length or the prefix cannot be served.
            UnavailableError: the engine takes no work at the moment.
        """
        wanted = Wanted(alignment, diagnostics, options.replace_unknowns and not target_prefix)
        length = sum(map(len, texts)) + len(target_prefix or "")
        with self.decoder.reserve(count_texts(texts)):
            sources, jobs = await run_aside(length, lambda: self.prepare(texts, options, target_prefix))
        hypotheses = iter(await self.decoder.decode(jobs) if jobs else [])
        return await run_aside(
            length * options.num_hypotheses,
            lambda: [
                self.put_together(
                    source, [self.read(each, next(hypotheses), wanted) for each in source.sentences], wanted
                )
                for source in sources
            ],
        )

    def prepare(
        self, texts: Sequence[str], options: DecodingOptions, target_prefix: str | None
    ) -> tuple[list[Source], list[DecodingJob]]:
        """Takes the texts apart and makes a job of each of their sentences, in order."""
        limits = self._limits
        longest = limits.preferred_source_tokens or limits.max_source_tokens
        if target_prefix:
            longest = limits.max_source_tokens  # it belongs to one sentence, which is left whole if that can be
        in_capitals = None if can_begin_in_capitals(target_prefix or "") else False
        sources = [self._take_apart(f"text[{index}]", text, longest, in_capitals) for index, text in enumerate(texts)]
        prefix_ids = self._prefix_ids(target_prefix, sources)
        suppressed_ids = self._suppressed_ids(options.suppressed_tokens)
        sentences = [each for source in sources for each in source.sentences]
        return sources, [self._job(each, options, prefix_ids[each.in_capitals], suppressed_ids) for each in sentences]

    def _take_apart(self, field: str, text: str, preferred_tokens: int, in_capitals: bool | None) -> Source:
        limit = self._limits.max_source_tokens
        sentences, separators = analyse_sentences(text, self.tokenizer, min(preferred_tokens, limit), in_capitals)
        longest = max((len(sentence.tokens) for sentence in sentences), default=0)
        if longest > limit:
            raise TextTooLongError(
                f"{field}: a sentence that cannot be parted has {longest} tokens; the model takes at most {limit} "
                "(end of sentence included)",
                field,
            )
        return Source(field, sentences, separators)

    def _prefix_ids(self, target_prefix: str | None, sources: Sequence[Source]) -> dict[bool, tuple[int, ...]]:
        """What sentences begin with, by whether they are in capitals."""
        if not target_prefix:
            return {False: (), True: ()}
        written = {False: target_prefix, True: to_lower_case(target_prefix)}
        prefix_ids = {each: tuple(token.id for token in self.tokenizer.encode(written[each])) for each in written}
        if not prefix_ids[False]:
            return prefix_ids
        kinds = {sentence.in_capitals for source in sources for sentence in source.sentences}
        if any(self.tokenizer.unk_id in prefix_ids[each] for each in kinds):
            raise InvalidRequestError("target_prefix: holds characters that the model cannot write", "target_prefix")
        for source in sources:
            if len(source.sentences) != 1:
                name = source.field if len(sources) > 1 else "the text"
                raise InvalidRequestError(
                    f"target_prefix: needs a text of one sentence that the model takes whole; {name} has "
                    f"{len(source.sentences)}",
                    "target_prefix",
                )
        return prefix_ids

    def _suppressed_ids(self, tokens: Sequence[str]) -> tuple[int, ...]:
        ids: list[int] = []
        for index, piece in enumerate(tokens):
            field = f"suppressed_tokens[{index}]"
            token_id = self.tokenizer.find_piece(piece)
            if token_id is None:
                raise InvalidRequestError(f"{field}: is no token of the model (answers show its tokens)", field)
            if token_id == self.tokenizer.eos_id:
                raise InvalidRequestError(f"{field}: the end of the sentence cannot be suppressed", field)
            ids.append(token_id)
        return tuple(ids)

    def _job(
        self,
        sentence: AnalysedText,
        options: DecodingOptions,
        prefix_ids: tuple[int, ...],
        suppressed_ids: tuple[int, ...],
    ) -> DecodingJob:
        source_ids = tuple(token.id for token in sentence.tokens)
        most, least = self._limits.max_decoding_length, options.min_decoding_length
        length = options.max_decoding_length
        if length is None:
            length = min(most, max(least, len(prefix_ids) + default_length_limit(len(source_ids))))
        elif length > most:
            raise InvalidRequestError(f"max_decoding_length: must be at most {most}", "max_decoding_length")
        return DecodingJob(source_ids, _with_limit(options, length), prefix_ids, suppressed_ids)

    def read(self, sentence: AnalysedText, hypotheses: Hypotheses, wanted: Wanted) -> list[Decoded]:
        """Turns what search found for a sentence into text with what is wanted besides."""
        decoded: list[Decoded] = []
        for each in hypotheses:
            attentions = choose_rows((each.attention, *each.other_attentions), self.mechanisms)
            unknown = UnknownWords(sentence, self.tokenizer, wanted.copied_unknowns)
            replacements = unknown.replace(each.target_ids, attentions[0])
            target = analyse_decoded(each.target_ids, self.tokenizer, replacements, sentence.in_capitals)
            pairs = zip(self.mechanisms, attentions, strict=True)
            decoded.append(
                Decoded(
                    hypothesis=each,
                    target=target,
                    alignments=align(pairs, sentence, target, wanted.alignment, self.rule),
                    alternatives=tuple(self.alternatives(each.alternatives)),
                    findings=self._diagnose(attentions, sentence, target) if wanted.diagnostics else (),
                )
            )
        return decoded

    def _diagnose(
        self, attentions: Sequence[FloatArray], sentence: AnalysedText, target: AnalysedText
    ) -> tuple[Finding, ...]:
        pairs = list(zip(self.mechanisms, attentions, strict=True))
        return diagnose(pairs, sentence, target, self.omission_rule)

    def put_together(self, source: Source, decoded: Sequence[Sequence[Decoded]], wanted: Wanted) -> TranslatedText:
        """Builds the answer to one text from the hypotheses of each of its sentences, best first."""
        whole = join_sentences(source.sentences, source.separators)
        count = max(map(len, decoded), default=1)
        chosen = ([best_first[min(k, len(best_first) - 1)] for best_first in decoded] for k in range(count))
        joined = (join_decoded(whole, source.separators, each, self.mechanisms, wanted) for each in chosen)
        return TranslatedText(whole, tuple(joined))

    def alternatives(self, found: Alternatives | None) -> list[tuple[Alternative, ...]]:
        """The alternatives at each token, with their pieces."""
        if found is None:
            return []
        tokenizer = self.tokenizer
        positions = zip(found.ids.tolist(), found.log_probs.tolist(), strict=True)
        return [
            tuple(
                Alternative(tokenizer.piece(token_id), log_prob, tokenizer.is_special(token_id))
                for token_id, log_prob in zip(ids, log_probs, strict=True)
            )
            for ids, log_probs in positions
        ]
