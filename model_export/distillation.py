"""Training pairs of a model's own making: which of its hypotheses a model is to be trained on.

Sequence-level distillation trains a student on what a teacher's beam search finds (Kim & Rush 2016, arXiv:1606.07947);
where a reference is known, on the hypothesis nearest to it. Text without references serves as well, for a student or
for the model itself (self-training, He et al. 2020, arXiv:1909.13788).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, ValidationError
from sacrebleu.metrics import CHRF

from model_export.config import describe_first
from model_export.corpus_readers import EMPTY_SIDE, BadLine
from model_export.errors import DataError

TAB_OR_LINE_BREAK: Final = "tab or line break in the text"
CUT: Final = "cut at the length limit"
REPEATED_SOURCE: Final = "repeated source"

_CHRF: Final = CHRF()  # sacreBLEU's defaults: characters up to 6 in a row, beta 2


class Sentence(BaseModel):
    """What is needed of a hypothesis's sentence; `finished` is false if it was cut at the length limit."""

    finished: bool = True


class Hypothesis(BaseModel):
    """What is needed of a hypothesis; `score` is normalised, and null where it is no finite number."""

    text: str
    score: float | None
    sentences: tuple[Sentence, ...] = ()


class Source(BaseModel):
    """What is needed of a source text."""

    text: str


class Translation(BaseModel):
    """What is needed of a line that `interlinear translate --jsonl` writes; hypotheses are sorted, the best first."""

    source: Source
    hypotheses: tuple[Hypothesis, ...] = Field(min_length=1)


class Choice(NamedTuple):
    """A source with the hypothesis that was chosen for it.

    Attributes:
        source: without white space around it.
        target: likewise.
        rank: of the hypothesis, 0 for the best.
        score: the hypothesis's own, normalised; minus infinity where the file has none.
    """

    source: str
    target: str
    rank: int
    score: float


def parse_translation(place: str, line: bytes) -> Translation:
    """Reads one line of `interlinear translate --jsonl`.

    Args:
        place: file and line number, for messages.
        line: JSON in UTF-8.

    Raises:
        DataError: the line is none of these; names the place and the field.
    """
    try:
        return Translation.model_validate_json(line)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise DataError(f"{place}: is no valid JSON; was the file written to its end?") from error
        raise DataError(
            f"{place}: {describe_first(error)}; `interlinear translate --jsonl` writes what is expected"
        ) from error


def choose(translation: Translation, references: Sequence[str]) -> Choice | BadLine:
    """Chooses the hypothesis nearest to a reference, or the best one where there are no references.

    Hypotheses that no line of a TSV can hold, or that were cut at the length limit, are passed over.

    Returns:
        The choice, or what is wrong with the source, or with the best hypothesis if none can be used.
    """
    source = translation.source.text.strip()
    problem = _find_problem(source)
    if problem is not None:
        return BadLine(problem)
    texts = [hypothesis.text.strip() for hypothesis in translation.hypotheses]
    problems = [_judge(*both) for both in zip(translation.hypotheses, texts, strict=True)]
    usable = [rank for rank, problem in enumerate(problems) if problem is None]
    if not usable:
        return BadLine(str(problems[0]))
    rank = usable[find_nearest([texts[rank] for rank in usable], references)] if references else usable[0]
    score = translation.hypotheses[rank].score
    return Choice(source, texts[rank], rank, -np.inf if score is None else score)


def _judge(hypothesis: Hypothesis, text: str) -> str | None:
    """What is wrong with a hypothesis."""
    return _find_problem(text) or (None if all(each.finished for each in hypothesis.sentences) else CUT)


def _find_problem(text: str) -> str | None:
    if not text:
        return EMPTY_SIDE
    return TAB_OR_LINE_BREAK if any(character in text for character in "\t\n\r") else None


def find_nearest(texts: Sequence[str], references: Sequence[str]) -> int:
    """The index of the text with the highest sentence chrF; of equal ones the first.

    Source: Kim & Rush 2016, section 3.3 (sequence-level interpolation), with chrF (Popović 2015) as the similarity.
    """
    scores = [_CHRF.sentence_score(text, references).score for text in texts]
    return scores.index(max(scores))


def find_best(scores: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.bool_]:
    """Marks the best share of scores, in number rounded to the nearest; of equal ones those that come first.

    Args:
        scores: float64 (count,), the higher the better.
        share: 0 to 1.

    Returns:
        bool (count,).
    """
    order = np.argsort(-scores, kind="stable")
    best = np.zeros(len(scores), dtype=np.bool_)
    best[order[: round(share * len(scores))]] = True
    return best
