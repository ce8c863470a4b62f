"""Chromium on the real service with the built-in model; every page must stay without errors and on its own host."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from service.main import create_app
from service.settings import Settings

PATIENCE_S = 30
TEXT = "I would like a cup of tea, please."

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]
Opener = Callable[..., Page]


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, uvicorn.Server]]:
    """The address of a service that runs meanwhile, and what ends it."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.005)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}", server
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@contextmanager
def serving_process() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a service in a process of its own, which can be killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "serve",
        "--port",
        str(port),
        "--processes",
        "1",
        "--log-level",
        "error",
    ]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not is_ready(f"http://127.0.0.1:{port}"):
                assert time.monotonic() < deadline, "waited in vain"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()


def is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(Settings()) as (address, _):
        yield address


@pytest.fixture(scope="module")
def ask(address: str) -> Ask:
    """Asks the API beside the browser."""

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx2.post(f"{address}/{path}", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    return post


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # One for each module, not for the session: Playwright's event loop would stand in the way of all later tests.
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("NO CHROMIUM, SO THE PAGE GOES UNTESTED: `make browser` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def watched_page(browser: Browser, address: str, expected: str | None = None, **options: Any) -> Iterator[Page]:
    """A page that must not write errors (but those that begin with `expected`) and must not ask other hosts."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors: list[str] = []
    requests: list[str] = []

    def is_expected(text: str) -> bool:
        return expected is not None and text.startswith(expected)

    page.on("console", lambda message: errors.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    assert [error for error in errors if not is_expected(error)] == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    context.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Callable[..., AbstractContextManager[Page]]:
    """Opens a watched page of the service and waits until it is done."""

    @contextmanager
    def opened(hash_: str = "", phase: str = "done", **options: Any) -> Iterator[Page]:
        with watched_page(browser, address, **options) as page:
            page.goto(f"{address}/{hash_}")
            wait_for(page, phase)
            yield page

    return opened


def wait_for(page: Page, phase: str = "done") -> None:
    page.wait_for_selector(f"body[data-phase={phase}]", state="attached")


def type_text(page: Page, text: str, phase: str = "done") -> None:
    """Types a text and waits for what comes of it."""
    page.locator("#text").fill(text)
    wait_for(page, phase)


def view(page: Page, expression: str, argument: Any = None, index: int = 0) -> Any:
    """What an expression over an alignment view says; `view` and `argument` are known in it."""
    found = "const view = document.querySelectorAll('alignment-view')[index];"
    return page.evaluate(f"([index, argument]) => {{ {found} return {expression}; }}", [index, argument])
