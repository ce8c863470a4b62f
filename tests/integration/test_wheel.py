"""The wheel in an empty environment: it holds what it should, installs without TensorFlow and serves."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NOT_FOR_SERVING = {"keras", "model_export", "tensorflow", "tf2onnx"}


def run(*command: str | Path, lines: str = "") -> str:
    """What a command that must succeed writes when it is given `lines`, run far from the checkout."""
    done = subprocess.run(
        [str(word) for word in command], input=lines, cwd="/", capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", directory, ROOT)
    [path] = directory.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of an environment that holds the wheel and what serving needs."""
    directory = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", directory)
    constraints = ROOT / "deploy/constraints/serve.txt"
    run(directory / "bin/python", "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel)
    return directory / "bin"


@pytest.fixture(scope="module")
def url(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `interlinear serve` from that environment; it may not be ready yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"INTERLINEAR_PORT": str(port), "PATH": os.environ["PATH"]}
    log = tmp_path_factory.mktemp("log") / "serve.txt"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [environment / "interlinear", "serve"], cwd="/", env=settings, stdout=output, stderr=subprocess.STDOUT
        ) as server,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)
            print(log.read_text(errors="replace"))


def test_wheel_holds_both_packages_with_model_and_page_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"service", "model_export", f"interlinear-{VERSION}.dist-info"}
    model = "service/models/eng-fra"
    assert {f"{model}/manifest.json", f"{model}/MODEL_CARD.md", "service/ui/index.html"} <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_environment_without_extras_has_neither_tensorflow_nor_keras(environment: Path) -> None:
    listed = json.loads(run(environment / "python", "-m", "pip", "list", "--format", "json"))
    installed = {re.sub(r"[-_.]+", "_", package["name"]).lower() for package in listed}
    assert {"interlinear", "onnxruntime"} <= installed
    assert not installed & {*NOT_FOR_SERVING, "onnxruntime_gpu", "torch"}


def test_service_imports_nothing_of_training(environment: Path) -> None:
    loaded = run(environment / "python", "-c", "import service.cli, service.main, sys; print(*sys.modules)").split()
    assert not NOT_FOR_SERVING & {name.split(".")[0] for name in loaded}


def test_onnxruntime_is_told_not_to_report_its_use(environment: Path) -> None:
    code = "import service.onnx_backend, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run("env", "-u", "ORT_DISABLE_TELEMETRY", environment / "python", "-c", code) == "1\n"


def test_installed_service_passes_the_smoke_test(url: str) -> None:
    assert run(sys.executable, ROOT / "deploy/smoke_test.py", "--url", url).startswith("passed: I like tea. -> ")


def test_installed_service_shows_its_page_and_its_version(url: str) -> None:
    run(sys.executable, ROOT / "deploy/smoke_test.py", "--url", url)
    with urllib.request.urlopen(f"{url}/", timeout=10) as page:
        assert "<html" in page.read().decode().lower()
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as document:
        assert json.load(document)["info"]["version"] == VERSION


def test_installed_command_translates_without_a_server(environment: Path) -> None:
    assert "thé" in run(environment / "interlinear", "translate", lines="I like tea.\n")
