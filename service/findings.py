"""What diagnostics find in a translation, and what they go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Heuristic: TypeAlias = Literal["unattended_source_word", "repeated_target_word", "diffuse_target_word"]
"""What is looked for: signs of words left out, of words repeated, of words whose links mean little."""


@dataclass(frozen=True, slots=True)
class OmissionRule:
    """What attention of a source word speaks for its having been left out; `service.diagnostics` says how.

    The defaults are those of older bundles; newer ones hold what was tuned for their model, and their model cards how
    often it is right.

    Attributes:
        unattended_below: attention that it got from all target words together, looking back at what they come from.
        expected_from: attention that it got from the steps that looked ahead for what to write.
    """

    unattended_below: float = 0.3
    expected_from: float = 0.8


DEFAULT_OMISSION_RULE: Final = OmissionRule()
"""What holds for bundles that say nothing of it."""


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
