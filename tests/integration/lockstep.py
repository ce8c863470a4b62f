"""Decoding as the reference does it: all entries take all steps, until the last of them is complete."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from service.decoding.backend import DecoderRows
from service.decoding.tfa import TfaBeams, TfaOptions, TfaStep, attention_slots, gather_tree
from tests.integration.reference_decoder import Array, ReferenceCase, ReferenceDecoder

Outputs = Mapping[str, Array]


def encode(case: ReferenceCase, backend: ReferenceDecoder) -> DecoderRows:
    """All entries of a case."""
    lengths = case.source_lengths
    ids = np.array([[entry] * max(lengths) for entry in range(len(lengths))], dtype=np.int32)
    return backend.encode(ids, np.array(lengths, dtype=np.int32))


def decode_greedily(case: ReferenceCase) -> Outputs:
    """`BasicDecoder` with `GreedyEmbeddingSampler`."""
    backend = ReferenceDecoder(case)
    rows, impute = encode(case, backend), bool(case.entry["call"]["impute_finished"])
    count = len(rows.source_mask)
    ids, finished, lengths = np.zeros(count, np.int32), np.zeros(count, bool), np.zeros(count, np.int32)
    samples, outputs, attention = [], [], []
    while not finished.all() and len(samples) < case.max_steps:
        step = backend.decode_step(ids, rows, ids, 1)
        ids = step.candidate_ids[:, 0]
        hidden = finished if impute else np.zeros(count, bool)
        samples.append(np.where(hidden, 0, ids))
        outputs.append(np.where(hidden[:, np.newaxis], 0, backend.logits[-1]))
        attention.append(step.attention_weights[:, 0])
        rows = DecoderRows(rows.memory, rows.source_mask, _frozen(hidden, rows.state, step.state))
        lengths += ~finished
        finished = finished | (ids == case.end_id)
    return {
        "rnn_output": np.stack(outputs, axis=1),
        "sample_id": np.stack(samples, axis=1),
        "sequence_lengths": lengths,
        "alignment_history": _as_wide(np.stack(attention), case),
    }


def _frozen(hidden: Array, before: tuple[Array, ...], after: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(np.where(hidden[:, np.newaxis], old, new) for old, new in zip(before, after, strict=True))


def search(case: ReferenceCase) -> Outputs:
    """`BeamSearchDecoder`: everything that the vectors hold of it."""
    arguments, backend = case.entry["args"], ReferenceDecoder(case)
    width = int(arguments["beam_width"])
    encoded = encode(case, backend)
    batch, source_len = encoded.source_mask.shape
    rows = encoded.select(np.repeat(np.arange(batch, dtype=np.int32), width))
    weights = (np.full(batch, arguments[name]) for name in ("length_penalty_weight", "coverage_penalty_weight"))
    mechanisms = case.wrapper["mechanisms"]
    options = TfaOptions(case.end_id, backend.vocabulary_size, len(mechanisms), *weights)
    initial = np.zeros((batch, source_len))
    initial[:, 0] = sum("Monotonic" in mechanism["type"] for mechanism in mechanisms)
    beams, ids = TfaBeams.start(initial, width), np.zeros(batch * width, dtype=np.int32)
    steps: list[TfaStep] = []
    attention = []
    while not beams.finished.all() and len(steps) < case.max_steps:
        output = backend.decode_step(ids, rows, ids, width + 1)
        by_slot = (batch, width, -1)
        alignments = output.attention_weights.reshape(batch, width, len(mechanisms), source_len)
        beams, step = beams.advance(
            output.candidate_ids.reshape(by_slot),
            output.candidate_log_probs.reshape(by_slot),
            alignments.sum(axis=2),
            options,
        )
        parents = (step.parents + width * np.arange(batch)[:, np.newaxis]).ravel().astype(np.int32)
        rows = DecoderRows(rows.memory, rows.source_mask, tuple(array[parents] for array in output.state))
        ids = step.token_ids.ravel()
        steps.append(step)
        attention.append(alignments[:, :, 0])
    return _search_outputs(case, beams, steps, np.stack(attention))


def _search_outputs(case: ReferenceCase, beams: TfaBeams, steps: list[TfaStep], attention: Array) -> Outputs:
    ids, parents, scores = (
        np.stack([getattr(step, name) for step in steps], axis=1) for name in ("token_ids", "parents", "scores")
    )  # (batch, steps, beam_width) each
    raw = _as_wide(attention, case)
    predicted, reordered = np.full_like(ids, case.end_id), raw.copy()
    for entry in range(len(ids)):
        length = min(int(beams.lengths[entry].max()), len(steps))
        path = gather_tree(ids[entry], parents[entry], length)
        ended = np.cumsum(path == case.end_id, axis=0) > 0
        predicted[entry, :length] = np.where(ended, case.end_id, path)
        slots = attention_slots(parents[entry], beams.lengths[entry], length)
        reordered[:, entry] = np.take_along_axis(raw[:, entry], slots[:, :, np.newaxis], axis=1)
    return {
        "predicted_ids": predicted,
        "step_predicted_ids": ids,
        "step_parent_ids": parents,
        "step_scores": scores,
        "lengths": beams.lengths,
        "final_sequence_lengths": beams.lengths,
        "log_probs": beams.log_probs,
        "finished": beams.finished,
        "accumulated_attention_probs": _as_wide(beams.attention_sums, case) / len(case.wrapper["mechanisms"]),
        "alignment_history": reordered,
        "alignment_history_raw": raw,
    }


def _as_wide(attention: Array, case: ReferenceCase) -> Array:
    """Attention with as many columns as the reference's memory has positions."""
    missing = case.arrays["in/memory0"].shape[1] - attention.shape[-1]
    return np.pad(attention, [(0, 0)] * (attention.ndim - 1) + [(0, missing)])
