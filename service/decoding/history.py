"""What search has selected so far, as back pointers: hypotheses share their common beginnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from service.domain import FloatArray

IndexArray: TypeAlias = npt.NDArray[np.int64]

NO_PARENT = -1


@dataclass(frozen=True, slots=True)
class Selection:
    """The tokens selected in one step; all arrays but `attention_weights` are (tokens,).

    Attributes:
        parents: index of the token before, in the selection of the step before; NO_PARENT for a first token.
        rows: the decoder row that produced the token, hence its row of `attention_weights`.
        token_ids: the tokens.
        log_probs: float64, their natural log-probabilities.
        attention_weights: (rows, mechanisms, source_len), as the decoder step returned them.
    """

    parents: IndexArray
    rows: IndexArray
    token_ids: IndexArray
    log_probs: npt.NDArray[np.float64]
    attention_weights: FloatArray


@dataclass(frozen=True, slots=True)
class Path:
    """One hypothesis from its first token on.

    Attributes:
        token_ids: the tokens.
        log_probs: (tokens,).
        attention: (tokens, mechanisms, source_len).
    """

    token_ids: tuple[int, ...]
    log_probs: npt.NDArray[np.float64]
    attention: FloatArray


class History:
    """The selections of all steps; a token is addressed by its step and its index within that step's selection."""

    def __init__(self) -> None:
        self._selections: list[Selection] = []

    def __len__(self) -> int:
        return len(self._selections)

    def append(self, selection: Selection) -> None:
        """Adds the selection of the next step."""
        self._selections.append(selection)

    def path(self, step: int, index: int) -> Path:
        """Walks back from one token to the first of its hypothesis."""
        token_ids: list[int] = []
        log_probs: list[float] = []
        attention: list[FloatArray] = []
        while index != NO_PARENT:
            selection = self._selections[step]
            token_ids.append(int(selection.token_ids[index]))
            log_probs.append(float(selection.log_probs[index]))
            attention.append(selection.attention_weights[selection.rows[index]])
            index = int(selection.parents[index])
            step -= 1
        return Path(tuple(reversed(token_ids)), np.array(log_probs[::-1]), np.stack(attention[::-1]))
