"""Runs the app until a signal ends it: in-flight requests are answered, engines drained, then the process leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import uvicorn
import uvloop

from service.errors import ConfigurationError
from service.heap import give_back_memory, share_one_arena
from service.process_link import ProcessLink
from service.settings import Settings

if TYPE_CHECKING:
    from service.api.state import AppState

logger = logging.getLogger(__name__)

COLLECT_AFTER: Final = 10_000
"""How many more objects must have been made than freed before Python looks for unreachable cycles. Requests leave none;
with Python's own 700 and everything loaded looked through as well, the search took a tenth of the event loop's time
under load, and stopped every thread for 40 ms now and then."""

LOOK_AFTER_ENGINES_EVERY_S: Final = 1.0
GIVE_BACK_MEMORY_EVERY_S: Final = 10.0


class Address(NamedTuple):
    """Where to listen: a family of addresses, and what `socket.bind` takes."""

    family: int
    name: tuple[Any, ...]

    def __str__(self) -> str:
        host, port = self.name[:2]
        return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"


def run_server(settings: Settings) -> None:
    """Serves in this process until SIGTERM or SIGINT.

    Raises:
        StartupError: the address, another setting or a model bundle cannot be served.
    """
    address = find_address(settings.host, settings.port)
    with bind(address) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener))


def run_one_of_several(settings: Settings, address: Address, link: ProcessLink) -> None:
    """Serves in a process that shares the address with others, until SIGTERM or SIGINT; errors as `run_server`."""
    with bind(address, shared=True) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener, link))


def find_address(host: str, port: int) -> Address:
    """Looks up what a host's name stands for.

    Raises:
        ConfigurationError: there is no such host.
    """
    try:
        family, _, _, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:  # the latter for a name that is none
        raise _cannot_listen(host, port, error) from error
    return Address(family, name)


def bind(address: Address, shared: bool = False) -> socket.socket:
    """Takes an address; connections are refused until the server listens.

    Args:
        address: where.
        shared: whether other processes of this user may listen there as well, and share the connections.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address.name)
    except OSError as error:
        listener.close()
        raise _cannot_listen(address.name[0], address.name[1], error) from error
    return listener


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigurationError:
    problem = error.strerror if isinstance(error, OSError) else "not a host name"
    return ConfigurationError(f"cannot listen on {host}, port {port}: {problem}")


async def _serve(settings: Settings, listener: socket.socket, link: ProcessLink | None = None) -> None:
    share_one_arena()
    from service.main import create_app  # loads onnxruntime, after which a process must not fork

    app = create_app(settings, link=link)
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
        chores = [asyncio.ensure_future(keep_memory_low(app.state.service))]
        if link:
            await link.wait_for_others()
            chores.append(asyncio.ensure_future(_end_when_broken(app.state.service)))
        await _Server(config, link).serve(sockets=[listener])
        for chore in chores:
            chore.cancel()


async def _end_when_broken(state: AppState) -> None:
    """Ends a process whose engine has died: the supervisor starts another."""
    while state.status != "failed":
        await asyncio.sleep(LOOK_AFTER_ENGINES_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)


async def keep_memory_low(state: AppState) -> None:
    """Now and then returns to the system what batches have used and freed; not while nothing is decoded."""
    before = None
    while True:
        steps = sum(engine.work_done.steps for engine in state.ready_models.engines.values())
        if steps != before:
            before = steps
            await asyncio.to_thread(give_back_memory)
        await asyncio.sleep(GIVE_BACK_MEMORY_EVERY_S)


def spare_what_is_loaded() -> None:
    """Lets the garbage collector look at new objects only, and less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


class _Server(uvicorn.Server):
    """Says where it listens, as soon as it does, and why it stops; one of several leaves that to the supervisor."""

    def __init__(self, config: uvicorn.Config, link: ProcessLink | None) -> None:
        super().__init__(config)
        self._link = link

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self._link:
            self._link.note_listening()
            return
        for listener in sockets or ():
            logger.info("serving on %s", Address(listener.family, listener.getsockname()))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which repeats the signal at the end; but the engines must be drained first, in peace."""
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, self.handle_exit)
        try:
            yield
        finally:
            for ending in (signal.SIGINT, signal.SIGTERM):
                signal.signal(ending, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: object) -> None:
        """See uvicorn."""
        if not self._link:
            logger.info("stopping on %s", signal.Signals(sig).name)
        super().handle_exit(sig, frame)  # type: ignore[arg-type]
