"""Greedy translations straight from a Keras model, without the service's search and without its backend protocol."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from model_export.run_directory import RunDirectory
from service.domain import FloatArray

MAX_STEPS = 20  # more than any sentence of the tests needs


class Greedy(NamedTuple):
    """What a model says of one sentence.

    Attributes:
        target_ids: the tokens, up to and with the end of sentence if it comes.
        log_probs: of each.
        attentions: per mechanism (tokens, source tokens), the weights of the step that produced each token.
    """

    target_ids: list[int]
    log_probs: FloatArray
    attentions: list[FloatArray]


def translate_greedily(run: RunDirectory, sentences: list[str]) -> list[Greedy]:
    """Takes the likeliest token at every step, for all sentences at once."""
    model, _ = run.load_model()
    tokenizer = run.read_tokenizer()
    sources = [[*tokenizer.encode_ids(sentence), tokenizer.eos_id] for sentence in sentences]
    lengths = np.array([len(source) for source in sources], dtype=np.int32)
    source_ids = np.full((len(sources), lengths.max()), tokenizer.pad_id, dtype=np.int32)
    for row, source in enumerate(sources):
        source_ids[row, : len(source)] = source
    never = np.zeros(model.config.vocabulary_size)
    never[[tokenizer.pad_id, tokenizer.bos_id, tokenizer.unk_id]] = -np.inf

    tokens, log_probs, attentions = [], [], []
    memories, state = model.encode(source_ids, lengths)
    last = np.full(len(sources), tokenizer.bos_id)
    for _ in range(MAX_STEPS):
        state = model.decoder.step(model.embed_target(last), state, memories)
        scores = ops.convert_to_numpy(ops.log_softmax(model.project_output(state.attention)))
        last = (scores + never).argmax(axis=-1)
        tokens.append(last)
        log_probs.append(scores[np.arange(len(last)), last])
        attentions.append([ops.convert_to_numpy(weights) for weights in state.alignments])

    answers = []
    for row, length in enumerate(lengths):
        ids = [int(step[row]) for step in tokens]
        count = ids.index(tokenizer.eos_id) + 1 if tokenizer.eos_id in ids else MAX_STEPS
        per_step = [np.stack([weights[row, :length] for weights in step]) for step in attentions[:count]]
        answers.append(
            Greedy(ids[:count], np.array([step[row] for step in log_probs[:count]]), list(np.stack(per_step, axis=1)))
        )
    return answers
