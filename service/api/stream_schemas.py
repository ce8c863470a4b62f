"""The public contract, what the events of a stream look like; `service.api.schemas` has what they are made of."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, GetJsonSchemaHandler, RootModel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from starlette.responses import JSONResponse

from service.api.schemas import (
    ApiModel,
    ProblemModel,
    SentencePlace,
    SourceModel,
    TargetTokenModel,
    TranslateResponse,
    TranslationModel,
)

EVENT_STREAM = "text/event-stream"

_Row = Annotated[list[float], Field(description="one weight for each source token of the sentence, 4 decimals")]


class SourceData(ApiModel):
    """A source text; comes for each of the texts before anything else."""

    text_index: int
    source: SourceModel
    sentences: list[SentencePlace] = Field(description="where they stand in `source`")


class OtherRowModel(ApiModel):
    """What another attention mechanism of the model looked at."""

    mechanism: str
    normalized: bool
    attention: _Row


class TokenData(ApiModel):
    """The next token of a sentence; it stays. Its character range begins at 0 in the sentence's translation."""

    text_index: int
    sentence_index: int = Field(description="in the text")
    token_index: int = Field(description="in the sentence")
    added: str = Field(description="what it adds to the sentence's translation, the space before it included")
    token: TargetTokenModel
    attention: _Row | None = Field(description="of the primary mechanism; null unless `alignment` is `soft`")
    other_attentions: list[OtherRowModel]


class SentenceData(ApiModel):
    """A sentence that is done; sentences come in the order in which they are."""

    text_index: int
    sentence_index: int = Field(description="in the text")
    translation: TranslationModel = Field(
        description="as though the sentence were the whole text: ranges and indices begin at 0 in it"
    )


class _InJson:
    """Says of a part that it is written as JSON, in a string."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "contentMediaType": "application/json", "contentSchema": handler(schema)}


_Data = TypeVar("_Data")
_Json = Annotated[_Data, _InJson()]


class SourceEvent(ApiModel):
    """A source text."""

    event: Literal["source"]
    data: _Json[SourceData]


class TokenEvent(ApiModel):
    """A token, as soon as it is certain."""

    event: Literal["token"]
    data: _Json[TokenData]


class SentenceEvent(ApiModel):
    """A sentence, as soon as it is done."""

    event: Literal["sentence"]
    data: _Json[SentenceData]


class DoneEvent(ApiModel):
    """The whole answer, as `POST /translate` gives it; the last event."""

    event: Literal["done"]
    data: _Json[TranslateResponse]


class ErrorEvent(ApiModel):
    """What went wrong after the stream had begun; the last event."""

    event: Literal["error"]
    data: _Json[ProblemModel]


class StreamEventModel(
    RootModel[
        Annotated[SourceEvent | TokenEvent | SentenceEvent | DoneEvent | ErrorEvent, Field(discriminator="event")]
    ]
):
    """One of the server-sent events that a stream consists of."""


class EventDescription(JSONResponse):
    """Puts the events into the OpenAPI document: FastAPI describes models only of answers that it takes for JSON."""

    media_type = EVENT_STREAM
