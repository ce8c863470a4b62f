"""The public contract, what answers look like; `service.api.request_schemas` has what requests may hold.

The models describe; answers themselves are built as plain values in `service.api.answers`, because validating every
matrix entry would cost more than the rest of the HTTP layer. Tests hold the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.findings import Heuristic

_Range = Annotated[list[int], Field(min_length=2, max_length=2)]
_Matrix = Annotated[list[list[float]], Field(description="target x source, 4 decimals")]


class ApiModel(BaseModel):
    """What every part of a request or an answer is: exact types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CharacterRange(ApiModel):
    """A half-open range of Unicode code points of the whole text."""

    start: int
    end: int


class WordModel(CharacterRange):
    """A word."""

    text: str


class FoundWordModel(WordModel):
    """A word that something was found about, and its index among the words of its text."""

    index: int


class TokenModel(WordModel):
    """A subword; special tokens (end of sentence) have an empty range."""

    special: bool


class AlternativeModel(ApiModel):
    """A token that the model held likely, whether or not the options allow it."""

    text: str
    log_prob: float
    special: bool


class TargetTokenModel(TokenModel):
    """A subword of a translation; `text` is what the model wrote, whatever the service put in capitals."""

    log_prob: float | None = Field(None, description="absent if `return_scores` is false")
    alternatives: list[AlternativeModel] | None = Field(
        None,
        description="the likeliest tokens at this place, best first; absent unless `num_alternatives` asks for some",
    )


class SourceModel(ApiModel):
    """The text, and what the model read of it: tokens of a sentence in capitals are pieces in lower case."""

    text: str
    sentences: list[CharacterRange]
    tokens: list[TokenModel]
    words: list[WordModel]


class LinkModel(ApiModel):
    """A hard link between word indices of the whole text."""

    source: int
    target: int
    weight: float


class AlignmentModel(ApiModel):
    """What attention says: rows and columns stand in the order of the tokens and words."""

    tokens: _Matrix | None
    words: _Matrix | None
    links: list[LinkModel]
    pharaoh: str


class OtherAlignmentModel(AlignmentModel):
    """What another attention mechanism of the model says."""

    mechanism: str = Field(description="its name, as `GET /models` lists it")
    normalized: bool = Field(description="whether its rows of tokens sum to 1, otherwise to at most 1")


_OtherAlignments = Annotated[
    list[OtherAlignmentModel],
    Field(description="those of the model's other mechanisms, if it has several; empty where `alignment` is null"),
]


class SentencePlace(CharacterRange):
    """Where a sentence stands in a text: characters, and half-open index ranges of its tokens and words."""

    tokens: _Range
    words: _Range


class SentenceModel(ApiModel):
    """A sentence of a translation; `alignment` is null where the whole text's says the same."""

    source: SentencePlace
    target: SentencePlace
    score: float
    log_prob: float
    finished: bool = Field(description="false if it was cut at the length limit")
    alignment: AlignmentModel | None
    other_alignments: _OtherAlignments


class FindingModel(ApiModel):
    """A sign that something may be wrong with a translation: a heuristic, not a judgement."""

    heuristic: Heuristic = Field(
        description="`unattended_source_word`: perhaps left out; `repeated_target_word`: perhaps repeated; "
        "`diffuse_target_word`: its links mean little"
    )
    value: float = Field(
        description="attention that the source word got in all; attention that the target words share; source words "
        "that the target word's attention is spread over"
    )
    source: list[FoundWordModel]
    target: list[FoundWordModel]


class HypothesisModel(ApiModel):
    """A translation of a text."""

    text: str
    score: float = Field(description="length-normalised; the mean over sentences")
    log_prob: float = Field(description="raw; the sum over sentences")
    tokens: list[TargetTokenModel]
    words: list[WordModel]
    alignment: AlignmentModel | None = Field(
        description="of the primary mechanism; matrices are null if the text has several sentences"
    )
    other_alignments: _OtherAlignments
    sentences: list[SentenceModel]
    diagnostics: list[FindingModel] | None = Field(None, description="absent unless `diagnostics` asks for them")


class TranslationModel(ApiModel):
    """One text and its translations, best first."""

    source: SourceModel
    hypotheses: list[HypothesisModel]


class TranslateResponse(ApiModel):
    """The answer of `POST /translate`; `translations` stand in the order of the texts."""

    model: str
    source_language: str
    target_language: str
    translations: list[TranslationModel]


class ProblemModel(ApiModel):
    """An error, as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(description="the field of the request that is at fault, if one is")


class MechanismModel(ApiModel):
    """An attention mechanism of a model."""

    name: str
    normalized: bool = Field(description="whether rows of its token matrix sum to 1, otherwise to at most 1")
    row_offset: int = Field(
        description="whose row a token has: 0 that of the step that produced it, 1 of the step that read it"
    )


class ModelSummary(ApiModel):
    """A model that is served."""

    name: str
    source_language: str
    target_language: str
    precision: str
    provider: str
    normalized: bool = Field(description="whether rows of `alignment.tokens` sum to 1, otherwise to at most 1")
    mechanisms: list[MechanismModel] = Field(
        description="its attention mechanisms: the primary one, then the others in the order of `other_alignments`"
    )


class LinkRuleModel(ApiModel):
    """How attention becomes links between words, as it was tuned for the model."""

    threshold: float = Field(description="least weight of a link between words that may have others")
    relative_threshold: float = Field(description="least weight as a share of the target word's greatest weight")
    remaining_threshold: float | None = Field(
        description="least weight of a link between two words that have no other link; null for no such links"
    )


class ModelDetail(ModelSummary):
    """A model with what its bundle says of it."""

    vocabulary_size: int
    max_source_tokens: int = Field(description="longest sentence taken, in subwords, end of sentence included")
    preferred_source_tokens: int = Field(description="longest sentence that is not parted though it could be, likewise")
    alignment: LinkRuleModel
    architecture: dict[str, Any]
    training: dict[str, Any]
    scores: list[dict[str, Any]]
    error_analysis: str = Field(description="known weaknesses, as people found them; may be Markdown, may be empty")


class ModelList(ApiModel):
    """The answer of `GET /models`."""

    models: list[ModelSummary]


class LanguagePair(ApiModel):
    """A pair of languages and the models that serve it."""

    source_language: str
    target_language: str
    models: list[str]


class LanguageList(ApiModel):
    """The answer of `GET /languages`."""

    languages: list[LanguagePair]


class Status(ApiModel):
    """The answer of `GET /healthz` and `GET /readyz`."""

    status: Literal["ok", "ready", "starting", "failed", "draining"]
