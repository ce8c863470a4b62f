"""Settings: defaults, the environment, the command line before it, and clear complaints."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engine.limits import EngineLimits
from service.errors import ConfigurationError
from service.settings import load_settings, unknown_variables


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INTERLINEAR_HOST", "INTERLINEAR_PORT", "INTERLINEAR_MODELS_DIR", "INTERLINEAR_PROVIDER"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_listen_on_this_machine_only() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.provider, settings.precision) == ("127.0.0.1", 8000, "auto", None)


def test_the_command_line_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLINEAR_PORT", "9000")
    monkeypatch.setenv("INTERLINEAR_HOST", "0.0.0.0")
    settings = load_settings({"port": "9001"})
    assert (settings.host, settings.port) == ("0.0.0.0", 9001)


def test_origins_are_listed_with_commas() -> None:
    assert load_settings().allowed_origins == []
    origins = load_settings({"cors_origins": "https://example.org, http://[::1]:8080"}).allowed_origins
    assert origins == ["https://example.org", "http://[::1]:8080"]


def test_engine_limits_are_taken_over() -> None:
    overrides = {
        "max_live_rows": "8",
        "max_padded_memory_tokens": "99",
        "max_queue": "7",
        "max_queue_wait_s": "0.5",
    }
    assert load_settings(overrides).engine_limits == EngineLimits(8, 99, 7, 0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "tcp://10.0.0.1:80"),  # what Kubernetes sets for a service of this name
        ("provider", "tpu"),
        ("precision", "int4"),
        ("threads", "0"),
        ("max_queue_wait_s", "nan"),
        ("max_queue_wait_s", "0"),
        ("max_beam_size", "many"),
        ("built_in_models", "perhaps"),
        ("models_dir", "/does/not/exist"),
        ("cors_origins", "example.org"),
        ("cors_origins", "https://example.org, https://example.net/path"),
    ],
)
def test_wrong_values_name_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"INTERLINEAR_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=f"^INTERLINEAR_{name.upper()}: ") as error:
        load_settings()
    assert "\n" not in str(error.value)


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings({"port": "-1", "threads": "x"})
    assert "INTERLINEAR_PORT: " in str(error.value)
    assert "INTERLINEAR_THREADS: " in str(error.value)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELS_DIR", "PRECISION", "PORT"):
        monkeypatch.setenv(f"INTERLINEAR_{name}", "")
    settings = load_settings()
    assert (settings.models_dir, settings.precision, settings.port) == (None, None, 8000)


def test_no_models_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        load_settings({"built_in_models": "false"})
    assert load_settings({"built_in_models": "false", "models_dir": str(tmp_path)}).models_dir == tmp_path


def test_misspelt_variables_are_noticed() -> None:
    environment = ["INTERLINEAR_BEAMSIZE", "INTERLINEAR_PROT", "INTERLINEAR_PORT", "interlinear_host", "PATH"]
    assert unknown_variables(environment) == [
        "unknown setting INTERLINEAR_BEAMSIZE has no effect; did you mean INTERLINEAR_MAX_BEAM_SIZE?",
        "unknown setting INTERLINEAR_PROT has no effect; did you mean INTERLINEAR_PORT?",
    ]
