"""The model on onnxruntime: sessions, providers, tensors. Only this module and `onnx_binding` import onnxruntime."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

# onnxruntime reports its use to its makers over the network, unless it is told not to before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from service.bundle.manifest import MANIFEST_FILE, GraphTensors, Manifest, PrecisionVariant, TensorSpec
from service.bundle.reader import Bundle
from service.bundle.tensor_contract import ATTENTION, describe, initial_name, next_name, shapes_agree
from service.decoding.backend import DecoderRows, StepOutput
from service.domain import IntArray
from service.errors import BundleError, ProviderError, StartupError
from service.onnx_binding import BoundSession, bind_sessions

logger = logging.getLogger(__name__)

ProviderChoice = Literal["cpu", "cuda", "auto"]
Provider = Literal["cpu", "cuda"]

CUDA_PROVIDER: Final = "CUDAExecutionProvider"
CPU_PROVIDER: Final = "CPUExecutionProvider"
PREFERRED_PRECISIONS: Final[dict[Provider, tuple[str, ...]]] = {
    "cpu": ("int8", "fp32", "fp16"),
    "cuda": ("fp16", "fp32", "int8"),
}
VOCABULARY_METADATA: Final = "vocabulary_size"
"""Key of the graphs' own metadata under which the exporter records the vocabulary they were built for."""

INSTALL_GPU: Final = (
    "install onnxruntime-gpu in place of onnxruntime (`make install-gpu`), the CUDA and cuDNN libraries it was built "
    "for and an NVIDIA driver; or choose provider `cpu`"
)
_DATA_TYPES: Final = {
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float)": "float32",
    "tensor(bool)": "bool",
}


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """How a model is run.

    Attributes:
        provider: `auto` takes CUDA where it works and the CPU elsewhere.
        precision: one of the bundle's, or None for the provider's usual one.
        intra_op_threads: how many threads share the work of one call.
    """

    provider: ProviderChoice = "auto"
    precision: str | None = None
    intra_op_threads: int = 1


class OnnxBackend:
    """A `Seq2SeqBackend` of two onnxruntime sessions; calls from several threads are safe."""

    def __init__(
        self,
        encoder: onnxruntime.InferenceSession | BoundSession,
        decoder_step: onnxruntime.InferenceSession | BoundSession,
        manifest: Manifest,
        provider: Provider,
        precision: str,
    ) -> None:
        self.provider: Provider = provider
        self.precision = precision
        self._encoder = encoder
        self._decoder_step = decoder_step
        self._vocabulary_size = manifest.tokenizer.vocabulary_size
        self._memory = manifest.memory
        self._state = manifest.state
        self._encoder_outputs = [*manifest.memory, *map(initial_name, manifest.state)]
        self._step_outputs = [
            "candidate_ids",
            "candidate_log_probs",
            "forced_log_probs",
            ATTENTION,
            *map(next_name, manifest.state),
        ]

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self._vocabulary_size

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        """Encodes padded sentences; see `Seq2SeqBackend`."""
        feeds = {"source_ids": source_ids, "source_lengths": source_lengths}
        outputs = self._encoder.run(self._encoder_outputs, feeds)
        return DecoderRows(
            memory=tuple(outputs[: len(self._memory)]),
            source_mask=np.arange(source_ids.shape[1]) < source_lengths[:, None],
            state=tuple(outputs[len(self._memory) :]),
        )

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        """Advances every row by one token; see `Seq2SeqBackend`."""
        feeds: dict[str, Any] = {
            "input_ids": input_ids,
            "forced_ids": forced_ids,
            "num_candidates": np.array([num_candidates], dtype=np.int64),
            "source_mask": rows.source_mask,
        }
        feeds.update(zip(self._memory, rows.memory, strict=True))
        feeds.update(zip(self._state, rows.state, strict=True))
        ids, log_probs, forced, attention, *state = self._decoder_step.run(self._step_outputs, feeds)
        if attention.ndim == 2:  # graphs of one mechanism
            attention = attention[:, np.newaxis]  # (rows, 1, source_len)
        return StepOutput(ids, log_probs, forced, attention, tuple(state))


def load_backend(bundle: Bundle, options: BackendOptions) -> OnnxBackend:
    """Loads a bundle's graphs and checks that they are what its manifest says.

    Raises:
        ProviderError: CUDA is asked for and cannot be had.
        BundleError: a graph cannot be loaded or contradicts the manifest, or the bundle lacks the precision.
        StartupError: two packages of onnxruntime are installed.
    """
    refuse_conflicting_packages()
    if options.provider == "cuda":
        return _load(bundle, "cuda", options)
    if options.provider == "auto" and CUDA_PROVIDER in onnxruntime.get_available_providers():
        try:
            return _load(bundle, "cuda", options)
        except ProviderError as error:
            logger.warning("running on the CPU: %s", error)
    return _load(bundle, "cpu", options)


def refuse_conflicting_packages() -> None:
    """Refuses to run with onnxruntime and onnxruntime-gpu: they write the same files, so either may be broken.

    Raises:
        StartupError: both are installed.
    """
    if all(_is_installed(name) for name in ("onnxruntime", "onnxruntime-gpu")):
        raise StartupError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: uninstall both, then "
            "install one (`make install` or `make install-gpu`)"
        )


def choose_precision(requested: str | None, provider: Provider, available: Collection[str]) -> str:
    """The precision asked for, whether or not it is available; otherwise the best available for the provider.

    Args:
        requested: None for the provider's usual one.
        provider: where the model will run.
        available: the bundle's precisions, at least one.
    """
    if requested is not None:
        return requested
    return next((name for name in PREFERRED_PRECISIONS[provider] if name in available), min(available))


def session_options(intra_op_threads: int) -> onnxruntime.SessionOptions:
    """The options of every session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors; warnings are about placement and tell the user nothing
    # 8-bit weights in front of a recurrent node are expanded once at load, not at every call.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # Threads spin within a call, where operators follow each other closely, and sleep between calls: the cores are
    # shared with the HTTP layer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _load(bundle: Bundle, provider: Provider, options: BackendOptions) -> OnnxBackend:
    """Loads and verifies both graphs on one provider; errors as `load_backend`."""
    manifest = bundle.manifest
    precision = choose_precision(options.precision, provider, manifest.precisions)
    variant = bundle.variant(precision)
    open_session = _open_on_cuda if provider == "cuda" else _open_on_cpu
    encoder = open_session(bundle.path / variant.encoder, options.intra_op_threads)
    decoder_step = open_session(bundle.path / variant.decoder_step, options.intra_op_threads)
    _verify_graph(encoder, bundle.path / variant.encoder, manifest.tensors.encoder, manifest)
    _verify_graph(decoder_step, bundle.path / variant.decoder_step, manifest.tensors.decoder_step, manifest)
    if provider == "cuda":
        encoder, decoder_step = bind_sessions(encoder, decoder_step, manifest, "cuda")
    backend = OnnxBackend(encoder, decoder_step, manifest, provider, precision)
    _try_step(backend, bundle, variant)
    return backend


def _open_on_cpu(path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        return _open_session(path, threads, [CPU_PROVIDER])
    except Exception as error:  # onnxruntime's own classes have no common base below this
        raise BundleError(str(path), "graph", f"cannot be loaded: {_first_line(error)}") from error


def _open_on_cuda(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Opens a graph on CUDA, and makes sure that it is there: onnxruntime takes the CPU instead without an error."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise ProviderError(f"provider `cuda` is not available: {INSTALL_GPU}")
    onnxruntime.preload_dlls()  # finds CUDA and cuDNN where pip has put them
    cuda = (CUDA_PROVIDER, {"use_tf32": "0"})  # TF32 would cost fp32 its precision
    try:
        session = _open_session(path, threads, [cuda, CPU_PROVIDER])
    except Exception as error:  # onnxruntime's own classes have no common base below this
        raise ProviderError(f"{path} cannot be loaded on CUDA: {_first_line(error)}; {INSTALL_GPU}") from error
    if session.get_providers()[0] != CUDA_PROVIDER:
        raise ProviderError(f"CUDA does not work here, onnxruntime fell back to the CPU: {INSTALL_GPU}")
    return session


def _open_session(path: Path, threads: int, providers: list[Any]) -> onnxruntime.InferenceSession:
    # Without fallback: neither now nor in a later call may onnxruntime change the provider by itself.
    return onnxruntime.InferenceSession(str(path), session_options(threads), providers=providers, enable_fallback=0)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _verify_graph(
    session: onnxruntime.InferenceSession, path: Path, declared: GraphTensors, manifest: Manifest
) -> None:
    """Compares a graph's vocabulary size, inputs and outputs with the manifest."""
    recorded = session.get_modelmeta().custom_metadata_map.get(VOCABULARY_METADATA)
    expected = manifest.tokenizer.vocabulary_size
    if recorded != str(expected):
        problem = "is missing" if recorded is None else f"is {recorded}; {MANIFEST_FILE} says {expected}"
        raise BundleError(str(path), f"metadata.{VOCABULARY_METADATA}", problem)
    _verify_tensors(path, "inputs", session.get_inputs(), declared.inputs)
    _verify_tensors(path, "outputs", session.get_outputs(), declared.outputs)


def _verify_tensors(path: Path, where: str, nodes: list[Any], declared: tuple[TensorSpec, ...]) -> None:
    """Compares names, data types and shapes; a dimension that the graph leaves open agrees with anything."""
    found = {node.name: node for node in nodes}
    wanted = {tensor.name: tensor for tensor in declared}
    if found.keys() != wanted.keys():
        problem = f"are {', '.join(sorted(found))}; {MANIFEST_FILE} says {', '.join(sorted(wanted))}"
        raise BundleError(str(path), where, problem)
    for name, tensor in wanted.items():
        node = found[name]
        if _DATA_TYPES.get(node.type) != tensor.dtype or not shapes_agree(node.shape, tensor.shape):
            problem = f"is {node.type} {tuple(node.shape)}; {MANIFEST_FILE} says {describe(tensor)}"
            raise BundleError(str(path), f"{where}.{name}", problem)


def _try_step(backend: OnnxBackend, bundle: Bundle, variant: PrecisionVariant) -> None:
    """Checks by one step that the graphs read the highest token id, rank every id and give each mechanism a row."""
    size = backend.vocabulary_size
    highest = np.array([size - 1], dtype=np.int32)
    try:
        rows = backend.encode(highest[None, :], np.ones(1, dtype=np.int32))
    except Exception as error:  # onnxruntime's own classes have no common base below this
        raise BundleError(str(bundle.path / variant.encoder), "source_ids", f"fails on id {size - 1}") from error
    step_file = str(bundle.path / variant.decoder_step)
    try:
        output = backend.decode_step(highest, rows, highest, num_candidates=size)
    except Exception as error:
        raise BundleError(step_file, "candidate_ids", f"fails for a vocabulary of {size}") from error
    if not np.array_equal(np.sort(output.candidate_ids[0]), np.arange(size)):
        raise BundleError(step_file, "candidate_ids", f"does not give every id of a vocabulary of {size} once")
    expected = (1, len(bundle.manifest.attention_mechanisms), 1)
    found = output.attention_weights.shape
    if found != expected:
        raise BundleError(step_file, ATTENTION, f"has the shape {found} for one token, expected {expected}")
