"""Runs the app until a signal ends it: in-flight requests are answered, engines drained, then the process leaves."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import socket
from types import FrameType
from typing import Final

import uvicorn
import uvloop

from service.errors import ConfigurationError
from service.main import create_app
from service.settings import Settings

logger = logging.getLogger(__name__)

COLLECT_AFTER: Final = 10_000
"""How many more objects must have been made than freed before Python looks for unreachable cycles. Requests leave none;
with Python's own 700 and everything loaded looked through as well, the search took a tenth of the event loop's time
under load, and stopped every thread for 40 ms now and then."""


def run_server(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        StartupError: the address, another setting or a model bundle cannot be served.
    """
    with _bind(settings.host, settings.port) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener))


def _bind(host: str, port: int) -> socket.socket:
    """Takes the address before models are loaded; connections are refused until the server listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:  # the latter for a name that is none
        problem = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {problem}") from error
    return listener


async def _serve(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        lifespan="off",  # entered here instead: its errors then reach the command line as they are
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s),
    )
    async with app.router.lifespan_context(app):
        spare_what_is_loaded()
        # uvicorn repeats the signal that ended it for whoever handled it before; the engines must be drained first.
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.SIG_IGN)
        await _Server(config).serve(sockets=[listener])


def spare_what_is_loaded() -> None:
    """Lets the garbage collector look at new objects only, and less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says where it listens, as soon as it does."""
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            logger.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Notes the signal that ends the service."""
        logger.info("stopping on %s", signal.Signals(sig).name)
        super().handle_exit(sig, frame)
