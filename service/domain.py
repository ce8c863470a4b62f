"""The values that travel through the service: plain, frozen, free of any framework.

All character ranges are half-open and count Unicode code points of the caller's original text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from service.findings import Finding

IntArray: TypeAlias = npt.NDArray[np.int32]
FloatArray: TypeAlias = npt.NDArray[np.float32]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

SearchMode: TypeAlias = Literal["default", "tfa"]
"""Whose semantics search has: the service's own, or those of TensorFlow Addons (see `service.decoding.tfa`)."""


@dataclass(frozen=True, slots=True)
class Token:
    """One subword of a text; special tokens (end of sentence) have an empty range at the text's end."""

    id: int
    text: str
    start: int
    end: int
    special: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text, as `service.bundle.words` defines words."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The token ids with a meaning of their own: padding, start and end of a sentence, unknown character."""

    pad: int
    bos: int
    eos: int
    unk: int


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One of a model's attention mechanisms; `normalized`: its rows sum to 1, otherwise to at most 1.

    `row_offset`: 0 if a token's attention is that of the step that produced it, 1 if of the step that read it.
    """

    name: str
    normalized: bool
    row_offset: int = 0


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How one sentence is to be decoded. Lengths count target tokens, end of sentence included.

    Attributes:
        beam_size: hypotheses kept at every step; 1 is greedy search.
        num_hypotheses: how many are wanted, best first; with sampling, how many samples are drawn.
        length_penalty: the exponent of Wu et al. 2016 (arXiv:1609.08144), equation 14.
        coverage_penalty: the weight beta there.
        max_decoding_length: None lets the translator derive a limit from the source length.
        min_decoding_length: no sentence ends before.
        repetition_penalty: what the log-probability of tokens that are there already is multiplied by; 1 for none.
        no_repeat_ngram_size: no sequence of so many tokens comes twice; 0 allows all.
        suppressed_tokens: tokens (pieces, as answers show them) that are never produced.
        sampling_top_k: draws each token from so many of the best, in place of a search; 0 for none.
        sampling_temperature: divides the log-probabilities that are drawn from; the greater, the more evenly.
        seed: of the draws. Samples depend on it and on the sentence, on nothing else in the batch.
        num_alternatives: how many of the model's best tokens to name at every target position.
        replace_unknowns: copies source words that the model does not know; see `service.unknown_words`.
        search_mode: `tfa` searches as TensorFlow Addons does.
    """

    beam_size: int = 4
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    max_decoding_length: int | None = None
    min_decoding_length: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    suppressed_tokens: tuple[str, ...] = ()
    sampling_top_k: int = 0
    sampling_temperature: float = 1.0
    seed: int = 0
    num_alternatives: int = 0
    replace_unknowns: bool = False
    search_mode: SearchMode = "default"

    @property
    def rows(self) -> int:
        """Decoder rows that a sentence may need at a time."""
        return self.num_hypotheses if self.sampling_top_k else self.beam_size


@dataclass(frozen=True, slots=True)
class DecodingJob:
    """One sentence to decode.

    Attributes:
        source_ids: ends with the end-of-sentence id.
        options: how.
        prefix_ids: what is forced first.
        suppressed_ids: the ids of the options' `suppressed_tokens`.
        complete: `prefix_ids` are the whole target, unknown tokens and its end of sentence included: nothing is chosen,
            all is scored.
    """

    source_ids: tuple[int, ...]
    options: DecodingOptions
    prefix_ids: tuple[int, ...] = ()
    suppressed_ids: tuple[int, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What the model held best at each position of a hypothesis, whatever was chosen there.

    Attributes:
        ids: int32 (target_len, alternatives), best first.
        log_probs: float32, likewise; over the whole vocabulary, before any option changes them.
    """

    ids: IntArray
    log_probs: FloatArray


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One decoded target sequence.

    Attributes:
        target_ids: tokens after the start token, the end-of-sentence id included if it was produced.
        token_log_probs: natural log-probability of each of `target_ids`, float32 (target_len,).
        log_prob: their sum, raw.
        score: `log_prob`, after the repetition penalty, divided by the length penalty, plus the coverage penalty; what
            hypotheses are ranked by.
        attention: float32 (target_len, source_len) of the primary mechanism; row t belongs to the step that produced
            token t.
        finished: whether the end-of-sentence token was produced (False: cut at the length limit).
        other_attentions: likewise of the model's other mechanisms, in their order; empty where it has one.
        alternatives: what else the model held likely, if the job asks for it.
    """

    target_ids: tuple[int, ...]
    token_log_probs: FloatArray
    log_prob: float
    score: float
    attention: FloatArray
    finished: bool
    other_attentions: tuple[FloatArray, ...] = ()
    alternatives: Alternatives | None = None


@dataclass(frozen=True, slots=True)
class SettledTokens:
    """Tokens of a sentence under way that will not change any more: all its hypotheses begin with them.

    Attributes:
        first: how many tokens stand before them.
        target_ids: the tokens.
        token_log_probs: float32 (tokens,).
        attentions: float32 (tokens, source_len) of each mechanism, the primary first.
        alternatives: as of a `Hypothesis`.
    """

    first: int
    target_ids: tuple[int, ...]
    token_log_probs: FloatArray
    attentions: tuple[FloatArray, ...]
    alternatives: Alternatives | None = None


@dataclass(frozen=True, slots=True)
class AlignmentRule:
    """How a model's attention becomes links; `service.alignment.hard_links` says what each value does."""

    threshold: float = 0.1
    relative_threshold: float = 1.0
    remaining_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A hard alignment link between word indices, with the weight the soft matrix gives it."""

    source: int
    target: int
    weight: float


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a longer text: its character range and its tokens' and words' index ranges (half-open)."""

    start: int
    end: int
    tokens: tuple[int, int]
    words: tuple[int, int]


@dataclass(frozen=True, slots=True)
class AnalysedText:
    """A text with its sentences, tokens and words; every range refers to the whole text."""

    text: str
    sentences: tuple[Sentence, ...]
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    in_capitals: bool = False  # a sentence that the model reads or writes in lower case, as `service.capitals` says


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the attention of one mechanism says about one hypothesis.

    Attributes:
        mechanism: whose attention it is.
        tokens: (target tokens, source tokens), or None where it is not asked for or not defined.
        words: (target words, source words), likewise.
        links: hard links between word indices, ordered by source, then target.
    """

    mechanism: Mechanism
    tokens: FloatArray | None
    words: FloatArray | None
    links: tuple[Link, ...]

    @property
    def pharaoh(self) -> str:
        """The links as `source-target` pairs separated by spaces."""
        return " ".join(f"{link.source}-{link.target}" for link in self.links)


@dataclass(frozen=True, slots=True)
class SentenceTranslation:
    """One sentence inside a translated text: where it stands on both sides, and its own alignments.

    `alignments` holds one for each mechanism, the primary first; none where they are not asked for or where those of
    the whole text say the same.
    """

    source: Sentence
    target: Sentence
    log_prob: float
    score: float
    finished: bool
    alignments: tuple[Alignment, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that the model held likely at some place; `text` is its piece, `log_prob` natural."""

    text: str
    log_prob: float
    special: bool


@dataclass(frozen=True, slots=True)
class TranslatedHypothesis:
    """One translation of a whole text; what is not asked for is empty, or None.

    `token_log_probs` has one entry per target token; `alignments` one for each mechanism, the primary first;
    `alternatives` one entry per target token, best first; `findings` what diagnostics found.
    """

    target: AnalysedText
    token_log_probs: FloatArray
    log_prob: float
    score: float
    alignments: tuple[Alignment, ...]
    sentences: tuple[SentenceTranslation, ...]
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    findings: tuple[Finding, ...] | None = None


@dataclass(frozen=True, slots=True)
class TranslatedText:
    """A source text and its hypotheses, best first."""

    source: AnalysedText
    hypotheses: tuple[TranslatedHypothesis, ...]
