"""Runs the app until a signal ends it: in-flight requests are answered, engines drained, then the process leaves."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
from types import FrameType

import uvicorn
import uvloop

from service.main import create_app
from service.settings import Settings

logger = logging.getLogger(__name__)


def run_server(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        StartupError: the settings or a model bundle cannot be served.
        SystemExit: the address cannot be listened on.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="off",  # entered here instead: its errors then reach the command line as they are
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s),
    )
    async with app.router.lifespan_context(app):
        # uvicorn repeats the signal that ended it for whoever handled it before; the engines must be drained first.
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, _ignore)
        await uvicorn.Server(config).serve()


def _ignore(signal_number: int, frame: FrameType | None) -> None:
    logger.info("stopping")
