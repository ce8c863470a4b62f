"""The public contract: what requests may hold and what answers look like.

The answer models describe; answers themselves are built as plain values in `service.api.answers`, because
validating every matrix entry would cost more than the rest of the HTTP layer. Tests hold the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.alignment import AlignmentDetail
from service.decoding.jobs import MAX_PENALTY
from service.domain import DecodingOptions

_DEFAULTS = DecodingOptions()


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "must not contain NUL characters")
    return text


def _kind_of_text(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else None


_Text = Annotated[str, AfterValidator(_without_nul)]
_TextOrList = Annotated[
    Annotated[_Text, Tag("string")] | Annotated[list[_Text], Tag("list")],
    Discriminator(
        _kind_of_text, custom_error_type="text_type", custom_error_message="must be a string or a list of strings"
    ),
]
_Penalty = Annotated[float, Field(ge=0, le=MAX_PENALTY, allow_inf_nan=False)]
_Range = Annotated[list[int], Field(min_length=2, max_length=2)]
_Matrix = Annotated[list[list[float]], Field(description="target x source, 4 decimals")]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TranslateRequest(_Model):
    """What to translate, with which model, and how. Give `model`, or both languages."""

    text: _TextOrList = Field(
        description="A text of any number of sentences, or a list of such texts. NUL characters are refused.",
        examples=["I like tea."],
    )
    model: str | None = Field(None, description="a model's name, as `GET /models` lists it", examples=["eng-fra"])
    source_language: str | None = Field(None, description="language tag of the text, such as `en`")
    target_language: str | None = Field(None, description="language tag of the translation, such as `fr`")
    beam_size: int = Field(_DEFAULTS.beam_size, ge=1, description="hypotheses kept at every step; 1 is greedy search")
    num_hypotheses: int = Field(
        _DEFAULTS.num_hypotheses, ge=1, description="hypotheses returned, best first; at most `beam_size`"
    )
    length_penalty: _Penalty = Field(
        _DEFAULTS.length_penalty, description="scores are divided by `((5 + length) / 6) ** length_penalty`"
    )
    coverage_penalty: _Penalty = Field(
        _DEFAULTS.coverage_penalty, description="weight of the penalty on source tokens that got little attention"
    )
    max_decoding_length: int | None = Field(
        None, ge=1, description="most target tokens per sentence, end of sentence included; by default from the source"
    )
    min_decoding_length: int = Field(
        _DEFAULTS.min_decoding_length, ge=0, description="fewest target tokens per sentence"
    )
    target_prefix: _Text | None = Field(
        None, description="what the translation begins with; the text must be a single sentence"
    )
    alignment: AlignmentDetail = Field(
        "soft", description="`hard`: word links; `soft`: the token and word matrices too; of every attention mechanism"
    )
    return_scores: bool = Field(True, description="give every target token its log-probability")

    @property
    def texts(self) -> list[str]:
        """The texts as a list."""
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def options(self) -> DecodingOptions:
        """The options that search reads."""
        return DecodingOptions(
            beam_size=self.beam_size,
            num_hypotheses=self.num_hypotheses,
            length_penalty=self.length_penalty,
            coverage_penalty=self.coverage_penalty,
            max_decoding_length=self.max_decoding_length,
            min_decoding_length=self.min_decoding_length,
        )


class CharacterRange(_Model):
    """A half-open range of Unicode code points of the whole text."""

    start: int
    end: int


class WordModel(CharacterRange):
    """A word."""

    text: str


class TokenModel(WordModel):
    """A subword; special tokens (end of sentence) have an empty range."""

    special: bool


class TargetTokenModel(TokenModel):
    """A subword of a translation."""

    log_prob: float | None = Field(None, description="absent if `return_scores` is false")


class SourceModel(_Model):
    """The text as the model saw it."""

    text: str
    sentences: list[CharacterRange]
    tokens: list[TokenModel]
    words: list[WordModel]


class LinkModel(_Model):
    """A hard link between word indices of the whole text."""

    source: int
    target: int
    weight: float


class AlignmentModel(_Model):
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


class SentenceModel(_Model):
    """A sentence of a translation; `alignment` is null where the whole text's says the same."""

    source: SentencePlace
    target: SentencePlace
    score: float
    log_prob: float
    finished: bool = Field(description="false if it was cut at the length limit")
    alignment: AlignmentModel | None
    other_alignments: _OtherAlignments


class HypothesisModel(_Model):
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


class TranslationModel(_Model):
    """One text and its translations, best first."""

    source: SourceModel
    hypotheses: list[HypothesisModel]


class TranslateResponse(_Model):
    """The answer of `POST /translate`; `translations` stand in the order of the texts."""

    model: str
    source_language: str
    target_language: str
    translations: list[TranslationModel]


class ProblemModel(_Model):
    """An error, as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(description="the field of the request that is at fault, if one is")


class ModelSummary(_Model):
    """A model that is served."""

    name: str
    source_language: str
    target_language: str
    precision: str
    provider: str
    normalized: bool = Field(description="whether rows of `alignment.tokens` sum to 1, otherwise to at most 1")
    mechanisms: list[str] = Field(description="the names of its attention mechanisms, the primary first")


class ModelDetail(ModelSummary):
    """A model with what its bundle says of it."""

    vocabulary_size: int
    max_source_tokens: int
    architecture: dict[str, Any]
    training: dict[str, Any]
    scores: list[dict[str, Any]]


class ModelList(_Model):
    """The answer of `GET /models`."""

    models: list[ModelSummary]


class LanguagePair(_Model):
    """A pair of languages and the models that serve it."""

    source_language: str
    target_language: str
    models: list[str]


class LanguageList(_Model):
    """The answer of `GET /languages`."""

    languages: list[LanguagePair]


class Status(_Model):
    """The answer of `GET /healthz` and `GET /readyz`."""

    status: Literal["ok", "ready", "starting", "failed", "draining"]
