"""The tiny bundle with two attention mechanisms, the second with its last alignments in the decoder's state.

The first is the tiny bundle's own. The second looks at what the first looks at, as far as its own last alignments have
come, so that its rows sum to at most 1; its context is what the model writes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.service import tiny_bundle
from tests.service.tiny_bundle import make_graph, make_weights, tensor, vocabulary_size, write_bundle, write_manifest

METADATA = {"vocabulary_size": str(vocabulary_size())}

ENCODER = tiny_bundle.ENCODER.replace(
    "initial_state_0)", "initial_state_0, float[batch, source_len] initial_alignments)"
).replace(
    "  initial_state_0 =",
    """  zero = Constant <value_float = 0.0> ()
  one = Constant <value_float = 1.0> ()
  last_axis = Constant <value_int = -1> ()
  numbers = Cast <to = 1> (source_ids)
  zeros = Mul (numbers, zero)
  ones = Add (zeros, one)
  positions = CumSum (ones, last_axis)
  is_first = Equal (positions, one)
  initial_alignments = Cast <to = 1> (is_first)
  initial_state_0 =""",
)

DECODER_STEP = (
    tiny_bundle.DECODER_STEP.replace("UNITS] state_0)", "UNITS] state_0, float[rows, source_len] alignments)")
    .replace("UNITS] next_state_0)", "UNITS] next_state_0, float[rows, source_len] next_alignments)")
    .replace("float[rows, source_len] attention_weights", "float[rows, 2, source_len] attention_weights")
    .replace("attention_weights = Softmax", "primary = Softmax")
    .replace(
        "  weights = Unsqueeze (attention_weights, last_axis)",
        """  along_source = Constant <value_int = -1> ()
  reached = CumSum (alignments, along_source)
  next_alignments = Mul (reached, primary)
  primary_row = Unsqueeze (primary, middle)
  other_row = Unsqueeze (next_alignments, middle)
  attention_weights = Concat <axis = 1> (primary_row, other_row)
  weights = Unsqueeze (next_alignments, last_axis)""",
    )
)


def make_manifest() -> dict[str, Any]:
    """A manifest without its `files`."""
    manifest = tiny_bundle.make_manifest()
    manifest["mechanisms"] = [
        {"name": "luong", "normalized": True},
        {"name": "luong_monotonic", "normalized": False},
    ]
    manifest["state"] = ["state_0", "alignments"]
    encoder, step = manifest["tensors"]["encoder"], manifest["tensors"]["decoder_step"]
    encoder["outputs"].append(tensor("initial_alignments", "float32", "batch", "source_len"))
    step["inputs"].append(tensor("alignments", "float32", "rows", "source_len"))
    step["outputs"][3] = tensor("attention_weights", "float32", "rows", 2, "source_len")
    step["outputs"].append(tensor("next_alignments", "float32", "rows", "source_len"))
    return manifest


def write_two_mechanisms(directory: Path, decoder_step: str = DECODER_STEP) -> Path:
    """Writes the bundle; it passes every check, unless another decoder step is given."""
    write_bundle(directory)
    onnx.save(make_graph(ENCODER, make_weights(), METADATA), directory / "encoder.fp32.onnx")
    onnx.save(make_graph(decoder_step, make_weights(), METADATA), directory / "decoder_step.fp32.onnx")
    write_manifest(directory, make_manifest())
    return directory


def numpy_step(
    weights: Mapping[str, np.ndarray], token: int, memory: tuple[np.ndarray, np.ndarray], state: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Log-probabilities (vocabulary,), attention (2, source_len) and next state of one row."""
    _, primary, hidden = tiny_bundle.numpy_step(weights, token, memory, state[0])
    alignments = np.cumsum(state[1]) * primary
    logits = np.concatenate([hidden, alignments @ memory[1]]) @ weights["output_kernel"]
    return logits - np.log(np.exp(logits).sum()), np.stack([primary, alignments]), [hidden, alignments]
