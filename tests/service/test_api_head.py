"""HEAD is answered wherever GET is, with the same headers and without content."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.service.api_client import running_app


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models")) as (client, _):
        yield client


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/models", "/models/none"])
def test_head_is_get_without_content(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert int(head.headers["content-length"]) == len(got.content) > 0


def test_head_of_what_takes_post_only_is_refused(client: TestClient) -> None:
    head = client.head("/translate")
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


def test_the_metrics_count_it_as_get(client: TestClient) -> None:
    client.head("/languages")
    counted = [line for line in client.get("/metrics").text.splitlines() if 'route="/languages"' in line]
    assert counted
    assert not any("HEAD" in line for line in counted)
