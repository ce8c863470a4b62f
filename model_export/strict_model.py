"""The base of all settings, apart so that every module of settings can import it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Immutable settings that reject unknown fields, so that a typing error cannot pass unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
