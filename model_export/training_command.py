"""`interlinear-export train`: from files of sentence pairs to a trained model in a run directory."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import keras
from pydantic import TypeAdapter, ValidationError

from model_export.attention_config import CustomAttentionConfig, MechanismConfig
from model_export.batching import BucketedBatches, PairSource
from model_export.bfloat16_products import check_product_dtype
from model_export.checkpoint import load_variables
from model_export.concatenation import ConcatenatedPairs
from model_export.config import ExperimentConfig, ModelConfig, TrainConfig, read_config
from model_export.corpus_readers import Corpus, CorpusFormat, read_pairs
from model_export.data import EncodedPairs, encode_pairs
from model_export.decoder import Decoder
from model_export.errors import ConfigError
from model_export.heap import keep_freed_memory
from model_export.run_directory import CONFIG_FILE, DATA_FILE, DataFacts, RunDirectory
from model_export.seq2seq import Seq2Seq
from model_export.subword_sampling import SampledPairs, Sampling
from model_export.tokenizer_training import SPECIAL_IDS, train_tokenizer
from model_export.training import Trainer
from model_export.word_alignments import WordAlignments, read_alignments
from service.bundle.manifest import LanguageCode
from service.bundle.tokenizer import Tokenizer
from service.domain import IntArray

START_FROM_CONFLICTS = {
    "resume": "a run goes on from its own checkpoint, or the weights that it began with; leave --start-from out",
    "tokenizer": "weights belong to the tokenizer that they were trained with; leave --tokenizer out",
}


def run_training(arguments: Namespace) -> None:
    """Trains a model, or goes on with one, as the command line says."""
    run = RunDirectory(arguments.output)
    if not arguments.resume:
        run.refuse_existing()
    _check_languages(arguments)
    start_from = _choose_start(arguments)
    config = _choose_config(run, start_from, arguments)
    check_product_dtype(config.training)
    _check_attention(config.model, arguments.config)
    tokenizer = _read_tokenizer(start_from.tokenizer_path if start_from else arguments.tokenizer)
    if arguments.resume:
        _check_same_settings(run, config, tokenizer)
    if start_from:
        _check_same_model(start_from, config)
    _check_guidance(config, arguments.alignments)
    if arguments.dev_alignments and not arguments.alignments:
        raise ConfigError("--dev-alignments: judge guided training, so they need --alignments")
    corpora = {name: _read(getattr(arguments, name), arguments) for name in ("train", "dev")}
    alignments = _read_alignments(arguments, corpora)
    facts = DataFacts(
        source_language=arguments.source_language,
        target_language=arguments.target_language,
        train_pairs=len(corpora["train"].pairs),
        dev_pairs=len(corpora["dev"].pairs),
        swapped=arguments.swap,
        alignments_sha256=alignments["train"].sha256 if "train" in alignments else None,
    )
    if arguments.resume:
        _check_same_data(run, facts)
    else:
        run.claim(facts)
        _create_run(run, config, tokenizer, corpora["train"], start_from)
    _train(run, corpora, alignments, arguments.resume)


def _choose_start(arguments: Namespace) -> RunDirectory | None:
    """The run to begin with, seen to have weights that fit its configuration."""
    if arguments.start_from is None:
        return None
    for option, reason in START_FROM_CONFLICTS.items():
        if getattr(arguments, option):
            raise ConfigError(f"--start-from: does not go with --{option}: {reason}")
    start_from = RunDirectory(arguments.start_from)
    start_from.load_model()  # only to see that it can be done, before the data is read
    return start_from


def _check_guidance(config: ExperimentConfig, alignments: list[Path] | None) -> None:
    """Refuses alignments that would do nothing, and guidance by nothing."""
    weight, aligner = config.training.alignment_weight, config.model.aligner
    if alignments and not weight and aligner is None:
        raise ConfigError(
            "--alignments: training.alignment_weight is 0 and the model has no aligner, so they would be ignored; set "
            "the weight, say to 0.1, or model.aligner"
        )
    if weight and not alignments:
        raise ConfigError(f"training.alignment_weight: is {weight}, so word alignments are needed; add --alignments")
    for field, mechanism, guided in (("attention", config.model.attention[0], weight), ("aligner", aligner, aligner)):
        if guided and _is_hard(mechanism):
            raise ConfigError(f"model.{field}: attends to one position at a time, so no loss can draw it anywhere")
    if aligner and not alignments:
        raise ConfigError(f"model.aligner: is {aligner.name}, which learns from word alignments only; add --alignments")


def _is_hard(mechanism: MechanismConfig | None) -> bool:
    """Whether a mechanism's weights are 0 or 1, without a gradient."""
    return getattr(mechanism, "probability_fn", "") == "hardmax" or getattr(mechanism, "mode", "") == "hard"


def _read_alignments(arguments: Namespace, corpora: dict[str, Corpus]) -> dict[str, WordAlignments]:
    files = {"train": arguments.alignments, "dev": arguments.dev_alignments}
    return {name: read_alignments(paths, corpora[name], arguments.swap) for name, paths in files.items() if paths}


def _check_languages(arguments: Namespace) -> None:
    """Refuses now what the bundle's manifest would refuse when all the training is done."""
    for side, code in (("source", arguments.source_language), ("target", arguments.target_language)):
        try:
            TypeAdapter(LanguageCode).validate_python(code)
        except ValidationError as error:
            raise ConfigError(f"--{side}-language: {code!r} is no language code such as en, fr or pt-BR") from error


def _choose_config(run: RunDirectory, start_from: RunDirectory | None, arguments: Namespace) -> ExperimentConfig:
    """The configuration that the command line asks for.

    Without a file, or without its section `model`, that of the run to go on or to begin with is taken, or the default.
    """
    known = run if arguments.resume else start_from
    if not arguments.config:
        config = known.read_config() if known else ExperimentConfig()
    else:
        config = read_config(arguments.config)
        if known and "model" not in config.model_fields_set:
            config = config.model_copy(update={"model": known.read_config().model})
    if arguments.seed is None:
        return config
    try:
        training = TrainConfig.model_validate(config.training.model_dump() | {"seed": arguments.seed})
    except ValidationError as error:
        raise ConfigError(f"--seed: {error.errors()[0]['msg']}") from error
    return config.model_copy(update={"training": training})


def _check_attention(config: ModelConfig, path: Path | None) -> None:
    """Tries attention classes of the user's own before anything is read or written.

    Raises:
        ConfigError: one does not keep the protocol or, on TensorFlow, cannot be exported.
    """
    if not any(isinstance(attention, CustomAttentionConfig) for attention in config.attention):
        return
    try:
        Decoder(config).build()
        if keras.backend.backend() == "tensorflow":
            from model_export.graphs import check_own_attention  # other backends train without TensorFlow

            check_own_attention(config)
    except ConfigError as error:
        raise ConfigError(f"{path or 'configuration'}: model.attention: {error}") from error


def _read_tokenizer(path: Path | None) -> bytes | None:
    if path is None:
        return None
    model = path.read_bytes()
    tokenizer = Tokenizer.from_bytes(model, str(path))
    found = (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id)
    if found != SPECIAL_IDS:
        raise ConfigError(f"{path}: the ids of padding, start, end and unknown must be {SPECIAL_IDS}, not {found}")
    return model


def _check_same_settings(run: RunDirectory, wanted: ExperimentConfig, tokenizer: bytes | None) -> None:
    """Refuses to go on where the command line asks for something that the run was not started with."""
    config, own_tokenizer = run.read_config(), run.read_tokenizer()
    wanted = _fill_in_vocabulary(wanted, own_tokenizer)
    different = _name_differences(wanted, config, ("model", "training", "parity"))
    if wanted != config:
        raise ConfigError(
            f"--resume: {', '.join(different) or 'data'}: not as in {run.path / CONFIG_FILE}, which training goes on "
            "with; leave --config and --seed out, or start a new run"
        )
    if tokenizer is not None and tokenizer != run.tokenizer_path.read_bytes():
        raise ConfigError(f"--resume: --tokenizer is not that of {run.path}; leave it out, or start a new run")


def _check_same_model(start_from: RunDirectory, wanted: ExperimentConfig) -> None:
    """Refuses weights of another model. Dropout may change, but for 0, with which it has no states in the file."""
    config = start_from.read_config()
    different = _name_differences(_fill_in_vocabulary(wanted, start_from.read_tokenizer()), config, ("model",))
    if wanted.model.dropout and config.model.dropout:
        different = [name for name in different if name != "model.dropout"]
    if different:
        raise ConfigError(
            f"--start-from: {', '.join(different)}: not as in {start_from.path / CONFIG_FILE}; leave the section "
            "`model` out of --config, and the model is that run's"
        )


def _name_differences(wanted: ExperimentConfig, config: ExperimentConfig, sections: tuple[str, ...]) -> list[str]:
    return [
        f"{section}.{name}"
        for section in sections
        for name, value in getattr(wanted, section)
        if value != getattr(getattr(config, section), name)
    ]


def _check_same_data(run: RunDirectory, facts: DataFacts) -> None:
    known = run.read_data_facts()
    if facts.swapped != known.swapped:
        raise ConfigError(f"--resume: the run was started with{'' if known.swapped else 'out'} --swap")
    if facts.alignments_sha256 != known.alignments_sha256:
        raise ConfigError(f"--resume: --alignments must be those that the run in {run.path} was started with")
    if facts != known:
        raise ConfigError(f"--resume: languages and numbers of pairs must be those in {run.path / DATA_FILE}")


def _fill_in_vocabulary(config: ExperimentConfig, tokenizer: Tokenizer) -> ExperimentConfig:
    """Sets the vocabulary size that the configuration leaves open."""
    wanted, found = config.model.vocabulary_size, tokenizer.vocabulary_size
    if wanted not in (0, found):
        raise ConfigError(
            f"model.vocabulary_size: is {wanted}, but the tokenizer has {found} subwords; leave it out "
            "(training.tokenizer_vocabulary_size says how many a new tokenizer gets)"
        )
    return config.model_copy(update={"model": config.model.model_copy(update={"vocabulary_size": found})})


def _read(paths: list[Path], arguments: Namespace) -> Corpus:
    corpus_format = CorpusFormat(
        source_language=arguments.source_language, target_language=arguments.target_language, swapped=arguments.swap
    )
    corpus = read_pairs(paths, corpus_format, show_progress=True)
    print(corpus.report())
    return corpus


def _create_run(
    run: RunDirectory, config: ExperimentConfig, model: bytes | None, train: Corpus, start_from: RunDirectory | None
) -> None:
    """Trains a tokenizer if there is none, and writes what is fixed for the whole run."""
    if model is None:
        wanted, sides = config.training.tokenizer_vocabulary_size, (side for pair in train.pairs for side in pair)
        print(f"training a tokenizer of {wanted:,} subwords at most")
        model = train_tokenizer(sides, wanted, config.training.character_coverage, show_progress=True)
    tokenizer = Tokenizer.from_bytes(model)
    print(f"the tokenizer has {tokenizer.vocabulary_size:,} subwords")
    run.create(_fill_in_vocabulary(config, tokenizer), model, start_from)


def _train(run: RunDirectory, corpora: dict[str, Corpus], alignments: dict[str, WordAlignments], resume: bool) -> None:
    """Trains from the start, or from the last checkpoint if there is one already."""
    keep_freed_memory()
    config, tokenizer = run.read_config(), run.read_tokenizer()
    links = {name: each.links for name, each in alignments.items()}
    encoded = {name: _encode(corpus, tokenizer, config, links.get(name)) for name, corpus in corpora.items()}
    train = _vary(encoded["train"], corpora["train"], links.get("train"), run)
    trainer = _make_trainer(run, config, {"train": train, "dev": encoded["dev"]})
    if resume and run.has_checkpoint:
        trainer.resume()
        state = "had ended" if trainer.finished else f"goes on in epoch {trainer.progress.epoch + 1}"
        print(f"training {state} after {trainer.progress.step} steps")
    elif run.initial_weights_path:
        load_variables(run.initial_weights_path, trainer.model.persistent_variables)
        print(f"dev loss {trainer.evaluate()['nll']:.4f} nats per token before training")
    print(f"best dev loss {trainer.run().best_dev_loss:.4f} nats per token; weights in {run.path}")


def _encode(
    corpus: Corpus, tokenizer: Tokenizer, config: ExperimentConfig, links: list[IntArray] | None
) -> EncodedPairs:
    encoded = encode_pairs(corpus, tokenizer, config.training.max_tokens, links, show_progress=True)
    print(encoded.report())
    return encoded


def _vary(encoded: EncodedPairs, corpus: Corpus, links: list[IntArray] | None, run: RunDirectory) -> PairSource:
    """The training pairs, different from epoch to epoch where the configuration says so."""
    training = run.read_config().training
    pairs: PairSource = encoded
    if training.subword_candidates > 1:
        sampling = Sampling(training.subword_candidates, training.subword_alpha, training.seed, training.max_tokens)
        pairs = SampledPairs(encoded, corpus, links, run.tokenizer_path.read_bytes(), sampling)
    if training.concatenated_share:
        pairs = ConcatenatedPairs(pairs, training.concatenated_share, training.seed, training.max_tokens)
    return pairs


def _make_trainer(run: RunDirectory, config: ExperimentConfig, encoded: dict[str, PairSource]) -> Trainer:
    training = config.training
    keras.utils.set_random_seed(training.seed)
    tokens, seed = training.tokens_per_batch, training.seed
    batches = {name: BucketedBatches(pairs, tokens, seed) for name, pairs in encoded.items()}
    model, train = Seq2Seq(config.model), batches["train"]
    shapes = f"{len(train.shapes)} shapes, {train.padding_share:.0%} padding"
    print(f"{model.count_params():,} parameters; {len(train)} batches an epoch in {shapes}")
    return Trainer(model, training, train, batches["dev"], run.path)
