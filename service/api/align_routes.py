"""`POST /align`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from service.api.align_body import given_pairs
from service.api.align_schemas import AlignRequest, AlignResponse
from service.api.answers import pair_answer
from service.api.body import read_json
from service.api.errors import describe_problems
from service.api.interruption import shutdown_when_cancelled, unless_disconnected
from service.api.state import state_of
from service.domain import TranslatedText
from service.forced_alignment import GivenPair, align_both_ways
from service.registry import LoadedModel, ModelRegistry
from service.settings import Settings
from service.threads import run_aside


def align_routes(settings: Settings) -> APIRouter:
    """The route; `settings` show in its description as bounds."""
    router = APIRouter()
    router.add_api_route(
        "/align",
        align,
        methods=["POST"],
        summary="Score and align given translations",
        tags=["translation"],
        responses={200: {"model": AlignResponse}, **describe_problems(404, 413, 415, 422, 503)},
        openapi_extra={"requestBody": align_request_body(settings)},
    )
    return router


def align_request_body(settings: Settings) -> dict[str, Any]:
    """The description of the body, with the configured limits as its bounds."""
    schema = AlignRequest.model_json_schema()
    for side in ("source", "target"):
        single, several = schema["properties"][side]["anyOf"][0]["oneOf"]
        single["maxLength"] = several["items"]["maxLength"] = settings.max_text_length
        several["maxItems"] = settings.max_texts
    return {"required": True, "content": {"application/json": {"schema": schema}}}


async def align(request: Request) -> Response:
    """Scores and aligns one pair of texts or a list of pairs.

    The model is made to produce the target as it stands, so what comes back has the shape of a translation: tokens with
    their log-probabilities, words, score and alignment, with all ranges in the texts that were sent (words given as
    lists are put together to a text first). A pair is one unit, however many sentences it has; one that is too long for
    the model is refused, not cut.
    """
    state = state_of(request)
    with shutdown_when_cancelled():
        body = await read_json(request, state.settings, AlignRequest)
        given = given_pairs(body, state.settings)
        registry = state.ready_models.registry
        model = registry.find(body.model, body.source_language, body.target_language)
        with given.named_as_sent():
            content = await unless_disconnected(request, _align(registry, model, body, given.pairs))
    return Response(content, media_type="application/json")


async def _align(registry: ModelRegistry, model: LoadedModel, body: AlignRequest, pairs: Sequence[GivenPair]) -> bytes:
    if body.symmetrisation is None:
        reverse, aligned = None, await model.aligner.align(pairs, body.options)
    else:
        reverse = registry.find_reverse(model)
        aligned = await align_both_ways(model.aligner, reverse.aligner, pairs, body.options, body.symmetrisation)
    characters = sum(pair.length for pair in pairs)
    return await run_aside(characters, lambda: _render(model, reverse, aligned, body.return_scores))


def _render(
    model: LoadedModel, reverse: LoadedModel | None, aligned: Sequence[TranslatedText], return_scores: bool
) -> bytes:
    answer = {
        "model": model.manifest.name,
        "reverse_model": None if reverse is None else reverse.manifest.name,
        "source_language": model.manifest.source_language,
        "target_language": model.manifest.target_language,
        "pairs": [pair_answer(each, return_scores) for each in aligned],
    }
    return to_json(answer, inf_nan_mode="null")
