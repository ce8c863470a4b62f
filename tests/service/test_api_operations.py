"""Everything around translation: catalogue, probes, metrics, pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.api.pages import UI_DIRECTORY
from service.main import create_app
from tests.service.api_client import ControlledBackend, running_app, tiny_settings
from tests.service.tiny_bundle import make_manifest, write_bundle, write_manifest

PAGE_BUDGET_BYTES = 80_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("models")) as (client, _):
        yield client


def test_models_are_listed_with_their_provider(client: TestClient) -> None:
    [model] = client.get("/models").json()["models"]
    assert (model["name"], model["source_language"], model["target_language"]) == ("tiny", "en", "fr")
    assert model["normalized"] is True
    assert model["mechanisms"] == [{"name": "luong", "normalized": True, "row_offset": 0}]
    assert {"provider", "precision"} <= model.keys()


def test_a_model_says_how_it_came_to_be(client: TestClient) -> None:
    model = client.get("/models/tiny").json()
    assert model["architecture"] == {"cell": "gru", "attention_mechanism": "luong"}
    assert (model["max_source_tokens"], model["preferred_source_tokens"]) == (64, 64)
    assert model["training"] == {"config": {"seed": 1}, "data": [], "remarks": ""}
    assert model["error_analysis"] == ""


def test_a_model_says_what_it_is_weak_at(tmp_path: Path) -> None:
    def write(directory: Path) -> Path:
        write_manifest(write_bundle(directory), make_manifest() | {"error_analysis": "Rare words are misspelt."})
        return directory

    with running_app(tmp_path, write) as (client, _):
        assert client.get("/models/tiny").json()["error_analysis"] == "Rare words are misspelt."


def test_languages_are_listed_with_their_models(client: TestClient) -> None:
    pair = {"source_language": "en", "target_language": "fr", "models": ["tiny"]}
    assert client.get("/languages").json() == {"languages": [pair]}


def test_the_service_is_ready_between_its_start_and_its_end(tmp_path: Path) -> None:
    backend = ControlledBackend(write_bundle(tmp_path / "tiny"))
    app = create_app(tiny_settings(tmp_path), backend)
    unstarted = TestClient(app)
    assert (unstarted.get("/readyz").status_code, unstarted.get("/readyz").json()) == (503, {"status": "starting"})
    assert unstarted.get("/healthz").status_code == 200
    assert unstarted.post("/translate", json={"text": "a"}).status_code == 503
    with TestClient(app) as client:
        assert backend.steps > 0  # a real inference has run
        assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (200, {"status": "ready"})
    assert (unstarted.get("/readyz").status_code, unstarted.get("/readyz").json()) == (503, {"status": "draining"})
    assert unstarted.post("/translate", json={"text": "a"}).status_code == 503


def test_a_dead_worker_is_unhealthy(tmp_path: Path) -> None:
    with running_app(tmp_path) as (client, _):
        models = client.app.state.service.models  # type: ignore[attr-defined]
        models.engines["tiny"]._queue.close()
        models.engines["tiny"]._workers[0].join(10)
        assert (client.get("/healthz").status_code, client.get("/healthz").json()) == (503, {"status": "failed"})
        assert client.get("/readyz").status_code == 503


def sample(text: str, name: str) -> float:
    [value] = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(value)


def test_metrics_count_requests_problems_and_tokens(tmp_path: Path) -> None:
    with running_app(tmp_path) as (client, _):
        before = client.get("/metrics")
        assert before.headers["content-type"].startswith("text/plain; version=")
        client.post("/translate", json={"text": ["a cat", "a dog"], "min_decoding_length": 5, "max_decoding_length": 5})
        client.post("/translate", json={})
        client.get("/made-up")
        client.request("MADE-UP", "/translate")
        after = client.get("/metrics").text
    assert sample(after, 'interlinear_http_requests_total{method="POST",route="/translate",status="200"}') == 1
    assert sample(after, 'interlinear_http_requests_total{method="POST",route="/translate",status="422"}') == 1
    assert sample(after, 'interlinear_http_requests_total{method="GET",route="unmatched",status="404"}') == 1
    assert sample(after, 'interlinear_http_requests_total{method="other",route="/translate",status="405"}') == 1
    assert sample(after, 'interlinear_problems_total{problem="invalid-request"}') == 1
    assert sample(after, 'interlinear_http_request_duration_seconds_count{route="/translate"}') == 3
    for name, growth in (("sentences", 2), ("target_tokens", 10)):
        series = f'interlinear_{name}_total{{model="tiny"}}'
        assert sample(after, series) - sample(before.text, series) == growth
    assert sample(after, 'interlinear_queue_length{model="tiny"}') == 0
    assert sample(after, 'interlinear_live_rows{model="tiny"}') == 0
    assert 'interlinear_model_info{model="tiny"' in after


def test_apps_count_for_themselves(tmp_path: Path) -> None:
    with running_app(tmp_path / "one") as (one, _), running_app(tmp_path / "two") as (two, _):
        one.get("/models")
        assert 'route="/models"' not in two.get("/metrics").text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_everything_from_the_service(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.headers["content-type"].startswith("text/html")
    references = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert references
    for reference in references:
        assert "//" not in reference
        assert client.get(f"/{reference}").status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "<script>" not in page.text
    assert not re.search(r"<[^>]+ (on\w+|style)=", page.text)


def test_the_page_itself_names_no_other_host_and_makes_no_html_of_text() -> None:
    for file in UI_DIRECTORY.iterdir():
        content = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//\w", re.sub(r"// .*", "", content)), file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", content), file


def test_modules_import_what_exists(client: TestClient) -> None:
    for file in UI_DIRECTORY.glob("*.js"):
        for module in re.findall(r'from "\./([^"]+)"', file.read_text(encoding="utf-8")):
            assert client.get(f"/ui/{module}").status_code == 200


def test_the_page_is_light() -> None:
    files = [file for file in UI_DIRECTORY.iterdir() if file.stem != "docs"]
    assert sum(file.stat().st_size for file in files) < PAGE_BUDGET_BYTES


def test_other_origins_are_let_in_by_setting_only(client: TestClient, tmp_path: Path) -> None:
    asks = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.get("/models", headers=asks).headers
    with running_app(tmp_path, cors_origins="https://example.org") as (open_client, _):
        answer = open_client.get("/ui/alignment-view.js", headers=asks)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        assert answer.headers["access-control-expose-headers"] == "Retry-After"
        preflight = open_client.options("/translate", headers=asks | {"Access-Control-Request-Headers": "content-type"})
        assert preflight.status_code == 200
        stranger = open_client.get("/models", headers={"Origin": "https://example.net"})
        assert "access-control-allow-origin" not in stranger.headers


def test_only_known_files_are_delivered(client: TestClient) -> None:
    for path in (
        "/ui/index.html",
        "/ui/..%2fmain.py",
        "/ui/%2e%2e/main.py",
        "/docs/__init__.py",
        "/docs/favicon-32x32.png",
    ):
        assert client.get(path).status_code == 404, path


def test_the_openapi_document_holds_the_configured_limits(tmp_path: Path) -> None:
    with running_app(tmp_path, max_beam_size=7, max_text_length=99, max_texts=5) as (client, _):
        document = client.get("/openapi.json").json()
    schema = document["paths"]["/translate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["beam_size"]["maximum"] == 7
    assert [each.get("maxLength", each.get("maxItems")) for each in schema["properties"]["text"]["oneOf"]] == [99, 5]
    problems = {"404", "413", "415", "422", "500", "503"}
    assert problems < document["paths"]["/translate"]["post"]["responses"].keys()
    for path in document["paths"].values():
        for operation in path.values():
            assert "HTTPValidationError" not in str(operation)
