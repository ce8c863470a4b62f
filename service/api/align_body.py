"""From an `AlignRequest` to the pairs that it means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from service.api.align_schemas import AlignRequest
from service.errors import InvalidRequestError, RequestError, TextTooLongError
from service.forced_alignment import GivenPair, GivenText
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class _Side:
    """The texts of one side, the field that holds them, and whether it holds a list of them."""

    field: str
    texts: Sequence[GivenText]
    several: bool

    def check(self, settings: Settings) -> None:
        """Holds the texts against the configured limits.

        Raises:
            TextTooLongError: too many texts, or too long a text.
        """
        if len(self.texts) > settings.max_texts:
            raise TextTooLongError(f"{self.field}: at most {settings.max_texts} pairs are taken at once", self.field)
        for index, text in enumerate(self.texts):
            length = len(text) if isinstance(text, str) else sum(map(len, text)) + len(text)
            if length > settings.max_text_length:
                field = f"{self.field}[{index}]" if self.several else self.field
                raise TextTooLongError(f"{field}: has more than {settings.max_text_length} characters", field)


@dataclass(frozen=True, slots=True)
class GivenPairs:
    """The pairs of a request.

    Attributes:
        pairs: in their order.
        single: whether it was one, and no list of one.
        source_field: the field that holds the sources.
    """

    pairs: list[GivenPair]
    single: bool
    source_field: str

    @contextlib.contextmanager
    def named_as_sent(self) -> Iterator[None]:
        """Lets errors name the fields of this request: `source` for a single pair, and never the engine's `text`."""
        try:
            yield
        except RequestError as error:
            if error.field == "text":
                error.field = self.source_field
            if self.single and error.field is not None and error.field.endswith("[0]"):
                name = error.field.removesuffix("[0]")
                error.args = (str(error).replace(error.field, name),)
                error.field = name
            raise


def given_pairs(body: AlignRequest, settings: Settings) -> GivenPairs:
    """The pairs of a request.

    Raises:
        InvalidRequestError: a side is missing or given twice, or the sides do not match.
        TextTooLongError: too many pairs, or too long a text.
    """
    source = _side("source", body.source, body.source_words)
    target = _side("target", body.target, body.target_words)
    if source.several != target.several:
        kind = "list" if source.several else "single text"
        raise InvalidRequestError(f"{target.field}: must be a {kind}, as {source.field} is", target.field)
    if len(source.texts) != len(target.texts):
        counts = f"has {len(target.texts)} items; {source.field} has {len(source.texts)}"
        raise InvalidRequestError(f"{target.field}: {counts}", target.field)
    for side in (source, target):
        side.check(settings)
    pairs = [GivenPair(*pair) for pair in zip(source.texts, target.texts, strict=True)]
    return GivenPairs(pairs, not source.several, source.field)


def _side(field: str, text: str | list[str] | None, words: list[str] | list[list[str]] | None) -> _Side:
    words_field = f"{field}_words"
    if text is not None and words is not None:
        raise InvalidRequestError(f"{words_field}: excludes {field}", words_field)
    if text is not None:
        return _Side(field, [text], False) if isinstance(text, str) else _Side(field, text, True)
    if words is None:
        raise InvalidRequestError(f"{field}: is required, unless there is {words_field}", field)
    lists = [each for each in words if isinstance(each, list)]  # all of them, or none
    return _Side(words_field, lists, True) if lists else _Side(words_field, [list(map(str, words))], False)
