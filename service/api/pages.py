"""The pages for people: translation at `/`, the API's documentation at `/docs`; neither asks another host."""

from __future__ import annotations

from collections.abc import Set
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException
from starlette.responses import FileResponse, Response

UI_DIRECTORY: Final = Path(__file__).parent.parent / "ui"
SWAGGER_DIRECTORY: Final = Path(str(resources.files("fastapi_swagger.resources")))
UI_FILES: Final = frozenset(path.name for path in UI_DIRECTORY.iterdir() if path.suffix in {".js", ".css", ".svg"})
SWAGGER_FILES: Final = frozenset({"swagger-ui-bundle.js", "swagger-ui.css"})

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'{styles}; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
COMMON_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
PAGE_HEADERS: Final = {**COMMON_HEADERS, "Content-Security-Policy": _POLICY.format(styles="")}
# Swagger UI sets style attributes.
DOCS_HEADERS: Final = {**COMMON_HEADERS, "Content-Security-Policy": _POLICY.format(styles=" 'unsafe-inline'")}


pages = APIRouter(include_in_schema=False)


@pages.get("/")
async def home() -> Response:
    """The translation page."""
    return FileResponse(UI_DIRECTORY / "index.html", headers=PAGE_HEADERS)


@pages.get("/ui/{name}")
async def ui_file(name: str) -> Response:
    """A file that the pages load."""
    return _file(UI_DIRECTORY, name, UI_FILES)


@pages.get("/docs")
async def docs() -> Response:
    """The API's documentation."""
    return FileResponse(UI_DIRECTORY / "docs.html", headers=DOCS_HEADERS)


@pages.get("/docs/{name}")
async def docs_file(name: str) -> Response:
    """A file of Swagger UI."""
    return _file(SWAGGER_DIRECTORY, name, SWAGGER_FILES)


def _file(directory: Path, name: str, known: Set[str]) -> Response:
    if name not in known:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return FileResponse(directory / name, headers=COMMON_HEADERS)
