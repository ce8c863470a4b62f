"""From settings to loaded models: verify the bundles, open their graphs."""

from __future__ import annotations

import logging

from service.bundle.reader import Bundle, read_bundle
from service.decoding.backend import Seq2SeqBackend
from service.discovery import find_bundles
from service.engine.engine import Engine
from service.engine.limits import EngineLimits
from service.forced_alignment import Aligner
from service.onnx_backend import BackendOptions, load_backend
from service.processes import Place, count_threads
from service.registry import LoadedModel, ModelRegistry
from service.serving import ServedModels
from service.settings import Settings
from service.translator import Translator, TranslatorLimits

logger = logging.getLogger(__name__)


def load_models(
    settings: Settings,
    backend: Seq2SeqBackend | None = None,
    limits: EngineLimits | None = None,
    place: Place | None = None,
) -> ServedModels:
    """Reads and verifies every bundle and gives each model an engine, not yet started.

    Args:
        settings: where bundles are and how they are to run.
        backend: runs every model instead of its own graphs; calls from several threads must be safe.
        limits: the engines' budgets, if not those of the settings.
        place: which of the service's processes this is, if there are several.

    Raises:
        StartupError: nothing to serve, or something that cannot be served.
    """
    models: list[LoadedModel] = []
    engines: dict[str, Engine] = {}
    options = BackendOptions(settings.provider, settings.precision, intra_op_threads=1)
    place = place or Place()
    for path in place.counts or find_bundles(settings):
        bundle = read_bundle(path)
        chosen = backend or load_backend(bundle, options)
        engine_limits = limits or settings.engine_limits
        on_gpu = getattr(chosen, "provider", "cpu") == "cuda"  # which does one thing at a time
        threads = 1 if on_gpu else count_threads(settings)
        workers = _count_workers(threads, settings, engine_limits, bundle.manifest.max_source_tokens)
        counts = place.engine_counts(path, workers)
        engine = Engine(chosen, bundle.manifest.special_ids, engine_limits, workers, counts)
        models.append(_loaded_model(bundle, engine, chosen, settings))
        engines[bundle.manifest.name] = engine
    return ServedModels(ModelRegistry(models), engines)


def _count_workers(threads: int, settings: Settings, limits: EngineLimits, max_source_tokens: int) -> int:
    """A worker for each thread, but not so many that their parts of the budgets do not hold the largest sentence."""
    rows = max(settings.max_beam_size, settings.max_num_hypotheses)
    tokens = rows * max_source_tokens
    fitting = min(limits.max_live_rows // rows, limits.max_padded_memory_tokens // tokens)
    return max(1, min(threads, fitting))


def _loaded_model(bundle: Bundle, engine: Engine, backend: Seq2SeqBackend, settings: Settings) -> LoadedModel:
    translator_limits = TranslatorLimits(
        max_source_tokens=bundle.manifest.max_source_tokens,
        max_decoding_length=settings.max_target_tokens,
        preferred_source_tokens=bundle.manifest.preferred_source_tokens,
    )
    manifest = bundle.manifest
    reading = manifest.attention_mechanisms, manifest.alignment.rule, manifest.omission.rule
    model = LoadedModel(
        manifest=bundle.manifest,
        translator=Translator(bundle.tokenizer, engine, translator_limits, *reading),
        aligner=Aligner(bundle.tokenizer, engine, translator_limits, *reading),
        provider=getattr(backend, "provider", "custom"),
        precision=getattr(backend, "precision", "custom"),
    )
    logger.info("model %s: %s on %s", bundle.manifest.name, model.precision, model.provider)
    return model
