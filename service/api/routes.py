"""The native routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.align_routes import align_routes
from service.api.answers import translate_answer
from service.api.body import name_text_as_sent, read_translate_request
from service.api.catalogue import language_pairs, model_detail, model_summary
from service.api.errors import describe_problems
from service.api.interruption import shutdown_when_cancelled, unless_disconnected
from service.api.openapi import translate_request_body
from service.api.request_schemas import TranslateRequest
from service.api.schemas import LanguageList, ModelDetail, ModelList, Status, TranslateResponse
from service.api.state import state_of
from service.api.stream_schemas import EventDescription, StreamEventModel
from service.api.streaming import translate_stream
from service.registry import LoadedModel
from service.settings import Settings
from service.threads import run_aside

METRICS_MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"
PROBES: dict[int | str, dict[str, Any]] = {503: {"model": Status, "description": "Not now"}}


def native_routes(settings: Settings) -> APIRouter:
    """All routes of the API; `settings` show in their descriptions as bounds."""
    router = APIRouter()
    router.add_api_route(
        "/translate",
        translate,
        methods=["POST"],
        summary="Translate texts, with the alignment behind every word",
        tags=["translation"],
        responses={200: {"model": TranslateResponse}, **describe_problems(404, 413, 415, 422, 503)},
        openapi_extra={"requestBody": translate_request_body(settings)},
    )
    router.add_api_route(
        "/translate/stream",
        translate_stream,
        methods=["POST"],
        summary="Translate texts, token by token as they are produced",
        tags=["translation"],
        response_class=EventDescription,
        responses={200: {"model": StreamEventModel}, **describe_problems(404, 413, 415, 422, 503)},
        openapi_extra={"requestBody": translate_request_body(settings)},
    )
    router.include_router(align_routes(settings))
    router.include_router(_catalogue)
    router.include_router(_operations)
    return router


async def translate(request: Request) -> Response:
    """Translates one text or a list of texts.

    Every text comes back with its tokens, words and sentences, and with one or more translations. All ranges are
    half-open and count Unicode code points of the whole text. Alignments come from the model's attention.
    """
    state = state_of(request)
    with shutdown_when_cancelled():
        body = await read_translate_request(request, state.settings)
        model = state.ready_models.registry.find(body.model, body.source_language, body.target_language)
        with name_text_as_sent(body):
            content = await unless_disconnected(request, _translate(model, body))
    return Response(content, media_type="application/json")


async def _translate(model: LoadedModel, body: TranslateRequest) -> bytes:
    translated = await model.translator.translate(
        body.texts, body.options, body.target_prefix, body.alignment, body.diagnostics
    )
    characters = sum(map(len, body.texts)) * body.num_hypotheses
    return await run_aside(characters, lambda: translate_answer(model.manifest, translated, body.return_scores))


_catalogue = APIRouter(tags=["models"], responses=describe_problems(503))
_operations = APIRouter(tags=["operation"], responses=describe_problems())


@_catalogue.get("/models", summary="The models that are served")
async def list_models(request: Request) -> ModelList:
    """Lists every model with its languages, precision and the provider in use."""
    models = state_of(request).ready_models.registry.models
    return ModelList(models=[model_summary(model) for model in models])


@_catalogue.get("/models/{name}", summary="One model", responses=describe_problems(404, 503, "default"))
async def show_model(request: Request, name: str) -> ModelDetail:
    """Says how the model was built, on what data, and what it scores."""
    return model_detail(state_of(request).ready_models.registry.find(name))


@_catalogue.get("/languages", summary="The language pairs that are served")
async def list_languages(request: Request) -> LanguageList:
    """Lists every pair of languages with the models that serve it."""
    return LanguageList(languages=language_pairs(state_of(request).ready_models.registry))


@_operations.get("/healthz", summary="Whether the process works", responses=PROBES, response_model=Status)
async def healthz(request: Request) -> Response:
    """Fails when a decoding worker has died, which only a restart mends."""
    failed = state_of(request).status == "failed"
    return JSONResponse({"status": "failed" if failed else "ok"}, status_code=503 if failed else 200)


@_operations.get("/readyz", summary="Whether requests can be served", responses=PROBES, response_model=Status)
async def readyz(request: Request) -> Response:
    """Succeeds from the first real inference until the shutdown begins."""
    status = state_of(request).status
    return JSONResponse({"status": status}, status_code=200 if status == "ready" else 503)


@_operations.get(
    "/metrics", summary="Prometheus metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
)
async def metrics(request: Request) -> Response:
    """Requests, latencies, queues, rows, tokens and errors of all processes in Prometheus's text format."""
    state = state_of(request)
    others = await state.link.ask_others() if state.link else []
    return Response(state.metrics.render(others), media_type=METRICS_MEDIA_TYPE)
