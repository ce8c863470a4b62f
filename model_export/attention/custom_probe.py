"""Checks that attention written elsewhere keeps the protocol `AttentionLayer`, by asking about two short sentences.

What cannot be seen in numbers shows when the attention is traced, as training and export do it.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import keras
import ml_dtypes
import numpy as np
import numpy.typing as npt
from keras import ops

from model_export.errors import ConfigError

TOLERANCE = 1e-3  # above what reduced precision on GPUs costs, far below what any violation makes
TOLERANCE_STEPS = 8  # units in the last place, where these are more: a few roundings of a 16-bit format
PADDING = 3  # padded positions of the second sentence
MAX_ERROR_CHARACTERS = 300
ESCAPE_CODE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Question:
    """What attention is asked: query (B, Q), values (B, S, D), mask (B, S) bool, True = real token."""

    query: Any
    values: Any
    mask: Any


class Answer(NamedTuple):
    """What it answered: context (B, C), weights (B, S)."""

    context: Any
    weights: Any


class Ask(Protocol):
    """How the probe asks."""

    def __call__(self, question: Question, training: bool = False) -> Any:
        """Answers a question, whose arrays may be tensors without a value."""


class Probe:
    """Asks and judges.

    Args:
        ask: answers a question.
        described: the attention's name in errors.
        normalized: whether its rows of weights promise to sum to 1.
        dtype: in which it is to compute.
    """

    def __init__(self, ask: Ask, described: str, normalized: bool, dtype: str) -> None:
        self._ask_raw = ask
        self._described = described
        self._normalized = normalized
        self._dtype = dtype
        self._tolerance = max(TOLERANCE, TOLERANCE_STEPS * float(ml_dtypes.finfo(dtype).eps))  # type: ignore[no-untyped-call]

    def run(self, query_depth: int, memory_depth: int) -> int:
        """Asks about two sentences, the second of them padded. The first question creates the layer's weights.

        While a graph is being traced there are only shapes to judge.

        Returns:
            C, the depth of the context.

        Raises:
            ConfigError: the protocol is not kept; says what was expected and what was found.
        """
        question = make_question(query_depth, memory_depth)
        answer = self._ask(question)
        if _has_numbers(answer):
            answer = Answer(*(_as_array(part) for part in answer))
            if not all(np.isfinite(part).all() for part in answer):
                raise self._error("expected finite numbers, found NaN or infinity")
            self._check_weights(answer.weights, question.mask)
            self._check_what_must_not_matter(question, answer)
            self._check_traced(query_depth, memory_depth)
        return int(answer.context.shape[-1])

    def _ask(self, question: Question) -> Answer:
        try:
            with plain_errors():
                answer = self._ask_raw(question)
        except Exception as error:  # it is not our code, and may raise anything
            raise self._error(f"fails when it is called: {describe_error(error)}") from error
        self._check_shapes(answer, question)
        return Answer(*answer)

    def _check_traced(self, query_depth: int, memory_depth: int) -> None:
        """Traces a call without and one in training, for any number of sentences and positions."""
        for training in (False, True):
            traced = _Traced(self._ask_raw, training, self._dtype)
            try:
                with plain_errors():
                    traced(
                        keras.KerasTensor((None, query_depth), self._dtype),
                        keras.KerasTensor((None, None, memory_depth), self._dtype),
                        keras.KerasTensor((None, None), "bool"),
                    )
            except Exception as error:
                problem = describe_error(traced.error or error)
                raise self._error(
                    "fails when it is traced, as for training and export, where tensors have no values and sizes may "
                    f"be unknown: {problem}"
                ) from error

    def _check_shapes(self, answer: Any, question: Question) -> None:
        parts = answer if isinstance(answer, tuple | list) else (answer,)
        batch, source_len = question.mask.shape
        if len(parts) != 2 or not all(ops.is_tensor(part) for part in parts):
            found = ", ".join(_describe(part) for part in parts)
            raise self._error(f"expected call to return two tensors (context, weights), found {found}")
        context, weights = parts
        hint = ""
        if tuple(weights.shape) == (batch, source_len, 1):
            hint = "; drop the last axis, as by keras.ops.squeeze(weights, axis=-1)"
        elif tuple(context.shape) == (batch, source_len) and len(weights.shape) == 2:
            hint = "; they seem to be in the other order"
        if len(context.shape) != 2 or context.shape[0] != batch or tuple(weights.shape) != (batch, source_len):
            raise self._error(
                f"expected context ({batch}, depth) and weights ({batch}, {source_len}) for {batch} sentences of "
                f"{source_len} positions, found {_describe(context)} and {_describe(weights)}{hint}"
            )
        if any(keras.backend.standardize_dtype(part.dtype) != self._dtype for part in parts):
            raise self._error(
                f"expected context and weights in the dtype of computation, {self._dtype}, found {_describe(context)} "
                f"and {_describe(weights)}"
            )

    def _check_weights(self, weights: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> None:
        if weights.min() < 0:
            raise self._error(f"expected weights of at least 0, found {weights.min():.4g}")
        if weights[~mask].any():
            raise self._error(f"expected weights of exactly 0 where mask is False, found {weights[~mask].max():.4g}")
        sums = weights.sum(axis=1)
        if self._normalized and np.abs(sums - 1).max() > self._tolerance:
            worst = sums[np.abs(sums - 1).argmax()]
            raise self._error(
                f"expected rows of weights that sum to 1, found {worst:.4g}; if that is meant, "
                "set the class attribute normalized = False"
            )
        if sums.max() > 1 + self._tolerance:
            raise self._error(f"expected rows of weights that sum to at most 1, found {sums.max():.4g}")

    def _check_what_must_not_matter(self, question: Question, answer: Answer) -> None:
        """Asks again, each time with a change that must leave one sentence's answer as it was."""
        source_len = question.mask.shape[1]
        real = source_len - PADDING
        other_neighbour = replace(
            question,
            query=np.concatenate([question.query[:1], -question.query[1:]]),
            values=np.concatenate([question.values[:1], 2 - question.values[1:]]),
            mask=np.ones_like(question.mask),
        )
        filled = replace(question, values=np.where(question.mask[:, :, None], question.values, np.float32(7)))
        alone = Question(question.query[:1], question.values[:1], question.mask[:1])
        unpadded = Question(question.query[1:], question.values[1:, :real], question.mask[1:, :real])
        checks = [  # what is expected, the changed question, the sentence's row before and after, its positions
            ("the same answer to the same call, random noise only if training is true", question, 0, 0, source_len),
            ("a sentence's answer not to depend on the sentences beside it", other_neighbour, 0, 0, source_len),
            ("a sentence alone to get the same answer as in a batch", alone, 0, 0, source_len),
            ("values at padding to change nothing", filled, 1, 1, real),
            ("the amount of padding to change nothing", unpadded, 1, 0, real),
        ]
        for expected, changed, row, row_after, positions in checks:
            after = Answer(*(_as_array(part) for part in self._ask(changed)))
            self._check_same("context", answer.context[row], after.context[row_after], expected)
            self._check_same("weights", answer.weights[row, :positions], after.weights[row_after, :positions], expected)

    def _check_same(self, part: str, before: npt.NDArray[Any], after: npt.NDArray[Any], expected: str) -> None:
        difference = np.abs(before - after).max()
        if not difference <= self._tolerance:  # so that NaN is caught
            raise self._error(f"expected {expected}, found {part} that differs by {difference:.4g}")

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(f"attention {self._described}: {problem}")


class _Traced(keras.layers.Layer):
    """Asks a question of symbolic tensors. Being a layer without a shape of its own, it is traced by the backend.

    Attributes:
        error: what was raised, as it was: Keras words it anew.
    """

    def __init__(self, ask: Ask, training: bool, dtype: str) -> None:
        super().__init__(name="traced", dtype=dtype)
        self.built = True
        self.error: Exception | None = None
        self._ask, self._training = ask, training

    def call(self, query: Any, values: Any, real: Any) -> Any:
        try:
            return self._ask(Question(query, values, real), training=self._training)
        except Exception as error:
            self.error = error
            raise


def describe_error(error: BaseException) -> str:
    """An error of foreign code on one line, without the escape codes by which TensorFlow prints in bold."""
    message = ESCAPE_CODE.sub("", f"{type(error).__name__}: {error}")
    return textwrap.shorten(message, MAX_ERROR_CHARACTERS, placeholder=" ...")


def make_question(query_depth: int, memory_depth: int) -> Question:
    """Two sentences of a length that is no other dimension, so that mistaken axes show."""
    source_len = next(length for length in (5, 6, 7) if length not in (query_depth, memory_depth))
    generator = np.random.default_rng(0)
    query = generator.normal(size=(2, query_depth)).astype(np.float32)
    values = generator.normal(size=(2, source_len, memory_depth)).astype(np.float32)
    mask = np.arange(source_len)[None, :] < np.array([[source_len], [source_len - PADDING]])
    return Question(query, values * mask[:, :, None], mask)


def _as_array(tensor: Any) -> npt.NDArray[Any]:
    """Never in a 16-bit format, in which NumPy's own sums would round."""
    is_double = keras.backend.standardize_dtype(tensor.dtype) == "float64"
    return ops.convert_to_numpy(tensor if is_double else ops.cast(tensor, "float32"))


def _has_numbers(answer: Answer) -> bool:
    try:
        with warnings.catch_warnings():  # TensorFlow's tensors do not take every argument of NumPy's protocol
            warnings.simplefilter("ignore", DeprecationWarning)
            ops.convert_to_numpy(answer.weights)
    except (TypeError, ValueError, NotImplementedError):  # how the backends say that there is no value yet
        return False
    return True


@contextmanager
def plain_errors() -> Iterator[None]:
    """Keeps Keras from rewriting the message of an error raised in a layer's call."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _describe(part: Any) -> str:
    if not ops.is_tensor(part):
        return f"{type(part).__name__}"
    return f"{keras.backend.standardize_dtype(part.dtype)} {tuple(part.shape)}"
