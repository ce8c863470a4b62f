"""`POST /translate/stream`: what `POST /translate` answers, as server-sent events while it comes into being."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from pydantic_core import to_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.answers import (
    Json,
    place_answer,
    rows_answer,
    source_answer,
    target_token_answer,
    translate_answer,
    translation_answer,
)
from service.api.body import name_text_as_sent, read_translate_request
from service.api.errors import problem_body, problem_kind
from service.api.interruption import shutdown_when_cancelled, unless_disconnected
from service.api.request_schemas import TranslateRequest
from service.api.state import state_of
from service.api.stream_schemas import EVENT_STREAM
from service.domain import FloatArray, Mechanism
from service.errors import InterlinearError
from service.registry import LoadedModel
from service.streaming import AllDone, SentenceDone, SourceRead, StreamEvent, TokenProduced, stream_translation
from service.threads import run_aside
from service.whole_text import Wanted

logger = logging.getLogger(__name__)

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


async def translate_stream(request: Request) -> Response:
    """Translates one text or a list of texts, and tells of each token as it is certain.

    The body is that of `POST /translate`. The answer consists of server-sent events, whose `data` is JSON: `source` for
    each text, `token` for each token of the best translation with its row of attention, `sentence` for each sentence
    that is done, and at last `done` with the whole answer of `POST /translate`, or `error` with a problem. What goes
    wrong before the model has begun is answered with a status, as there. Closing the connection stops the work.

    In greedy search, and where a single sample is drawn, a token comes with the step that produces it; in beam search
    when all hypotheses share it. With several samples, and with `search_mode` `tfa`, tokens come with their sentence.
    """
    state = state_of(request)
    with shutdown_when_cancelled():
        body = await read_translate_request(request, state.settings)
        model = state.ready_models.registry.find(body.model, body.source_language, body.target_language)
    return EventStream(request, _events(model, body))


class EventStream(Response):
    """Sends events as they come; errors before the first are raised, later ones become the last event.

    Args:
        request: whose answer it is; its body has been read.
        chunks: one event or several each.
    """

    media_type = EVENT_STREAM

    def __init__(self, request: Request, chunks: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._request = request
        self._chunks = chunks
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends everything, unless the client goes away before."""
        try:
            with shutdown_when_cancelled():
                await unless_disconnected(self._request, self._send_chunks(send))
        except ClientDisconnect:
            if not self._begun:
                raise
        except Exception as error:
            if not self._begun:
                raise
            if not isinstance(error, InterlinearError):
                logger.error("a stream has failed", exc_info=error)
            scope["problem"] = problem_kind(error).name  # for the metrics
            await self._send_chunk(send, _event("error", problem_body(error)))
            await self._end(send)

    async def _send_chunks(self, send: Send) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                if not self._begun:
                    self._begun = True
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send_chunk(send, chunk)
        await self._end(send)

    async def _send_chunk(self, send: Send, chunk: bytes) -> None:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _end(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(model: LoadedModel, body: TranslateRequest) -> AsyncGenerator[bytes, None]:
    """The events of a request, those that come at the same time together."""
    wanted = Wanted(body.alignment, body.diagnostics)
    translation = stream_translation(model.translator, body.texts, body.options, body.target_prefix, wanted)
    characters = sum(map(len, body.texts)) * body.num_hypotheses
    renderer = _Renderer(model, body.return_scores)
    with name_text_as_sent(body):
        async with aclosing(translation) as news:
            async for events in news:
                much = characters if isinstance(events[-1], AllDone) else 0
                yield await run_aside(much, partial(renderer.render, events))


class _Renderer:
    def __init__(self, model: LoadedModel, return_scores: bool) -> None:
        self._manifest = model.manifest
        self._mechanisms: Sequence[Mechanism] = model.manifest.attention_mechanisms
        self._return_scores = return_scores

    def render(self, events: Sequence[StreamEvent]) -> bytes:
        """Events as they are sent."""
        return b"".join(map(self._render, events))

    def _render(self, event: StreamEvent) -> bytes:
        match event:
            case SourceRead():
                return _event("source", _json(self._source(event)))
            case TokenProduced():
                return _event("token", _json(self._token(event)))
            case SentenceDone():
                return _event("sentence", _json(self._sentence(event)))
            case AllDone():
                return _event("done", translate_answer(self._manifest, event.translated, self._return_scores))

    def _source(self, event: SourceRead) -> Json:
        return {
            "text_index": event.text_index,
            "source": source_answer(event.source),
            "sentences": [place_answer(each) for each in event.source.sentences],
        }

    def _token(self, event: TokenProduced) -> Json:
        log_prob = event.log_prob if self._return_scores else None
        return {
            "text_index": event.text_index,
            "sentence_index": event.sentence_index,
            "token_index": event.token_index,
            "added": event.added,
            "token": target_token_answer(event.token, log_prob, event.alternatives),
            "attention": _row(event.attentions[0]) if event.attentions else None,
            "other_attentions": [
                {"mechanism": mechanism.name, "normalized": mechanism.normalized, "attention": _row(row)}
                for mechanism, row in zip(self._mechanisms[1:], event.attentions[1:], strict=False)
            ],
        }

    def _sentence(self, event: SentenceDone) -> Json:
        return {
            "text_index": event.text_index,
            "sentence_index": event.sentence_index,
            "translation": translation_answer(event.translated, self._return_scores),
        }


def _row(attention: FloatArray) -> list[float]:
    return rows_answer(attention[None])[0]


def _json(value: Json) -> bytes:
    return to_json(value, inf_nan_mode="null")


def _event(name: str, data: bytes) -> bytes:
    """A server-sent event; `data` is JSON, which needs no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
