"""The loaded models together with the engines that run them: started, warmed up and stopped as one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from service.domain import DecodingOptions
from service.engine.engine import Engine
from service.registry import ModelRegistry

WARM_UP_TEXT = "1 2 3."  # translatable whatever the language


@dataclass(frozen=True, slots=True)
class ServedModels:
    """What a process serves.

    Attributes:
        registry: the models, by name and language pair.
        engines: each model's engine, by the model's name.
    """

    registry: ModelRegistry
    engines: Mapping[str, Engine]

    @property
    def are_running(self) -> bool:
        """Whether every engine's worker is alive."""
        return all(engine.is_running for engine in self.engines.values())

    async def start(self) -> None:
        """Starts every engine and translates a line with each model, greedily and with a beam."""
        for engine in self.engines.values():
            engine.start()
        for model in self.registry.models:
            for beam_size in (1, 4):
                await model.translator.translate([WARM_UP_TEXT], DecodingOptions(beam_size=beam_size))

    async def stop(self, timeout_s: float) -> None:
        """Finishes accepted work within `timeout_s` seconds and stops every engine."""
        await asyncio.gather(*(engine.stop(timeout_s) for engine in self.engines.values()))
