"""From the bytes of a request to a checked body, without ever repeating what was sent."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import re
from collections.abc import Iterator
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from service.api.errors import UnsupportedMediaTypeError
from service.api.request_schemas import TranslateRequest
from service.api.schemas import ApiModel
from service.decoding.jobs import check_options
from service.errors import InvalidRequestError, RequestError, TextTooLongError
from service.settings import Settings

Body = TypeVar("Body", bound=ApiModel)

_PROBLEMS: Final = {"missing": "is required", "list_type": "must be a list"}
_SUBJECT: Final = re.compile(r"^(?:Input|List|String|Value) should")
"""How pydantic's messages begin, of which the others are taken as they are."""


async def read_translate_request(request: Request, settings: Settings) -> TranslateRequest:
    """Reads, parses and checks the body.

    Raises:
        UnsupportedMediaTypeError: it is not declared as JSON, or is compressed.
        TextTooLongError: too many bytes, texts or characters.
        InvalidRequestError: it is not JSON, or a field is wrong.
    """
    body = await read_json(request, settings, TranslateRequest)
    check_limits(body, settings)
    return body


async def read_json(request: Request, settings: Settings, kind: type[Body]) -> Body:
    """Reads and parses a body of some kind; errors as `read_translate_request`, limits on texts aside."""
    check_media_type(request.headers.get("content-type", ""))
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise UnsupportedMediaTypeError("The body must not be compressed: send it without Content-Encoding.")
    return parse(await read_body(request, settings.max_request_bytes), kind)


def check_media_type(content_type: str) -> None:
    """Accepts JSON in UTF-8 only.

    Raises:
        UnsupportedMediaTypeError: it is something else, or nothing is said.
    """
    media_type, _, parameters = content_type.lower().partition(";")
    if media_type.strip() != "application/json" or ("charset" in parameters and "utf-8" not in parameters):
        raise UnsupportedMediaTypeError(
            "The body must be JSON in UTF-8 with the header Content-Type: application/json."
        )


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Reads the body and stops as soon as it is too large.

    Raises:
        TextTooLongError: it has more than `max_bytes` bytes.
        ClientDisconnect: the client went away meanwhile.
    """
    too_long = TextTooLongError(f"The body has more than {max_bytes} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise too_long
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise too_long
        chunks.append(chunk)
    return b"".join(chunks)


def parse(body: bytes, kind: type[Body]) -> Body:
    """Parses and validates. Of a repeated key the last value counts, as usual for JSON; a byte order mark is skipped.

    Raises:
        InvalidRequestError: with the first of the fields that are wrong.
    """
    try:
        return kind.model_validate_json(body.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
    raise _invalid(details[0], list(kind.model_fields))


def _invalid(details: ErrorDetails, known: list[str]) -> InvalidRequestError:
    """Says what is wrong in words of ours: pydantic's location may hold a key that the client made up."""
    kind, location = details["type"], details["loc"]
    if kind == "json_invalid":
        return InvalidRequestError(f"The body is not valid JSON: {details['ctx']['error']}.")
    if kind == "extra_forbidden":
        return InvalidRequestError(_unknown_field(str(location[-1]), known))
    if not location:
        return InvalidRequestError("The body must be a JSON object.")
    field = str(location[0]) + "".join(f"[{part}]" for part in location[1:] if isinstance(part, int))
    problem = _PROBLEMS.get(kind) or _SUBJECT.sub("must", details["msg"].partition(" after validation")[0])
    return InvalidRequestError(f"{field}: {problem}", field)


def _unknown_field(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name[:40], known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"There is an unknown field.{hint} Known fields: {', '.join(known)}."


def check_limits(body: TranslateRequest, settings: Settings) -> None:
    """Holds the request against the configured limits, and fields against each other.

    Raises:
        TextTooLongError: too many texts, or too long a text.
        InvalidRequestError: an option is out of its range.
    """
    texts = body.texts
    if len(texts) > settings.max_texts:
        raise TextTooLongError(f"text: at most {settings.max_texts} texts are taken in one request", "text")
    for index, text in enumerate(texts):
        if len(text) > settings.max_text_length:
            field = "text" if isinstance(body.text, str) else f"text[{index}]"
            raise TextTooLongError(f"{field}: has more than {settings.max_text_length} characters", field)
    limits = (
        ("beam_size", body.beam_size, settings.max_beam_size),
        ("num_hypotheses", body.num_hypotheses, settings.max_num_hypotheses),
        ("max_decoding_length", body.max_decoding_length or 1, settings.max_target_tokens),
        ("min_decoding_length", body.min_decoding_length, body.max_decoding_length or settings.max_target_tokens),
        ("target_prefix", len(body.target_prefix or ""), settings.max_text_length),
    )
    for field, value, most in limits:
        if value > most:
            unit = " characters" if field == "target_prefix" else ""
            raise InvalidRequestError(f"{field}: must be at most {most}{unit}", field)
    if body.seed is not None and not body.sampling_top_k:
        raise InvalidRequestError("seed: has no meaning without sampling_top_k", "seed")
    check_options(body.options)


@contextlib.contextmanager
def name_text_as_sent(body: TranslateRequest) -> Iterator[None]:
    """Lets errors about the first of the texts speak of `text` where it was sent as a string."""
    try:
        yield
    except RequestError as error:
        if isinstance(body.text, str) and error.field == "text[0]":
            error.field = "text"
            error.args = (str(error).replace("text[0]", "text"),)
        raise
