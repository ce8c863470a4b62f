"""From a training run to a bundle: convert, reduce the precision, compare with the trained model, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import onnx
from pydantic import ValidationError

from model_export.bundle_writer import describe_graph, staged_directory, write_manifest
from model_export.config import ExperimentConfig, ParityLimits
from model_export.corpus_readers import Corpus
from model_export.decoder_tensors import DecoderTensors
from model_export.errors import ConfigError, DataError
from model_export.graphs import Graphs, convert
from model_export.half_precision import to_half_precision
from model_export.keras_backend import KerasBackend, describe_mechanisms
from model_export.parity import PRECISIONS, USUAL_PRECISIONS, measure_parity
from model_export.quantization import quantize
from model_export.run_directory import TOKENIZER_FILE, DataFacts, RunDirectory
from model_export.seq2seq import Seq2Seq
from service.bundle.manifest import (
    FORMAT_VERSION,
    Manifest,
    MechanismInfo,
    PrecisionVariant,
    SpecialTokenIds,
    Tensors,
    TokenizerInfo,
    Training,
    TrainingData,
)
from service.bundle.normalization import NORMALIZATION
from service.bundle.tensor_contract import initial_name, next_name
from service.bundle.tokenizer import Tokenizer

GRAPH_NAMES = ("encoder", "decoder_step")
PRODUCERS = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "sentencepiece")


def export_bundle(
    run: RunDirectory, dev: Corpus, destination: Path, name: str, precisions: Sequence[str] = USUAL_PRECISIONS
) -> Manifest:
    """Exports the best weights of a run.

    Args:
        run: a training run.
        dev: pairs on which the graphs are compared with the trained model.
        destination: the bundle's directory; replaced if it exists.
        name: the model's name.
        precisions: which graphs the bundle keeps; those of fp32 are made and compared in any case.

    Raises:
        ParityError: the graphs differ from the model by more than the limits; nothing is written then.
        ConfigError: `name` cannot name a model, `destination` holds something else than a bundle, or attention of the
            user's own does not keep its protocol with the trained weights.
        DataError: `dev` has fewer pairs than are to be compared.
    """
    config = run.read_config()
    _check_dev(dev, config.parity)
    with staged_directory(destination) as staging:
        model = _load_checked_model(run)
        made = [precision for precision in PRECISIONS if precision in {"fp32", *precisions}]
        print(f"converting the model to ONNX, {' and '.join(made)}")
        graphs = make_graphs(model, made)
        _write_files(staging, run, graphs)
        manifest = write_manifest(staging, _checked_manifest(run, name, graphs, model))
        parity = measure_parity(staging, KerasBackend(model), dev, config.parity)
        variants = {
            precision: variant.model_copy(update={"parity": parity[precision]})
            for precision, variant in manifest.precisions.items()
            if precision in precisions
        }
        for precision in set(made) - set(precisions):
            for graph in GRAPH_NAMES:
                (staging / _graph_file(graph, precision)).unlink()
        return write_manifest(staging, manifest.model_copy(update={"precisions": variants}))


def _check_dev(dev: Corpus, limits: ParityLimits) -> None:
    if len(dev.pairs) < limits.sentences:
        raise DataError(
            f"{dev.name}: has {len(dev.pairs)} pairs, and parity.sentences asks for at least {limits.sentences}; "
            "give a larger --dev, or lower the number in the run's config.yaml"
        )


def _load_checked_model(run: RunDirectory) -> Seq2Seq:
    model, _ = run.load_model()
    try:
        model.decoder.check_own_attention()
    except ConfigError as error:
        raise ConfigError(f"{run.path}: with the trained weights: {error}") from error
    return model


def make_graphs(model: Seq2Seq, precisions: Sequence[str] = USUAL_PRECISIONS) -> dict[str, Graphs]:
    """The graphs of each precision."""
    fp32 = convert(model)
    bounds = activation_bounds(DecoderTensors(model.decoder))
    makers: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
        "fp32": lambda graph: graph,
        "int8": lambda graph: quantize(graph, bounds),
        "fp16": to_half_precision,
    }
    return {precision: Graphs(*map(makers[precision], fp32)) for precision in precisions}


def activation_bounds(tensors: DecoderTensors) -> dict[str, float]:
    """Absolute bounds of the tensors that the graphs exchange."""
    bounds = tensors.bounds
    return bounds | {next_name(name): bounds[name] for name in tensors.state_names if name in bounds}


def _graph_file(graph: str, precision: str) -> str:
    return f"{graph}.{precision}.onnx"


def _write_files(directory: Path, run: RunDirectory, graphs: Mapping[str, Graphs]) -> None:
    (directory / TOKENIZER_FILE).write_bytes(run.tokenizer_path.read_bytes())
    for precision, pair in graphs.items():
        for graph_name, graph in zip(GRAPH_NAMES, pair, strict=True):
            onnx.save(graph, directory / _graph_file(graph_name, precision))


def _checked_manifest(run: RunDirectory, name: str, graphs: Mapping[str, Graphs], model: Seq2Seq) -> Manifest:
    try:
        return _make_manifest(run, name, graphs, model)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"manifest: {field} {first['input']!r}: {first['msg']}") from error


def _make_manifest(run: RunDirectory, name: str, graphs: Mapping[str, Graphs], model: Seq2Seq) -> Manifest:
    config = run.read_config()
    facts = run.read_data_facts()
    tokenizer = run.read_tokenizer()
    tensors = DecoderTensors(model.decoder)
    mechanisms = tuple(MechanismInfo(**asdict(each)) for each in describe_mechanisms(model, config.training))
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        source_language=facts.source_language,
        target_language=facts.target_language,
        architecture={**config.model.model_dump(mode="json"), "attention_mechanism": mechanisms[0].name},
        normalized=mechanisms[0].normalized,
        mechanisms=mechanisms,
        tokenizer=_tokenizer_info(tokenizer),
        tensors=_describe_tensors(graphs["fp32"], tensors),
        memory=tensors.memory_names,
        state=tensors.state_names,
        precisions={
            precision: PrecisionVariant(
                encoder=_graph_file("encoder", precision), decoder_step=_graph_file("decoder_step", precision)
            )
            for precision in graphs
        },
        files={},
        max_source_tokens=config.training.max_source_tokens,
        training=Training(
            config=config.training.model_dump(mode="json"), data=training_data(facts, config), remarks=config.remarks
        ),
        versions={package: version(package) for package in PRODUCERS},
    )


def _tokenizer_info(tokenizer: Tokenizer) -> TokenizerInfo:
    return TokenizerInfo(
        file=TOKENIZER_FILE,
        vocabulary_size=tokenizer.vocabulary_size,
        normalization=NORMALIZATION,
        special_ids=SpecialTokenIds(
            pad=tokenizer.pad_id, bos=tokenizer.bos_id, eos=tokenizer.eos_id, unk=tokenizer.unk_id
        ),
    )


def training_data(facts: DataFacts, config: ExperimentConfig) -> tuple[TrainingData, ...]:
    """The sources as the configuration names them; a single one without a number gave all pairs."""
    return tuple(
        TrainingData.model_validate({"pairs": facts.train_pairs} | source.model_dump(exclude_none=True))
        for source in config.data
    )


def _describe_tensors(graphs: Graphs, tensors: DecoderTensors) -> Tensors:
    dimensions = tensors.dimensions
    encoder: dict[str, Sequence[str]] = {
        "source_ids": ("batch", "source_len"),
        "source_lengths": ("batch",),
        **{name: dimensions[name] for name in tensors.memory_names},
        **{initial_name(name): dimensions[name] for name in tensors.state_names},
    }
    rows = {name: tuple("rows" if size == "batch" else size for size in sizes) for name, sizes in dimensions.items()}
    step: dict[str, Sequence[str]] = {
        **dict.fromkeys(("input_ids", "forced_ids", "forced_log_probs"), ("rows",)),
        **dict.fromkeys(("candidate_ids", "candidate_log_probs"), ("rows", "candidates")),
        **dict.fromkeys(("source_mask", "attention_weights"), ("rows", "source_len")),
        **rows,
        **{next_name(name): rows[name] for name in tensors.state_names},
        "num_candidates": (),
    }
    return Tensors(
        encoder=describe_graph(graphs.encoder, encoder), decoder_step=describe_graph(graphs.decoder_step, step)
    )
