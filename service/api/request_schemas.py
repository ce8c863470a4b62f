"""The public contract: what requests may hold."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.alignment import AlignmentDetail
from service.api.schemas import ApiModel
from service.decoding.jobs import (
    MAX_ALTERNATIVES,
    MAX_NGRAM,
    MAX_PENALTY,
    MAX_SAMPLING_TOP_K,
    MAX_SEED,
    MAX_SUPPRESSED,
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
)
from service.domain import DecodingOptions, SearchMode

_DEFAULTS = DecodingOptions()


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "must not contain NUL characters")
    return text


def _kind_of_text(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else None


Text = Annotated[str, AfterValidator(_without_nul)]
TextOrList = Annotated[
    Annotated[Text, Tag("string")] | Annotated[list[Text], Tag("list")],
    Discriminator(
        _kind_of_text, custom_error_type="text_type", custom_error_message="must be a string or a list of strings"
    ),
]
Penalty = Annotated[float, Field(ge=0, le=MAX_PENALTY, allow_inf_nan=False)]


class TranslateRequest(ApiModel):
    """What to translate, with which model, and how. Give `model`, or both languages."""

    text: TextOrList = Field(
        description="A text of any number of sentences, or a list of such texts. NUL characters are refused. A "
        "sentence in capitals throughout is read in lower case, and its translation is in capitals, where lower case "
        "takes fewer tokens",
        examples=["I like tea."],
    )
    model: str | None = Field(None, description="a model's name, as `GET /models` lists it", examples=["eng-fra"])
    source_language: str | None = Field(None, description="language tag of the text, such as `en`")
    target_language: str | None = Field(None, description="language tag of the translation, such as `fr`")
    beam_size: int = Field(
        _DEFAULTS.beam_size,
        ge=1,
        description="hypotheses kept at every step; 1 is greedy search, and what it is by default with sampling",
    )
    num_hypotheses: int = Field(
        _DEFAULTS.num_hypotheses,
        ge=1,
        description="hypotheses returned, best first; at most `beam_size`, except with sampling: then samples drawn",
    )
    length_penalty: Penalty = Field(
        _DEFAULTS.length_penalty, description="scores are divided by `((5 + length) / 6) ** length_penalty`"
    )
    coverage_penalty: Penalty = Field(
        _DEFAULTS.coverage_penalty,
        description="weight of the penalty on source tokens that got little attention, on average of the mechanisms",
    )
    max_decoding_length: int | None = Field(
        None, ge=1, description="most target tokens per sentence, end of sentence included; by default from the source"
    )
    min_decoding_length: int = Field(
        _DEFAULTS.min_decoding_length, ge=0, description="fewest target tokens per sentence"
    )
    target_prefix: Text | None = Field(
        None,
        description="what the translation begins with; the text must be a single sentence. One in capitals is read in "
        "lower case only if this is in capitals too",
    )
    repetition_penalty: float = Field(
        _DEFAULTS.repetition_penalty,
        ge=1,
        le=MAX_PENALTY,
        allow_inf_nan=False,
        description="what the log-probability of tokens that are there already is multiplied by, for the choice",
    )
    no_repeat_ngram_size: int = Field(
        _DEFAULTS.no_repeat_ngram_size,
        ge=0,
        le=MAX_NGRAM,
        description="no sequence of so many tokens comes twice in a sentence; 0 allows all",
    )
    suppressed_tokens: list[Text] = Field(
        [],
        max_length=MAX_SUPPRESSED,
        description="tokens that are never produced, written as in the `tokens` of an answer",
        examples=[["▁tea"]],
    )
    sampling_top_k: int = Field(
        _DEFAULTS.sampling_top_k,
        ge=0,
        le=MAX_SAMPLING_TOP_K,
        description="draws each token from so many of the best, in place of a search; 0 for none",
    )
    sampling_temperature: float = Field(
        _DEFAULTS.sampling_temperature,
        ge=MIN_TEMPERATURE,
        le=MAX_TEMPERATURE,
        allow_inf_nan=False,
        description="divides the log-probabilities that tokens are drawn by; needs `sampling_top_k`",
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="makes samples repeatable: they depend on it and the sentence; by default another one every time",
    )
    num_alternatives: int = Field(
        _DEFAULTS.num_alternatives,
        ge=0,
        le=MAX_ALTERNATIVES,
        description="how many of the tokens that the model holds most likely to give at every target token",
    )
    replace_unknowns: bool = Field(
        _DEFAULTS.replace_unknowns,
        description="copy source words with characters that the model does not know (emoji, names in other scripts) to "
        "where the translation attends to them; by default the model has to find other words. Of several such words "
        "side by side one may be left out or come twice, and hypotheses may become equal",
    )
    search_mode: SearchMode = Field(
        _DEFAULTS.search_mode,
        description="`tfa` searches with the semantics of TensorFlow Addons, flaws included, and takes only the "
        "options that it has: beam size, hypotheses, length and coverage penalty, maximum length",
    )
    alignment: AlignmentDetail = Field(
        "soft", description="`hard`: word links; `soft`: the token and word matrices too; of every attention mechanism"
    )
    diagnostics: bool = Field(
        False, description="look for signs of words left out, repeated or linked at random: heuristics, often wrong"
    )
    return_scores: bool = Field(True, description="give every target token its log-probability")

    @property
    def texts(self) -> list[str]:
        """The texts as a list."""
        return [self.text] if isinstance(self.text, str) else self.text

    @property
    def options(self) -> DecodingOptions:
        """The options that search reads; without a seed a new one every time."""
        searching = self.sampling_top_k == 0
        return DecodingOptions(
            beam_size=self.beam_size if searching or "beam_size" in self.model_fields_set else 1,
            num_hypotheses=self.num_hypotheses,
            length_penalty=self.length_penalty,
            coverage_penalty=self.coverage_penalty,
            max_decoding_length=self.max_decoding_length,
            min_decoding_length=self.min_decoding_length,
            repetition_penalty=self.repetition_penalty,
            no_repeat_ngram_size=self.no_repeat_ngram_size,
            suppressed_tokens=tuple(self.suppressed_tokens),
            sampling_top_k=self.sampling_top_k,
            sampling_temperature=self.sampling_temperature,
            seed=self._seed(),
            num_alternatives=self.num_alternatives,
            replace_unknowns=self.replace_unknowns,
            search_mode=self.search_mode,
        )

    def _seed(self) -> int:
        if self.sampling_top_k == 0:
            return _DEFAULTS.seed
        return secrets.randbelow(MAX_SEED + 1) if self.seed is None else self.seed
