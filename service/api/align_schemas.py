"""The public contract of `POST /align`: pairs that are given, and what comes back of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.alignment import AlignmentDetail
from service.api.request_schemas import Penalty, Text, TextOrList
from service.api.schemas import ApiModel, HypothesisModel, SourceModel
from service.forced_alignment import AligningOptions
from service.symmetrisation import Symmetrisation

_DEFAULTS = AligningOptions()


def _not_blank(word: str) -> str:
    if not word.strip():
        raise PydanticCustomError("blank", "must be a word, not white space")
    return word


def _kind_of_words(value: object) -> str | None:
    if not isinstance(value, list):
        return None
    return "lists" if value and isinstance(value[0], list) else "list"


_Word = Annotated[Text, AfterValidator(_not_blank), Field(min_length=1)]
_WordsOrList = Annotated[
    Annotated[list[_Word], Tag("list")] | Annotated[list[list[_Word]], Field(min_length=1), Tag("lists")],
    Discriminator(
        _kind_of_words,
        custom_error_type="words_type",
        custom_error_message="must be a list of words or a list of such lists",
    ),
]


class AlignRequest(ApiModel):
    """A text and its translation, or lists of both. Each side is given as text or as words."""

    source: TextOrList | None = Field(
        None,
        description="a text, or a list of texts; each is aligned as one unit, and read in lower case by the same rule "
        "as a sentence in capitals that is translated; so is each target",
        examples=["I like tea."],
    )
    target: TextOrList | None = Field(
        None, description="its translation, or a list of as many translations", examples=["J'aime le thé."]
    )
    source_words: _WordsOrList | None = Field(
        None,
        description="in place of `source`: the words of the text, or a list of such lists; links refer to these words",
        examples=[["I", "like", "tea", "."]],
    )
    target_words: _WordsOrList | None = Field(None, description="in place of `target`, likewise")
    model: str | None = Field(None, description="a model's name, as `GET /models` lists it", examples=["eng-fra"])
    source_language: str | None = Field(None, description="language tag of the source, such as `en`")
    target_language: str | None = Field(None, description="language tag of the target, such as `fr`")
    alignment: AlignmentDetail = Field(
        _DEFAULTS.alignment,
        description="`none`: scores only; `hard`: word links; `soft`: the token and word matrices too",
    )
    link_threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="least weight of any link of a model (`mean`: of the mean of both); by default links follow the "
        "model's own rule, which `GET /models/{name}` shows",
    )
    symmetrisation: Symmetrisation | None = Field(
        None,
        description="puts the links together with those of a model of the other direction, which must be installed; "
        "their weights are then the mean of both directions. `mean` makes links of the mean of both word matrices",
    )
    length_penalty: Penalty = Field(
        _DEFAULTS.length_penalty, description="the score is divided by `((5 + length) / 6) ** length_penalty`"
    )
    diagnostics: bool = Field(
        False, description="look for signs of words left out, repeated or linked at random: heuristics, often wrong"
    )
    return_scores: bool = Field(True, description="give every target token its log-probability")

    @property
    def options(self) -> AligningOptions:
        """The options that aligning reads."""
        return AligningOptions(self.alignment, self.length_penalty, self.link_threshold, diagnostics=self.diagnostics)


class PairModel(ApiModel):
    """A pair: its target stands like a hypothesis of a translation, with the score that the model gives it."""

    source: SourceModel
    target: HypothesisModel


class AlignResponse(ApiModel):
    """The answer of `POST /align`; `pairs` stand in the order of the request."""

    model: str
    reverse_model: str | None = Field(description="the model of the other direction, where links are symmetrised")
    source_language: str
    target_language: str
    pairs: list[PairModel]
