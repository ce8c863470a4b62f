"""A toy model whose every answer can be read off a table: the state is the history of tokens, spelt out.

Vocabulary: the four special ids, then one id per letter `a`, `b`, `c`, ... In scripts and helpers `.` is the end of
sentence, so `encode_letters("ab.")` is `(4, 5, 2)`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.decoding.backend import DecoderRows, StepOutput
from service.domain import BoolArray, DecodingJob, DecodingOptions, FloatArray, Hypothesis, IntArray, SpecialIds

IDS = SpecialIds(pad=0, bos=1, eos=2, unk=3)
FIRST_LETTER = 4
LONGEST_HISTORY = 64

_Value = TypeVar("_Value", bound=np.generic)

Model = Callable[[str, str], Mapping[str, float]]
"""From source letters and target letters so far to the probabilities of the next letter (unnamed ones: 0)."""


def encode_letters(letters: str) -> tuple[int, ...]:
    """Ids of letters; `.` is the end of sentence, `_` padding, `<` the start, `?` unknown."""
    special = {".": IDS.eos, "_": IDS.pad, "<": IDS.bos, "?": IDS.unk}
    return tuple(special[letter] if letter in special else ord(letter) - ord("a") + FIRST_LETTER for letter in letters)


def decode_letters(ids: tuple[int, ...]) -> str:
    """The reverse of `encode_letters`."""
    special = {IDS.eos: ".", IDS.pad: "_", IDS.bos: "<", IDS.unk: "?"}
    return "".join(special[i] if i in special else chr(i - FIRST_LETTER + ord("a")) for i in ids)


def texts(hypotheses: tuple[Hypothesis, ...]) -> list[str]:
    """The hypotheses as letters."""
    return [decode_letters(hypothesis.target_ids) for hypothesis in hypotheses]


def assert_same(left: tuple[Hypothesis, ...], right: tuple[Hypothesis, ...]) -> None:
    """Checks that two searches gave the same hypotheses, to the last bit."""
    assert texts(left) == texts(right)
    for one, other in zip(left, right, strict=True):
        assert one.log_prob == other.log_prob
        assert one.score == other.score
        assert one.finished == other.finished
        np.testing.assert_array_equal(one.token_log_probs, other.token_log_probs)
        np.testing.assert_array_equal(one.attention, other.attention)
        np.testing.assert_array_equal(one.other_attentions, other.other_attentions)


def make_job(source: str, prefix: str = "", **options: float) -> DecodingJob:
    """A job for source letters (the end of sentence is added), greedy unless `options` say otherwise."""
    settings = {"beam_size": 1, "length_penalty": 0.0, "max_decoding_length": 12} | options
    return DecodingJob(encode_letters(source + "."), DecodingOptions(**settings), encode_letters(prefix))  # type: ignore[arg-type]


def scripted(table: Mapping[str, Mapping[str, float]]) -> Model:
    """A model that ignores the source and looks the target so far up in `table`; what is missing ends."""
    return lambda source, target: table.get(target, {".": 1.0})


# The greedy path starts with `a` (0.6) and ends in "ac." (0.6 * 0.4 = 0.24); "b." has 0.4 * 0.9 = 0.36.
GARDEN_PATH = {"": {"a": 0.6, "b": 0.4}, "a": {"c": 0.4, "d": 0.35, ".": 0.25}, "b": {".": 0.9, "c": 0.1}}


def copying(source: str, target: str) -> Mapping[str, float]:
    """A model that copies the source, with probability 0.9 a letter."""
    expected = source[len(target)] if len(target) < len(source) else "."
    return {expected: 0.9, "z": 0.1}


def random_model(letters: str, seed: int = 0) -> Model:
    """A model with fixed pseudo-random probabilities over `letters`, different for every source and target."""

    def probabilities(source: str, target: str) -> Mapping[str, float]:
        generator = np.random.default_rng(zlib.crc32(f"{seed}|{source}|{target}".encode()))
        values = generator.dirichlet(np.ones(len(letters)))
        return dict(zip(letters, values.tolist(), strict=True))

    return probabilities


def attention_row(source: str, target: str, mechanism: int = 0) -> FloatArray:
    """What the toy model's mechanism attends to after `target`: pseudo-random, strictly positive, sums to 1.

    Returns:
        (source_len,), the end of sentence included.
    """
    generator = np.random.default_rng(zlib.crc32(f"attention|{source}|{target}".encode(), mechanism))
    return generator.dirichlet(np.ones(len(source) + 1)).astype(np.float32)


def read_only(array: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
    """The array, which belongs to the backend: search must not write to it."""
    array.flags.writeable = False
    return array


class ScriptedBackend:
    """A `Seq2SeqBackend` that asks a `Model` row by row; `rows_per_step` records how many rows each step had."""

    def __init__(self, model: Model, vocabulary_size: int = FIRST_LETTER + 26, mechanisms: int = 1) -> None:
        self.vocabulary_size = vocabulary_size
        self.mechanisms = mechanisms
        self.rows_per_step: list[int] = []
        self._model = model

    def encode(self, source_ids: IntArray, source_lengths: IntArray) -> DecoderRows:
        """The memory is the source ids themselves, the state an empty history."""
        mask: BoolArray = np.arange(source_ids.shape[1]) < source_lengths[:, None]
        memory = np.where(mask, source_ids, -7).astype(np.float32)[:, :, None]  # padding holds nonsense
        history = np.full((len(source_ids), LONGEST_HISTORY), -1, dtype=np.float32)
        return DecoderRows(memory=(read_only(memory),), source_mask=read_only(mask), state=(read_only(history),))

    def decode_step(
        self, input_ids: IntArray, rows: DecoderRows, forced_ids: IntArray, num_candidates: int
    ) -> StepOutput:
        """Appends the input token to each row's history and looks the next token's probabilities up."""
        self.rows_per_step.append(len(input_ids))
        history = rows.state[0].copy()
        log_probs = np.full((len(input_ids), self.vocabulary_size), -np.inf, dtype=np.float32)
        attention = np.zeros((len(input_ids), self.mechanisms, rows.source_mask.shape[1]), dtype=np.float32)
        for row, token in enumerate(input_ids):
            history[row, np.argmax(history[row] < 0)] = token
            source = decode_letters(tuple(rows.memory[0][row, rows.source_mask[row], 0].astype(int).tolist()))[:-1]
            target = decode_letters(tuple(history[row, history[row] >= 0].astype(int).tolist()))[1:]
            log_probs[row] = self._log_probs(source, target)
            for mechanism in range(self.mechanisms):
                attention[row, mechanism, rows.source_mask[row]] = attention_row(source, target, mechanism)
        candidates = np.argsort(-log_probs, axis=1, kind="stable")[:, :num_candidates]
        return StepOutput(
            candidate_ids=read_only(candidates.astype(np.int32)),
            candidate_log_probs=read_only(np.take_along_axis(log_probs, candidates, axis=1)),
            forced_log_probs=read_only(log_probs[np.arange(len(input_ids)), forced_ids]),
            attention_weights=read_only(attention),
            state=(read_only(history),),
        )

    def _log_probs(self, source: str, target: str) -> npt.NDArray[np.float32]:
        """(vocabulary,) natural logarithms."""
        probabilities = np.zeros(self.vocabulary_size)
        for letter, probability in self._model(source, target).items():
            probabilities[encode_letters(letter)[0]] = probability
        with np.errstate(divide="ignore"):
            return np.log(probabilities).astype(np.float32)
