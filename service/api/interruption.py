"""What may interrupt a request: its client goes away, or the service's time to shut down is up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from service.errors import ShuttingDownError

Result = TypeVar("Result")


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Awaits `work`, and cancels it as soon as the client has closed the connection.

    The request's body must have been read.

    Raises:
        ClientDisconnect: the client has gone.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(request))
    watching.add_done_callback(lambda _: working.cancel())
    try:
        return await working
    except asyncio.CancelledError:
        if watching.done() and not watching.cancelled():
            raise ClientDisconnect from None
        raise
    finally:
        watching.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextlib.contextmanager
def shutdown_when_cancelled() -> Iterator[None]:
    """Lets a client know when the server, which cancels requests only then, has run out of time to drain.

    Raises:
        ShuttingDownError: the request's task was cancelled.
    """
    try:
        yield
    except asyncio.CancelledError:
        raise ShuttingDownError("The service is shutting down.") from None
