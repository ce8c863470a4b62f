"""What diagnostics find in a translation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Heuristic: TypeAlias = Literal["unattended_source_word", "repeated_target_word", "diffuse_target_word"]
"""What is looked for: signs of words left out, of words repeated, of words whose links mean little."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sign that something may be wrong with a translation; `service.diagnostics` says how each is found.

    Attributes:
        heuristic: what was looked for.
        source_words: indices of the source words concerned, or of the one that the target words attend to.
        target_words: indices of the target words concerned.
        value: what was compared with the heuristic's threshold.
    """

    heuristic: Heuristic
    source_words: tuple[int, ...]
    target_words: tuple[int, ...]
    value: float
