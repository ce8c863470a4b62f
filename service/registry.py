"""The models that are loaded, and how a request finds its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from service.bundle.manifest import Manifest
from service.errors import ConfigurationError, ModelNotFoundError
from service.forced_alignment import Aligner
from service.translator import Translator


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that serves.

    Attributes:
        manifest: what its bundle says about it.
        translator: the pipeline around it.
        aligner: what aligns given pairs with it.
        provider: where it runs: `cpu` or `cuda`.
        precision: the variant in use: `fp32`, `fp16` or `int8`.
    """

    manifest: Manifest
    translator: Translator
    aligner: Aligner
    provider: str
    precision: str

    def translates(self, source_language: str | None, target_language: str | None) -> bool:
        """Whether the model serves this pair; None stands for any language."""
        return _serves(self.manifest.source_language, source_language) and _serves(
            self.manifest.target_language, target_language
        )


class ModelRegistry:
    """All loaded models, in the order they were loaded: the first is the default, and wins where several would do."""

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        """Takes the models to serve.

        Raises:
            ConfigurationError: there is none, or two have the same name.
        """
        if not models:
            raise ConfigurationError("no model to serve")
        self._models = {model.manifest.name: model for model in models}
        if len(self._models) < len(models):
            names = sorted(model.manifest.name for model in models)
            repeated = next(name for name, following in pairwise(names) if name == following)
            raise ConfigurationError(f"two models have the name {repeated}")

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """All models, in the order they were loaded."""
        return tuple(self._models.values())

    @property
    def language_pairs(self) -> tuple[tuple[str, str], ...]:
        """The (source, target) pairs served, each once, in the order of the models."""
        pairs = ((model.manifest.source_language, model.manifest.target_language) for model in self.models)
        return tuple(dict.fromkeys(pairs))

    def find(
        self, name: str | None = None, source_language: str | None = None, target_language: str | None = None
    ) -> LoadedModel:
        """Finds the first model that fits everything that is given; with nothing given, the first of all.

        Languages match whatever their case; a regional variety such as `en-GB` is served by a model for `en` unless
        one is installed for itself.

        Raises:
            ModelNotFoundError: none fits; the message lists those that exist and does not repeat what was asked for.
        """
        if name is not None and name not in self._models:
            raise ModelNotFoundError(f"model: not installed; there is {_listing(self.models)}", "model")
        candidates = self.models if name is None else (self._models[name],)
        fitting = [model for model in candidates if model.translates(source_language, target_language)]
        if not fitting:
            field = "target_language" if source_language is None else "source_language"
            problem = "not served" if source_language is None or target_language is None else "this pair is not served"
            raise ModelNotFoundError(f"{field}: {problem}; there is {_listing(candidates)}", field)
        wanted = (source_language, target_language)
        return max(fitting, key=lambda model: _exact_matches(model, wanted))

    def find_reverse(self, model: LoadedModel) -> LoadedModel:
        """Finds a model for the other direction.

        Raises:
            ModelNotFoundError: there is none.
        """
        source, target = model.manifest.target_language, model.manifest.source_language
        try:
            return self.find(None, source, target)
        except ModelNotFoundError:
            problem = f"needs a model for {source} to {target} as well; there is {_listing(self.models)}"
            raise ModelNotFoundError(f"symmetrisation: {problem}", "symmetrisation") from None


def _listing(models: Iterable[LoadedModel]) -> str:
    return ", ".join(
        f"{model.manifest.name} ({model.manifest.source_language} to {model.manifest.target_language})"
        for model in models
    )


def _normalised(language: str) -> str:
    return language.lower().replace("_", "-")


def _serves(served: str, wanted: str | None) -> bool:
    return wanted is None or _normalised(served) in (_normalised(wanted), _normalised(wanted).split("-")[0])


def _exact_matches(model: LoadedModel, wanted: tuple[str | None, str | None]) -> int:
    """How many of the wanted languages the model serves by their very code; the first of equals wins in `max`."""
    served = (model.manifest.source_language, model.manifest.target_language)
    return sum(
        language is not None and _normalised(language) == _normalised(code)
        for code, language in zip(served, wanted, strict=True)
    )
