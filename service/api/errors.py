"""One table from error class to status, and the problem+json bodies (RFC 9457) that clients see."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service import errors
from service.api.schemas import ProblemModel
from service.metrics import INTERNAL_ERROR

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; the name is the one nginx gave this status


class UnsupportedMediaTypeError(errors.RequestError):
    """The body is declared to be something else than JSON."""


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What clients may rely on: the status, a stable name for programs and a title for people."""

    status: int
    name: str
    title: str


PROBLEMS: Mapping[type[Exception], ProblemKind] = {
    errors.ModelNotFoundError: ProblemKind(404, "model-not-found", "No such model"),
    errors.TextTooLongError: ProblemKind(413, "text-too-long", "Too much text"),
    UnsupportedMediaTypeError: ProblemKind(415, "unsupported-media-type", "Unsupported media type"),
    errors.InvalidRequestError: ProblemKind(422, "invalid-request", "Invalid request"),
    RequestValidationError: ProblemKind(422, "invalid-request", "Invalid request"),
    errors.OverloadedError: ProblemKind(503, "overloaded", "Too busy"),
    errors.ShuttingDownError: ProblemKind(503, "shutting-down", "Shutting down"),
    errors.DecodingError: ProblemKind(500, "decoding-failed", "Translation failed"),
    Exception: ProblemKind(500, INTERNAL_ERROR, "Internal error"),
}


def problem_kind(error: Exception) -> ProblemKind:
    """The table's entry for an error: its own class's, or that of the nearest base."""
    if isinstance(error, HTTPException):  # raised by the framework: unknown path, wrong method
        title = HTTPStatus(error.status_code).phrase
        return ProblemKind(error.status_code, title.lower().replace(" ", "-"), title)
    return next(PROBLEMS[base] for base in type(error).__mro__ if base in PROBLEMS)


def problem_body(error: Exception) -> bytes:
    """An error as problem+json. Only messages written for clients are shown, never a value that was sent."""
    kind = problem_kind(error)
    written_for_clients = isinstance(error, errors.RequestError | errors.DecodingError)
    body: dict[str, Any] = {
        "type": f"urn:interlinear:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(error) if written_for_clients else f"{kind.title}.",
        "field": error.field if isinstance(error, errors.RequestError) else None,
    }
    return to_json(body)


def problem_response(error: Exception) -> Response:
    """The answer for an error."""
    status = problem_kind(error).status
    headers: dict[str, str] = {}
    if isinstance(error, errors.UnavailableError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, HTTPException):
        headers.update(error.headers or {})
    return Response(problem_body(error), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Makes every error of the app a problem+json answer, the framework's own included."""

    async def answer(request: Request, error: Exception) -> Response:
        request.scope["problem"] = problem_kind(error).name  # for the metrics
        return problem_response(error)

    async def say_nothing(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    for error_class in (errors.InterlinearError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error_class, answer)
    app.add_exception_handler(ClientDisconnect, say_nothing)


def describe_problems(*statuses: int | Literal["default"]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a route's problem answers; 500 is always among them."""
    schema = ProblemModel.model_json_schema()  # written out: FastAPI would declare a model of its own as plain JSON
    described: dict[int | str, dict[str, Any]] = {}
    for status in (*statuses, 500):
        description = "Any other problem" if status == "default" else HTTPStatus(status).phrase
        described[status] = {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            described[status]["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return described
