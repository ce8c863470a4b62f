"""`interlinear-export train`: from files of sentence pairs to a trained model in a run directory."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import keras
from pydantic import TypeAdapter, ValidationError

from model_export.batching import BucketedBatches
from model_export.config import ExperimentConfig, read_config
from model_export.corpus_readers import Corpus, CorpusFormat, read_pairs
from model_export.data import EncodedPairs, encode_pairs
from model_export.errors import ConfigError
from model_export.run_directory import RunDirectory
from model_export.seq2seq import Seq2Seq
from model_export.tokenizer_training import train_tokenizer
from model_export.training import Trainer
from service.bundle.manifest import LanguageCode
from service.bundle.tokenizer import Tokenizer


def run_training(arguments: Namespace) -> None:
    """Trains a model, or goes on with one, as the command line says."""
    run = RunDirectory(arguments.output)
    if not arguments.resume:
        run.refuse_existing()
    for option in ("source_language", "target_language"):
        _check_language(option, getattr(arguments, option))
    corpora = {name: _read(getattr(arguments, name), arguments) for name in ("train", "dev")}
    if not arguments.resume:
        _create_run(run, arguments, corpora)
    config = run.read_config()
    tokenizer = run.read_tokenizer()
    encoded = {name: _encode(corpus, tokenizer, config) for name, corpus in corpora.items()}
    trainer = _make_trainer(run, config, encoded)
    if arguments.resume:
        trainer.resume()
        print(f"resuming in epoch {trainer.progress.epoch + 1} after {trainer.progress.step} steps")
    progress = trainer.run()
    print(f"best dev loss {progress.best_dev_loss:.4f} nats per token; weights in {run.path}")


def _check_language(option: str, code: str) -> None:
    """Refuses now what the bundle's manifest would refuse when all the training is done."""
    try:
        TypeAdapter(LanguageCode).validate_python(code)
    except ValidationError as error:
        name = option.replace("_", "-")
        raise ConfigError(f"--{name}: {code!r} is no language code such as en, fr or pt-BR") from error


def _read(paths: list[Path], arguments: Namespace) -> Corpus:
    corpus_format = CorpusFormat(source_language=arguments.source_language, target_language=arguments.target_language)
    corpus = read_pairs(paths, corpus_format, show_progress=True)
    print(corpus.report())
    return corpus


def _encode(corpus: Corpus, tokenizer: Tokenizer, config: ExperimentConfig) -> EncodedPairs:
    encoded = encode_pairs(corpus, tokenizer, config.training.max_tokens, show_progress=True)
    print(encoded.report())
    return encoded


def _create_run(run: RunDirectory, arguments: Namespace, corpora: dict[str, Corpus]) -> None:
    """Trains or copies the tokenizer and writes what is fixed for the whole run."""
    config = read_config(arguments.config) if arguments.config else ExperimentConfig()
    if arguments.seed is not None:
        config = config.model_copy(update={"training": config.training.model_copy(update={"seed": arguments.seed})})
    if arguments.tokenizer:
        model = arguments.tokenizer.read_bytes()
    else:
        model = train_tokenizer(
            (side for pair in corpora["train"].pairs for side in pair),
            config.training.tokenizer_vocabulary_size,
            config.training.character_coverage,
            show_progress=True,
        )
    vocabulary_size = Tokenizer.from_bytes(model).vocabulary_size
    config = config.model_copy(update={"model": config.model.model_copy(update={"vocabulary_size": vocabulary_size})})
    facts: dict[str, Any] = {
        "source_language": arguments.source_language,
        "target_language": arguments.target_language,
        "train_pairs": len(corpora["train"].pairs),
        "dev_pairs": len(corpora["dev"].pairs),
    }
    run.create(config, model, facts)


def _make_trainer(run: RunDirectory, config: ExperimentConfig, encoded: dict[str, EncodedPairs]) -> Trainer:
    training = config.training
    keras.utils.set_random_seed(training.seed)
    batches = {
        name: BucketedBatches(pairs, training.tokens_per_batch, training.seed) for name, pairs in encoded.items()
    }
    model = Seq2Seq(config.model)
    print(f"{model.count_params():,} parameters; {len(batches['train'])} batches an epoch")
    return Trainer(model, training, batches["train"], batches["dev"], run.path)
