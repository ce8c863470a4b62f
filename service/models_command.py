"""`interlinear models`: what is installed, and installing more."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from service.bundle.reader import Bundle, read_bundle
from service.cli_options import add_settings
from service.discovery import find_bundles
from service.errors import BundleError, ConfigurationError, InstallationError
from service.model_installation import InstallationOptions, install_bundle
from service.settings import PREFIX, Settings

PLACE_SETTINGS = ("models_dir", "built_in_models", "log_level")


def add_models(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = actions.add_parser(
        "install",
        help="put a bundle into the models directory",
        description="Puts a bundle archive into the models directory, verified first, whole or not at all. A running "
        "service serves it after its next start.",
    )
    install.add_argument("source", metavar="FILE-or-URL", help="a .tar.gz or .zip; URLs begin with https://")
    install.add_argument(
        "--sha256", metavar="HEX", help="the archive's checksum (default: from FILE-or-URL.sha256; URLs must have one)"
    )
    install.add_argument("--force", action="store_true", help="replace an installed model of the same name")
    add_settings(install, PLACE_SETTINGS)
    add_settings(
        actions.add_parser("list", help="list the models that would be served", description="Verifies each of them."),
        PLACE_SETTINGS,
    )


def make_models_dir(options: argparse.Namespace) -> None:
    """Makes the directory to install to, if it is named and not there.

    Raises:
        ConfigurationError: it cannot be made.
    """
    name = options.models_dir or os.environ.get(f"{PREFIX}MODELS_DIR")
    if options.action != "install" or not name:
        return
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}MODELS_DIR: {name}: cannot be made: {error.strerror}") from None


def run_models(options: argparse.Namespace, settings: Settings) -> None:
    """Runs the action.

    Raises:
        InstallationError: installing failed, or an installed bundle cannot be served.
        BundleError: the bundle to install could not be served.
        ConfigurationError: no place to install to.
    """
    if options.action == "list":
        _list(find_bundles(settings))
        return
    if settings.models_dir is None:
        raise ConfigurationError(f"{PREFIX}MODELS_DIR: must be set, or --models-dir given: models are installed there")
    bundle = install_bundle(
        options.source,
        settings.models_dir,
        find_bundles(settings, needed=False),
        InstallationOptions(options.sha256, options.force, sys.stderr.isatty(), _check_graphs),
    )
    print(_describe(bundle))


def _check_graphs(bundle: Bundle) -> None:
    """Loads the graphs of every precision, which holds them against the manifest; the CPU runs them all."""
    from service.onnx_backend import BackendOptions, load_backend

    for precision in bundle.manifest.precisions:
        load_backend(bundle, BackendOptions("cpu", precision, 1))


def _list(paths: Iterable[Path]) -> None:
    problems = []
    places: dict[str, Path] = {}
    for path in paths:
        try:
            bundle = read_bundle(path)
        except BundleError as error:
            problems.append(f"cannot be served: {error}")
            continue
        print(_describe(bundle))
        name = bundle.manifest.name
        if name in places:
            problems.append(f"two models have the name {name}: {places[name]} and {path}")
        places[name] = path
    if problems:
        raise InstallationError(f"the service would not start: {'; '.join(problems)}")


def _describe(bundle: Bundle) -> str:
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files.values())
    precisions = ", ".join(sorted(manifest.precisions))
    languages = f"{manifest.source_language} to {manifest.target_language}"
    return f"{manifest.name}: {languages}, {precisions}, {size / 1e6:.1f} MB, {bundle.path}"
