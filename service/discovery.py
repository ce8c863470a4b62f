"""Where the models to serve are found."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from service.bundle.manifest import MANIFEST_FILE
from service.errors import ConfigurationError
from service.settings import Settings

BUILT_IN_MODELS: Final = Path(__file__).parent / "models"


def find_bundles(settings: Settings, needed: bool = True) -> list[Path]:
    """The directories of all bundles to serve: the built-in ones, then those of `models_dir`, each by name.

    Hidden directories hold none: what is about to be installed stands there.

    Raises:
        ConfigurationError: there are none, though they are needed, or `models_dir` cannot be read or is a bundle.
    """
    parents = [BUILT_IN_MODELS] if settings.built_in_models else []
    if settings.models_dir is not None:
        parents.append(settings.models_dir)
        if (settings.models_dir / MANIFEST_FILE).exists():
            raise ConfigurationError(
                f"INTERLINEAR_MODELS_DIR: {settings.models_dir} is a bundle itself; name the directory that holds it"
            )
    try:
        bundles = [file.parent for parent in parents for file in sorted(parent.glob(f"[!.]*/{MANIFEST_FILE}"))]
    except OSError as error:
        raise ConfigurationError(f"INTERLINEAR_MODELS_DIR: cannot be read: {error.strerror}") from error
    if needed and not bundles:
        searched = ", ".join(str(parent) for parent in parents)
        raise ConfigurationError(f"there is no model bundle (a directory with a {MANIFEST_FILE}) in {searched}")
    return bundles
