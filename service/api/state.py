"""What the routes need of the app they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request

from service.errors import ShuttingDownError
from service.metrics import Metrics
from service.process_link import ProcessLink
from service.serving import ServedModels
from service.settings import Settings


@dataclass(slots=True)
class AppState:
    """The app's settings and metrics, and its models from the end of the start to the beginning of the shutdown."""

    settings: Settings
    metrics: Metrics = field(default_factory=Metrics)
    models: ServedModels | None = None
    draining: bool = False
    link: ProcessLink | None = None  # to the other processes that serve, if there are any

    @property
    def status(self) -> Literal["starting", "ready", "failed", "draining"]:
        """Whether requests can be served: ready only after the warm-up, and while every worker is alive."""
        if self.draining:
            return "draining"
        if self.models is None:
            return "starting"
        return "ready" if self.models.are_running else "failed"

    @property
    def ready_models(self) -> ServedModels:
        """The models.

        Raises:
            ShuttingDownError: the app has not started, or has stopped.
        """
        if self.models is None:
            raise ShuttingDownError("The service is not running.")
        return self.models


def state_of(request: Request) -> AppState:
    """The state of the app that serves `request`."""
    state: AppState = request.app.state.service
    return state
