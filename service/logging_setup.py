"""Log lines on standard error: time, level, where from, what. Never what a user sent."""

from __future__ import annotations

import logging
from typing import Final

LINE_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_logging(level: str) -> None:
    """Sends everything from `level` on to standard error."""
    logging.basicConfig(level=level.upper(), format=LINE_FORMAT, force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # the service has its own lines about start and stop
