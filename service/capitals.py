"""Sentences in capitals throughout: read in lower case, and their translations written in capitals again.

Vocabularies know few sequences of capital letters: "WHERE" falls into single letters, of which no model that was not
trained on them makes sense. Both changes of case keep every character's place, so that ranges hold.
"""

from __future__ import annotations

from service.bundle.tokenizer import Tokenizer
from service.domain import Token


def is_in_capitals(text: str) -> bool:
    """Whether a text has at least two letters with case, and all of them are capitals."""
    return text.isupper() and sum(map(str.isupper, text)) > 1


def to_lower_case(text: str) -> str:
    """A text in lower case, as long as it was: `İ`, which would become two characters, stays. `Σ` ends words as `ς`."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(_same_length(each, each.lower()) for each in text)


def to_capitals(text: str) -> str:
    """A text in capitals, as long as it was: characters that would become several (`ß`, as SS) stay as they are.

    No character depends on its neighbours, so parts of a text may be changed one by one.
    """
    raised = text.upper()
    return raised if len(raised) == len(text) else "".join(_same_length(each, each.upper()) for each in text)


def _same_length(character: str, changed: str) -> str:
    return changed if len(changed) == 1 else character


def can_begin_in_capitals(prefix: str) -> bool:
    """Whether a translation in capitals can begin with this: it is written as `to_capitals` writes it."""
    return to_capitals(prefix) == prefix


def encode_as_read(
    sentence: str, tokenizer: Tokenizer, in_capitals: bool | None = None
) -> tuple[tuple[Token, ...], bool]:
    """Encodes a sentence, in lower case if it is in capitals and this takes fewer tokens.

    So a vocabulary that was trained on capitals is given them as they stand, and any is given many an acronym (`NASA`).

    Args:
        sentence: without white space at its ends.
        tokenizer: the model's.
        in_capitals: whether to read it in lower case; None leaves it to the rule.

    Returns:
        Its tokens, with ranges in `sentence`, and whether it was read in lower case.
    """
    if in_capitals is None and is_in_capitals(sentence):
        as_it_stands, lowered = tokenizer.encode(sentence), tokenizer.encode(to_lower_case(sentence))
        fewer = len(lowered) < len(as_it_stands)
        return (lowered if fewer else as_it_stands), fewer
    return tokenizer.encode(to_lower_case(sentence) if in_capitals else sentence), bool(in_capitals)
