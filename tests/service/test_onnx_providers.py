"""Which provider and which precision a model runs in, and what is said when it cannot."""

from __future__ import annotations

import importlib.metadata
import logging
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from service.bundle.reader import read_bundle
from service.errors import BundleError, ProviderError, StartupError
from service.onnx_backend import CUDA_PROVIDER, BackendOptions, Provider, choose_precision, load_backend
from tests.service.tiny_bundle import write_bundle


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.mark.parametrize(
    ("requested", "provider", "available", "expected"),
    [
        (None, "cpu", {"fp32", "int8", "fp16"}, "int8"),
        (None, "cpu", {"fp32", "fp16"}, "fp32"),
        (None, "cuda", {"fp32", "int8", "fp16"}, "fp16"),
        (None, "cuda", {"fp32", "int8"}, "fp32"),
        (None, "cuda", {"int8"}, "int8"),
        (None, "cpu", {"int4"}, "int4"),
        ("fp32", "cpu", {"fp32", "int8"}, "fp32"),
        ("int8", "cuda", {"fp16", "int8"}, "int8"),
    ],
)
def test_the_precision_suits_the_provider_unless_asked_for(
    requested: str | None, provider: Provider, available: set[str], expected: str
) -> None:
    assert choose_precision(requested, provider, available) == expected


def test_a_precision_that_the_bundle_lacks_is_refused(directory: Path) -> None:
    with pytest.raises(BundleError, match="has no 'int8'; it has fp32"):
        load_backend(read_bundle(directory), BackendOptions("cpu", precision="int8"))


def test_cuda_that_is_not_installed_is_an_error_that_says_what_to_install(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match=r"make install-gpu.*CUDA.*cuDNN"):
        load_backend(read_bundle(directory), BackendOptions("cuda"))
    assert load_backend(read_bundle(directory), BackendOptions("auto")).provider == "cpu"


@pytest.fixture
def falling_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime that lists CUDA and then runs on the CPU, as it does where CUDA's libraries are missing."""
    open_session = onnxruntime.InferenceSession

    def open_on_cpu(path: str, options: onnxruntime.SessionOptions, providers: list[object], enable_fallback: int):  # type: ignore[no-untyped-def]
        assert enable_fallback == 0
        return open_session(path, options, providers=[providers[-1]], enable_fallback=0)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_on_cpu)


@pytest.mark.usefixtures("falling_back")
def test_a_silent_fallback_is_an_error_where_cuda_is_asked_for(directory: Path) -> None:
    with pytest.raises(ProviderError, match="fell back to the CPU"):
        load_backend(read_bundle(directory), BackendOptions("cuda"))


@pytest.mark.usefixtures("falling_back")
def test_a_silent_fallback_is_a_warning_where_the_choice_is_free(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="service.onnx_backend"):
        backend = load_backend(read_bundle(directory), BackendOptions("auto"))
    assert backend.provider == "cpu"
    assert "fell back to the CPU" in caplog.text
    assert len(backend.encode(np.array([[5, 2]], dtype=np.int32), np.array([2], dtype=np.int32)).memory) == 2


def test_two_onnxruntime_packages_are_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = read_bundle(directory)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")
    with pytest.raises(StartupError, match="both installed"):
        load_backend(bundle, BackendOptions())
