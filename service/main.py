"""The app: put together here, with its life from loading the models to draining the engines."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.api.errors import install_error_handlers
from service.api.head_requests import HeadMiddleware
from service.api.pages import pages
from service.api.routes import native_routes
from service.api.state import AppState
from service.decoding.backend import Seq2SeqBackend
from service.loading import load_models
from service.metrics import MetricsMiddleware
from service.process_link import ProcessLink
from service.settings import Settings, load_settings

logger = logging.getLogger(__name__)

DESCRIPTION = """Translation with the alignment behind every word.

Alignments are taken from the models' attention: they show where a model looked, which is mostly, but not always, the
word that a translator would link. `GET /models/{name}` has what was measured.
"""


def create_app(
    settings: Settings | None = None, backend: Seq2SeqBackend | None = None, link: ProcessLink | None = None
) -> FastAPI:
    """Makes the app.

    Args:
        settings: the configuration; None reads the environment.
        backend: runs every model instead of its own graphs, for tests and embedding; calls from several threads must be
            safe.
        link: to the other processes of the service, if this is one of several.

    Raises:
        ConfigurationError: the environment holds a wrong setting.
    """
    state = AppState(settings or load_settings(), link=link)
    app = FastAPI(
        title="Interlinear",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lambda _: _life(state, backend),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat what was sent
    )
    app.state.service = state
    if state.settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=state.settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(MetricsMiddleware, metrics=state.metrics)
    app.add_middleware(HeadMiddleware)  # outside: what is measured is the GET
    install_error_handlers(app)
    app.include_router(native_routes(state.settings))
    app.include_router(pages)
    return app


@asynccontextmanager
async def _life(state: AppState, backend: Seq2SeqBackend | None) -> AsyncIterator[None]:
    models = load_models(state.settings, backend, place=state.link.place if state.link else None)
    if state.link:
        state.link.open(state.metrics.collect)
    try:
        await models.start()
        state.metrics.watch(models)
        state.models, state.draining = models, False
        logger.info("ready")
        yield
    finally:
        state.draining = True
        await models.stop(state.settings.shutdown_timeout_s)


def _version() -> str:
    try:
        return version("interlinear")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
