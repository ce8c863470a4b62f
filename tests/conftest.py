"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

# Machines are shared and noisy: how long an example takes says nothing.
settings.register_profile("interlinear", deadline=None)
settings.load_profile("interlinear")
