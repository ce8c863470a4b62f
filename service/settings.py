"""Everything that can be configured, from `INTERLINEAR_*` variables or from the command line's options."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import DirectoryPath, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.engine.limits import (
    DEFAULT_MAX_LIVE_ROWS,
    DEFAULT_MAX_PADDED_MEMORY_TOKENS,
    DEFAULT_MAX_QUEUE,
    DEFAULT_MAX_QUEUE_WAIT_S,
    EngineLimits,
)
from service.errors import ConfigurationError

PREFIX = "INTERLINEAR_"
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")


class Settings(BaseSettings):
    """The service's configuration. Lengths of text count Unicode code points, decoding lengths target tokens.

    A variable that is set to nothing counts as not set.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 lets the system choose")
    provider: Literal["cpu", "cuda", "auto"] = Field(
        "auto", description="where models run; auto takes CUDA where it can be had"
    )
    precision: Literal["int8", "fp16", "fp32"] | None = Field(
        None, description="precision variant of the models; by default what suits the provider"
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="batches that a model decodes at the same time; by default one for each usable core",
    )
    processes: int | None = Field(
        None, ge=1, le=64, description="processes that share requests and threads; by default one per core, at most 4"
    )
    models_dir: DirectoryPath | None = Field(None, description="directory of further model bundles")
    built_in_models: bool = Field(True, description="serve the models that come with the package")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe level logged")
    access_log: bool = Field(False, description="log a line per request (never its body)")
    cors_origins: str | None = Field(
        None,
        description="origins whose pages may use the service, separated by commas, or *; by default none but its own",
    )
    shutdown_timeout_s: float = Field(
        30.0, ge=0, le=3600, description="seconds that accepted requests get to finish when the service stops"
    )

    max_request_bytes: int = Field(1_000_000, ge=1, description="largest request body")
    max_texts: int = Field(128, ge=1, description="most texts in one request")
    max_text_length: int = Field(20_000, ge=1, description="longest text, in code points")
    max_beam_size: int = Field(16, ge=1, description="largest beam size a request may ask for")
    max_num_hypotheses: int = Field(16, ge=1, description="most hypotheses a request may ask for")
    max_target_tokens: int = Field(512, ge=1, description="largest max_decoding_length a request may ask for")

    max_live_rows: int = Field(
        DEFAULT_MAX_LIVE_ROWS, ge=1, description="hypotheses advanced together by one decoding step"
    )
    max_padded_memory_tokens: int = Field(
        DEFAULT_MAX_PADDED_MEMORY_TOKENS, ge=1, description="live rows times longest source sentence in tokens"
    )
    max_queue: int = Field(DEFAULT_MAX_QUEUE, ge=1, description="sentences that may wait")
    max_queue_wait_s: float = Field(
        DEFAULT_MAX_QUEUE_WAIT_S, gt=0, le=3600, description="seconds that a request may wait for its start"
    )

    max_request_s: float | None = Field(
        None, gt=0, le=86_400, description="seconds that decoding a request may take, waiting included; by default any"
    )

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str | None) -> str | None:
        for origin in _listed(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("must be origins such as https://example.org, separated by commas, or *")
        return value

    @model_validator(mode="after")
    def _check_models(self) -> Settings:
        if self.models_dir is None and not self.built_in_models:
            raise ValueError(f"{PREFIX}MODELS_DIR: must be set without the built-in models; there would be no model")
        return self

    @property
    def allowed_origins(self) -> list[str]:
        """The origins of `cors_origins`."""
        return _listed(self.cors_origins)

    @property
    def engine_limits(self) -> EngineLimits:
        """The budgets of each model's engine."""
        return EngineLimits(
            self.max_live_rows,
            self.max_padded_memory_tokens,
            self.max_queue,
            self.max_queue_wait_s,
            self.max_request_s,
        )


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def load_settings(overrides: Mapping[str, str] | None = None) -> Settings:
    """Reads the environment; `overrides` (field name to text, from the command line) go before it.

    Raises:
        ConfigurationError: a value is not allowed; the message names every setting concerned.
    """
    try:
        return Settings(**dict(overrides or {}))  # type: ignore[arg-type]  # pydantic reads text, as from the environment
    except ValidationError as error:
        problems = [_describe(item["loc"], item["msg"]) for item in error.errors(include_input=False)]
        raise ConfigurationError("; ".join(problems)) from None


def _describe(location: tuple[int | str, ...], message: str) -> str:
    if not location:  # from a rule that spans fields, which names its field itself
        return message.removeprefix("Value error, ")
    return f"{PREFIX}{str(location[0]).upper()}: {message}"


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Complaints about `INTERLINEAR_*` variables that are no setting, each with the setting it may have meant."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    complaints = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            complaints.append(f"unknown setting {name} has no effect{hint}")
    return complaints
