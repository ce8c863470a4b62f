"""The obvious way to decode with the two graphs: one sentence, greedily, in a loop of batch one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from service.decoding.backend import Seq2SeqBackend
from service.domain import FloatArray, SpecialIds


@dataclass(frozen=True)
class NaiveTranslation:
    """Token ids, the end of sentence included if it was produced, and the attention row of each."""

    target_ids: list[int]
    attention: list[FloatArray]


def translate_naively(
    backend: Seq2SeqBackend, source_ids: list[int], ids: SpecialIds, max_length: int, stops: bool = True
) -> NaiveTranslation:
    """Takes the best token at every step.

    Args:
        backend: the model.
        source_ids: end of sentence included.
        ids: the special token ids.
        max_length: most target tokens.
        stops: at the end of sentence; otherwise only at `max_length`.
    """
    rows = backend.encode(np.array([source_ids], dtype=np.int32), np.array([len(source_ids)], dtype=np.int32))
    token = np.array([ids.bos], dtype=np.int32)
    translation = NaiveTranslation([], [])
    while len(translation.target_ids) < max_length and not (stops and token[0] == ids.eos):
        output = backend.decode_step(token, rows, token, 1)
        rows = replace(rows, state=output.state)
        token = output.candidate_ids[:, 0]
        translation.target_ids.append(int(token[0]))
        translation.attention.append(output.attention_weights[0, 0])
    return translation
