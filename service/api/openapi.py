"""What the OpenAPI document says beyond the routes' signatures."""

from __future__ import annotations

from typing import Any

from service.api.request_schemas import TranslateRequest
from service.settings import Settings


def translate_request_body(settings: Settings) -> dict[str, Any]:
    """The description of the body of `POST /translate`, with the configured limits as its bounds."""
    schema = TranslateRequest.model_json_schema()
    properties = schema["properties"]
    single, several = properties["text"]["oneOf"]
    single["maxLength"] = several["items"]["maxLength"] = settings.max_text_length
    several["maxItems"] = settings.max_texts
    properties["beam_size"]["maximum"] = settings.max_beam_size
    properties["num_hypotheses"]["maximum"] = settings.max_num_hypotheses
    properties["min_decoding_length"]["maximum"] = settings.max_target_tokens
    properties["max_decoding_length"]["anyOf"][0]["maximum"] = settings.max_target_tokens
    properties["target_prefix"]["anyOf"][0]["maxLength"] = settings.max_text_length
    return {"required": True, "content": {"application/json": {"schema": schema}}}
