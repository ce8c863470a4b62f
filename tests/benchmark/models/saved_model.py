"""The alternative in TensorFlow: the same model as a SavedModel that decodes greedily inside the graph.

`model.decoder.step`, which training and export run, in a `tf.while_loop`; token ids and attention weights come out, as
of the engine. The length is pinned: exactly `target_length` tokens, none of them special.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from model_export.decoder_tensors import DecoderTensors
from model_export.run_directory import RunDirectory
from model_export.seq2seq import Seq2Seq
from model_export.tokenizer_training import SPECIAL_IDS
from tests.benchmark.models.random_bundle import RUN

IDS = tf.TensorSpec([None, None], tf.int32, name="source_ids")
LENGTHS = tf.TensorSpec([None], tf.int32, name="source_lengths")
TARGET_LENGTH = tf.TensorSpec([], tf.int32, name="target_length")
BANNED_LOGIT = -1e9


class GreedyTranslator(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """What is saved: the model's weights and one function."""

    def __init__(self, model: Seq2Seq) -> None:
        super().__init__()
        self.model = model
        penalty = np.zeros(model.config.vocabulary_size, np.float32)
        penalty[list(SPECIAL_IDS)] = BANNED_LOGIT
        self._penalty = tf.constant(penalty)
        self._start_id = SPECIAL_IDS[1]
        self._tensors = DecoderTensors(model.decoder)

    @tf.function(input_signature=[IDS, LENGTHS, TARGET_LENGTH], autograph=False)  # type: ignore[untyped-decorator]
    def translate(self, source_ids: tf.Tensor, source_lengths: tf.Tensor, target_length: tf.Tensor) -> dict[str, Any]:
        """Token ids (batch, target_length) and attention weights (batch, target_length, source_len)."""
        memories, first = self.model.encode(source_ids, source_lengths)

        def advance(step: tf.Tensor, token: tf.Tensor, state: Any, ids: Any, attention: Any) -> tuple[Any, ...]:
            before = self._tensors.unflatten_state(state)
            after = self.model.decoder.step(self.model.embed_target(token), before, memories)
            logits = self.model.project_output(after.attention) + self._penalty
            token = tf.argmax(logits, axis=-1, output_type=tf.int32)
            ids, attention = ids.write(step, token), attention.write(step, after.alignments[0])
            return step + 1, token, self._tensors.flatten_state(after), ids, attention

        token = tf.fill(tf.shape(source_lengths), self._start_id)
        arrays = [tf.TensorArray(dtype, target_length) for dtype in (tf.int32, tf.float32)]
        start = (tf.constant(0), token, self._tensors.flatten_state(first), *arrays)
        *_, ids, attention = tf.while_loop(lambda step, *_: step < target_length, advance, start)
        return {"ids": tf.transpose(ids.stack()), "attention": tf.transpose(attention.stack(), [1, 0, 2])}


def make_saved_model(run: Path, directory: Path) -> None:
    """Saves the model of a run."""
    model, _ = RunDirectory(run).load_model()
    translator = GreedyTranslator(model)
    tf.saved_model.save(translator, str(directory), signatures={"serving_default": translator.translate})


if __name__ == "__main__":
    make_saved_model(Path(json.loads(sys.argv[1])["bundle"]) / RUN, Path(sys.argv[2]))
