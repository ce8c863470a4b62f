"""A complete bundle of two tiny graphs with random weights, and the same model in numpy to compare with."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import sentencepiece
from onnx import numpy_helper

from service.bundle.normalization import NORMALIZATION
from service.bundle.verification import fingerprint

UNITS = 6
EMBEDDING = 5
SENTENCES = ("the cat sat on the mat", "a dog ran to the park", "we like tea and bread", "she sings a long song")

ENCODER = """
<ir_version: 9, opset_import: ["" : 17]>
encoder (int32[batch, source_len] source_ids, int32[batch] source_lengths)
  => (float[batch, source_len, UNITS] memory_keys, float[batch, source_len, UNITS] memory_values,
      float[batch, UNITS] initial_state_0)
{
  embedded = Gather (embedding, source_ids)
  time_major = Transpose <perm = [1, 0, 2]> (embedded)
  outputs, last = GRU <hidden_size = UNITS> (time_major, gru_input, gru_recurrent, , source_lengths)
  first_axis = Constant <value_ints = [1]> ()
  squeezed = Squeeze (outputs, first_axis)
  memory_values = Transpose <perm = [1, 0, 2]> (squeezed)
  memory_keys = MatMul (memory_values, key_kernel)
  direction_axis = Constant <value_ints = [0]> ()
  initial_state_0 = Squeeze (last, direction_axis)
}
"""

DECODER_STEP = """
<ir_version: 9, opset_import: ["" : 17]>
decoder_step (int32[rows] input_ids, int32[rows] forced_ids, int64[1] num_candidates,
    bool[rows, source_len] source_mask, float[rows, source_len, UNITS] memory_keys,
    float[rows, source_len, UNITS] memory_values, float[rows, UNITS] state_0)
  => (int32[rows, candidates] candidate_ids, float[rows, candidates] candidate_log_probs,
      float[rows] forced_log_probs, float[rows, source_len] attention_weights, float[rows, UNITS] next_state_0)
{
  embedded = Gather (embedding, input_ids)
  from_input = MatMul (embedded, input_kernel)
  from_state = MatMul (state_0, state_kernel)
  summed = Add (from_input, from_state)
  next_state_0 = Tanh (summed)
  middle = Constant <value_ints = [1]> ()
  query = Unsqueeze (next_state_0, middle)
  products = Mul (memory_keys, query)
  last_axis = Constant <value_ints = [-1]> ()
  energies = ReduceSum <keepdims = 0> (products, last_axis)
  lowest = Constant <value_float = -3.4028235e38> ()
  masked = Where (source_mask, energies, lowest)
  attention_weights = Softmax <axis = -1> (masked)
  weights = Unsqueeze (attention_weights, last_axis)
  weighted = Mul (memory_values, weights)
  context = ReduceSum <keepdims = 0> (weighted, middle)
  features = Concat <axis = -1> (next_state_0, context)
  logits = MatMul (features, output_kernel)
  log_probs = LogSoftmax <axis = -1> (logits)
  candidate_log_probs, best = TopK <axis = -1> (log_probs, num_candidates)
  candidate_ids = Cast <to = 6> (best)
  wanted = Unsqueeze (forced_ids, last_axis)
  found = GatherElements <axis = -1> (log_probs, wanted)
  forced_log_probs = Squeeze (found, last_axis)
}
"""


@cache
def train_tokenizer() -> bytes:
    """A small SentencePiece model in the service's conventions."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(" " + word for sentence in SENTENCES for word in sentence.split()),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        model_type="unigram",
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return model.getvalue()


@cache
def vocabulary_size() -> int:
    processor = sentencepiece.SentencePieceProcessor()
    processor.load_from_serialized_proto(train_tokenizer())
    return int(processor.get_piece_size())


def make_weights(seed: int = 0, size: int | None = None) -> dict[str, np.ndarray]:
    """Random float32 weights for a vocabulary of `size` (the tokenizer's if None)."""
    size = vocabulary_size() if size is None else size
    shapes = {
        "embedding": (size, EMBEDDING),
        "gru_input": (1, 3 * UNITS, EMBEDDING),
        "gru_recurrent": (1, 3 * UNITS, UNITS),
        "key_kernel": (UNITS, UNITS),
        "input_kernel": (EMBEDDING, UNITS),
        "state_kernel": (UNITS, UNITS),
        "output_kernel": (2 * UNITS, size),
    }
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def make_graph(text: str, weights: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Parses a graph and gives it the weights that it names, and metadata."""
    model = onnx.parser.parse_model(text.replace("UNITS", str(UNITS)))
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in weights.items() if name in used
    )
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    return model


def tensor(name: str, dtype: str, *shape: int | str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def make_manifest(precisions: tuple[str, ...] = ("fp32",)) -> dict[str, Any]:
    """A manifest without its `files`."""
    memory = [tensor(name, "float32", "rows", "source_len", UNITS) for name in ("memory_keys", "memory_values")]
    return {
        "format_version": 1,
        "name": "tiny",
        "source_language": "en",
        "target_language": "fr",
        "architecture": {"cell": "gru", "attention_mechanism": "luong"},
        "normalized": True,
        "tokenizer": {
            "file": "tokenizer.model",
            "vocabulary_size": vocabulary_size(),
            "normalization": NORMALIZATION,
            "special_ids": {"pad": 0, "bos": 1, "eos": 2, "unk": 3},
        },
        "tensors": {
            "encoder": {
                "inputs": [
                    tensor("source_ids", "int32", "batch", "source_len"),
                    tensor("source_lengths", "int32", "batch"),
                ],
                "outputs": [*memory, tensor("initial_state_0", "float32", "batch", UNITS)],
            },
            "decoder_step": {
                "inputs": [
                    tensor("input_ids", "int32", "rows"),
                    tensor("forced_ids", "int32", "rows"),
                    tensor("num_candidates", "int64", 1),
                    tensor("source_mask", "bool", "rows", "source_len"),
                    *memory,
                    tensor("state_0", "float32", "rows", UNITS),
                ],
                "outputs": [
                    tensor("candidate_ids", "int32", "rows", "candidates"),
                    tensor("candidate_log_probs", "float32", "rows", "candidates"),
                    tensor("forced_log_probs", "float32", "rows"),
                    tensor("attention_weights", "float32", "rows", "source_len"),
                    tensor("next_state_0", "float32", "rows", UNITS),
                ],
            },
        },
        "memory": ["memory_keys", "memory_values"],
        "state": ["state_0"],
        "precisions": {
            name: {"encoder": f"encoder.{name}.onnx", "decoder_step": f"decoder_step.{name}.onnx", "parity": {}}
            for name in precisions
        },
        "max_source_tokens": 64,
        "training": {"config": {"seed": 1}, "data": []},
        "scores": [],
        "versions": {"interlinear": "0.1.0"},
    }


def write_bundle(directory: Path, precisions: tuple[str, ...] = ("fp32",)) -> Path:
    """Writes a bundle that passes every check; all precisions hold the same float32 graphs."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.model").write_bytes(train_tokenizer())
    metadata = {"vocabulary_size": str(vocabulary_size())}
    weights = make_weights()
    for name in precisions:
        onnx.save(make_graph(ENCODER, weights, metadata), directory / f"encoder.{name}.onnx")
        onnx.save(make_graph(DECODER_STEP, weights, metadata), directory / f"decoder_step.{name}.onnx")
    (directory / "MODEL_CARD.md").write_text("# A toy\n")
    write_manifest(directory, make_manifest(precisions))
    return directory


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest with the present files' fingerprints."""
    names = sorted(path.name for path in directory.iterdir() if path.name != "manifest.json")
    files = {name: fingerprint(directory / name).model_dump() for name in names}
    (directory / "manifest.json").write_text(json.dumps(manifest | {"files": files}))


def numpy_encode(weights: Mapping[str, np.ndarray], source: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys and values (source_len, units) and first state (units,) of one sentence; ONNX gates: z, r, h."""
    hidden = np.zeros(UNITS)
    outputs = []
    for token in source:
        x = weights["gru_input"][0] @ weights["embedding"][token]
        from_z, from_r, from_h = np.split(weights["gru_recurrent"][0], 3)
        update = _sigmoid(x[:UNITS] + from_z @ hidden)
        reset = _sigmoid(x[UNITS : 2 * UNITS] + from_r @ hidden)
        hidden = (1 - update) * np.tanh(x[2 * UNITS :] + from_h @ (reset * hidden)) + update * hidden
        outputs.append(hidden)
    values = np.stack(outputs)
    return values @ weights["key_kernel"], values, hidden


def numpy_step(
    weights: Mapping[str, np.ndarray], token: int, memory: tuple[np.ndarray, np.ndarray], state: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities (vocabulary,), attention (source_len,) and next state (units,) of one row."""
    keys, values = memory
    state = np.tanh(weights["embedding"][token] @ weights["input_kernel"] + state @ weights["state_kernel"])
    attention = np.exp(keys @ state)
    attention /= attention.sum()
    logits = np.concatenate([state, attention @ values]) @ weights["output_kernel"]
    return logits - np.log(np.exp(logits).sum()), attention, state


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))
