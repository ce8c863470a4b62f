"""Which step's attention belongs to a token, for tokens that come little by little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.alignment import choose_rows
from service.domain import Alternatives, Mechanism, SettledTokens


class RowChooser:
    """`service.alignment.choose_rows` for tokens that come little by little.

    Where a token's attention is that of the step that reads it, the last token is kept back until there was that step.

    Args:
        mechanisms: the model's.
    """

    def __init__(self, mechanisms: Sequence[Mechanism]) -> None:
        self._mechanisms = mechanisms
        self._last: SettledTokens | None = None

    def choose(self, tokens: SettledTokens) -> SettledTokens:
        """The tokens whose rows are known now."""
        if not any(mechanism.row_offset for mechanism in self._mechanisms):
            return tokens
        known = tokens if self._last is None else _join(self._last, tokens)
        ready, self._last = _part(known, slice(-1)), _part(known, slice(-1, None))
        attentions = choose_rows(known.attentions, self._mechanisms)
        return replace(ready, attentions=tuple(attention[:-1] for attention in attentions))


def _join(one: SettledTokens, other: SettledTokens) -> SettledTokens:
    """Both, the one before the other."""
    alternatives = None
    if one.alternatives is not None and other.alternatives is not None:
        alternatives = Alternatives(
            ids=np.concatenate([one.alternatives.ids, other.alternatives.ids]),
            log_probs=np.concatenate([one.alternatives.log_probs, other.alternatives.log_probs]),
        )
    return SettledTokens(
        first=one.first,
        target_ids=(*one.target_ids, *other.target_ids),
        token_log_probs=np.concatenate([one.token_log_probs, other.token_log_probs]),
        attentions=tuple(map(np.concatenate, zip(one.attentions, other.attentions, strict=True))),
        alternatives=alternatives,
    )


def _part(tokens: SettledTokens, part: slice) -> SettledTokens:
    """Some of the tokens."""
    alternatives = tokens.alternatives
    return SettledTokens(
        first=tokens.first + part.indices(len(tokens.target_ids))[0],
        target_ids=tokens.target_ids[part],
        token_log_probs=tokens.token_log_probs[part],
        attentions=tuple(attention[part] for attention in tokens.attentions),
        alternatives=alternatives and Alternatives(alternatives.ids[part], alternatives.log_probs[part]),
    )
