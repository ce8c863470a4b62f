"""Answers about the models: what is served, and what a bundle says of itself."""

from __future__ import annotations

from service.api.schemas import LanguagePair, LinkRuleModel, MechanismModel, ModelDetail, ModelSummary
from service.registry import LoadedModel, ModelRegistry


def model_summary(model: LoadedModel) -> ModelSummary:
    """What a client needs to choose a model."""
    manifest = model.manifest
    return ModelSummary(
        name=manifest.name,
        source_language=manifest.source_language,
        target_language=manifest.target_language,
        precision=model.precision,
        provider=model.provider,
        normalized=manifest.normalized,
        mechanisms=[
            MechanismModel(name=mechanism.name, normalized=mechanism.normalized, row_offset=mechanism.row_offset)
            for mechanism in manifest.attention_mechanisms
        ],
    )


def model_detail(model: LoadedModel) -> ModelDetail:
    """What a client needs to trust, or to credit, a model."""
    manifest = model.manifest
    return ModelDetail(
        **model_summary(model).model_dump(),
        vocabulary_size=manifest.tokenizer.vocabulary_size,
        max_source_tokens=manifest.max_source_tokens,
        preferred_source_tokens=manifest.preferred_source_tokens or manifest.max_source_tokens,
        alignment=LinkRuleModel(**manifest.alignment.model_dump()),
        architecture=manifest.architecture,
        training=manifest.training.model_dump(mode="json"),
        scores=[score.model_dump(mode="json") for score in manifest.scores],
        error_analysis=manifest.error_analysis,
    )


def language_pairs(registry: ModelRegistry) -> list[LanguagePair]:
    """Every pair served, with the names of its models."""
    return [
        LanguagePair(
            source_language=source,
            target_language=target,
            models=[
                model.manifest.name
                for model in registry.models
                if (model.manifest.source_language, model.manifest.target_language) == (source, target)
            ],
        )
        for source, target in registry.language_pairs
    ]
