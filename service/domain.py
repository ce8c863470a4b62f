"""The values that travel through the service: plain, frozen, free of any framework.

All character ranges are half-open and count Unicode code points of the caller's original text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IntArray: TypeAlias = npt.NDArray[np.int32]
FloatArray: TypeAlias = npt.NDArray[np.float32]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


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
    """One of a model's attention mechanisms; `normalized`: its rows sum to 1, otherwise to at most 1."""

    name: str
    normalized: bool


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How one sentence is to be decoded. Lengths count target tokens, end of sentence included.

    `max_decoding_length=None` lets the translator derive a limit from the source length.
    `length_penalty` is the exponent of Wu et al. 2016 (arXiv:1609.08144), equation 14;
    `coverage_penalty` the weight beta there.
    """

    beam_size: int = 4
    num_hypotheses: int = 1
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    max_decoding_length: int | None = None
    min_decoding_length: int = 0


@dataclass(frozen=True, slots=True)
class DecodingJob:
    """One sentence to decode: `source_ids` ends with the end-of-sentence id; `prefix_ids` are forced first."""

    source_ids: tuple[int, ...]
    options: DecodingOptions
    prefix_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One decoded target sequence.

    Attributes:
        target_ids: tokens after the start token, the end-of-sentence id included if it was produced.
        token_log_probs: natural log-probability of each of `target_ids`, float32 (target_len,).
        log_prob: their sum, raw.
        score: `log_prob` divided by the length penalty, plus the coverage penalty; what hypotheses are ranked by.
        attention: float32 (target_len, source_len) of the primary mechanism; row t belongs to the step that produced
            token t.
        finished: whether the end-of-sentence token was produced (False: cut at the length limit).
        other_attentions: likewise of the model's other mechanisms, in their order; empty where it has one.
    """

    target_ids: tuple[int, ...]
    token_log_probs: FloatArray
    log_prob: float
    score: float
    attention: FloatArray
    finished: bool
    other_attentions: tuple[FloatArray, ...] = ()


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
class TranslatedHypothesis:
    """One translation of a whole text.

    `token_log_probs` has one entry per target token; `alignments` one for each mechanism, the primary first, and none
    where they are not asked for.
    """

    target: AnalysedText
    token_log_probs: FloatArray
    log_prob: float
    score: float
    alignments: tuple[Alignment, ...]
    sentences: tuple[SentenceTranslation, ...]


@dataclass(frozen=True, slots=True)
class TranslatedText:
    """A source text and its hypotheses, best first."""

    source: AnalysedText
    hypotheses: tuple[TranslatedHypothesis, ...]
