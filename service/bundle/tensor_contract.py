"""The tensors that the service exchanges with the graphs, and the check that a manifest declares just these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.bundle.manifest import MANIFEST_FILE, DataType, GraphTensors, Manifest, TensorSpec
from service.errors import BundleError


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor's name, its data type and how many dimensions it has at least; exactly so many if `open_ended` is no."""

    name: str
    dtype: DataType
    rank: int
    open_ended: bool = False


ENCODER_INPUTS = (ExpectedTensor("source_ids", "int32", 2), ExpectedTensor("source_lengths", "int32", 1))
STEP_INPUTS = (
    ExpectedTensor("input_ids", "int32", 1),
    ExpectedTensor("forced_ids", "int32", 1),
    ExpectedTensor("num_candidates", "int64", 1),
    ExpectedTensor("source_mask", "bool", 2),
)
STEP_OUTPUTS = (
    ExpectedTensor("candidate_ids", "int32", 2),
    ExpectedTensor("candidate_log_probs", "float32", 2),
    ExpectedTensor("forced_log_probs", "float32", 1),
)
ATTENTION = "attention_weights"


def initial_name(state: str) -> str:
    """The encoder's output that a state tensor starts with."""
    return f"initial_{state}"


def next_name(state: str) -> str:
    """The decoder step's output that a state tensor goes on with."""
    return f"next_{state}"


def verify_tensors(manifest: Manifest) -> None:
    """Checks the declared tensors against what the service exchanges, and that the two graphs fit each other.

    Raises:
        BundleError: naming the tensor.
    """
    memory = [ExpectedTensor(name, "float32", 2, open_ended=True) for name in manifest.memory]
    encoder, step = manifest.tensors.encoder, manifest.tensors.decoder_step
    _verify_list("encoder.inputs", encoder.inputs, ENCODER_INPUTS)
    _verify_list("encoder.outputs", encoder.outputs, [*memory, *_states(map(initial_name, manifest.state))])
    _verify_list("decoder_step.inputs", step.inputs, [*STEP_INPUTS, *memory, *_states(manifest.state)])
    attention = ExpectedTensor(ATTENTION, "float32", 2 if len(manifest.attention_mechanisms) == 1 else 3)
    next_states = _states(map(next_name, manifest.state))
    _verify_list("decoder_step.outputs", step.outputs, [*STEP_OUTPUTS, attention, *next_states])
    _verify_mechanisms(manifest)
    for name in manifest.memory:
        _verify_same_width(name, _shape(encoder, name), _shape(step, name))
    for name in manifest.state:
        _verify_same_width(name, _shape(encoder, initial_name(name)), _shape(step, name))
        _verify_same_width(name, _shape(step, next_name(name)), _shape(step, name))


def describe(tensor: TensorSpec) -> str:
    """A tensor's type as text, such as `float32 (batch, 512)`."""
    return f"{tensor.dtype} ({', '.join(map(str, tensor.shape))})"


def _states(names: Iterable[str]) -> list[ExpectedTensor]:
    return [ExpectedTensor(name, "float32", 1, open_ended=True) for name in names]


def _verify_list(where: str, declared: Sequence[TensorSpec], expected: Sequence[ExpectedTensor]) -> None:
    names = [tensor.name for tensor in declared]
    if sorted(names) != sorted(tensor.name for tensor in expected):
        wanted = ", ".join(tensor.name for tensor in expected)
        raise BundleError(MANIFEST_FILE, f"tensors.{where}", f"must be {wanted}; got {', '.join(names)}")
    by_name = {tensor.name: tensor for tensor in declared}
    for tensor in expected:
        found = by_name[tensor.name]
        rank_fits = len(found.shape) == tensor.rank or (tensor.open_ended and len(found.shape) > tensor.rank)
        if found.dtype != tensor.dtype or not rank_fits:
            at_least = "at least " if tensor.open_ended else ""
            problem = f"must be {tensor.dtype} with {at_least}{tensor.rank} dimensions; got {describe(found)}"
            raise BundleError(MANIFEST_FILE, f"tensors.{where}.{tensor.name}", problem)


def _verify_mechanisms(manifest: Manifest) -> None:
    """Attention has one row for each of several mechanisms: (rows, mechanisms, source_len)."""
    count = len(manifest.attention_mechanisms)
    shape = _shape(manifest.tensors.decoder_step, ATTENTION)
    if count > 1 and shape[1] != count:
        problem = f"must be (rows, {count}, source_len) for {count} mechanisms; got ({', '.join(map(str, shape))})"
        raise BundleError(MANIFEST_FILE, f"tensors.decoder_step.outputs.{ATTENTION}", problem)


def _shape(graph: GraphTensors, name: str) -> tuple[int | str, ...]:
    return next(tensor.shape for tensor in (*graph.inputs, *graph.outputs) if tensor.name == name)


def _verify_same_width(name: str, left: tuple[int | str, ...], right: tuple[int | str, ...]) -> None:
    """Shapes agree but for names: where both give a number, it is the same."""
    if not shapes_agree(left, right):
        raise BundleError(MANIFEST_FILE, f"tensors: {name}", f"has shape {left} on one side and {right} on the other")


def shapes_agree(left: Sequence[int | str | None], right: Sequence[int | str | None]) -> bool:
    """Whether two shapes have one rank and no two different numbers in one place."""
    return len(left) == len(right) and not any(
        isinstance(one, int) and isinstance(other, int) and one != other for one, other in zip(left, right, strict=True)
    )
