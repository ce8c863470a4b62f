"""Translates files line by line, without a server: one line in, one line out, in order."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from pydantic_core import to_json

from service.alignment import AlignmentDetail
from service.api.answers import translation_answer
from service.domain import DecodingOptions, TranslatedText
from service.errors import InterlinearError, InvalidRequestError, RequestError
from service.translator import Translator

STANDARD_INPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of input, without its line break, and where it stands, for messages."""

    file: str
    number: int
    text: str

    @property
    def place(self) -> str:
        """File and line number."""
        return f"{self.file}:{self.number}"


def read_lines(files: Iterable[str]) -> Iterator[Line]:
    """Reads files one after the other; `-` is the standard input. Only line feeds end lines.

    Raises:
        InvalidRequestError: a file cannot be read, or a line is not UTF-8.
    """
    for file in files:
        if file == STANDARD_INPUT:
            yield from _decode_lines("standard input", sys.stdin.buffer)
            continue
        try:
            with Path(file).open("rb") as stream:
                yield from _decode_lines(file, stream)
        except OSError as error:
            raise InvalidRequestError(f"{file}: {error.strerror}") from error


def _decode_lines(name: str, stream: BinaryIO) -> Iterator[Line]:
    for number, content in enumerate(stream, start=1):
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidRequestError(
                f"{name}:{number}: not valid UTF-8 (byte {error.start + 1} of the line)"
            ) from None
        yield Line(name, number, text.removesuffix("\n").removesuffix("\r"))


async def translate_lines(
    translator: Translator, lines: Iterable[Line], options: DecodingOptions, alignment: AlignmentDetail, at_once: int
) -> AsyncIterator[TranslatedText]:
    """Translates lines, `at_once` together, and gives them back in their order.

    Raises:
        InterlinearError: a line cannot be read or translated; the message names it. All lines before it are given.
    """
    incoming = iter(lines)
    while True:
        batch: list[Line] = []
        unreadable: InterlinearError | None = None
        try:
            for line in islice(incoming, at_once):
                batch.append(line)
        except InterlinearError as error:
            unreadable = error
        async for translated in _translate_batch(translator, batch, options, alignment):
            yield translated
        if unreadable is not None:
            raise unreadable
        if not batch:
            return


async def _translate_batch(
    translator: Translator, batch: list[Line], options: DecodingOptions, alignment: AlignmentDetail
) -> AsyncIterator[TranslatedText]:
    by_length = sorted(range(len(batch)), key=lambda index: len(batch[index].text))  # so that little is padded
    try:
        translated = await translator.translate([batch[index].text for index in by_length], options, None, alignment)
    except RequestError:
        for line in batch:
            yield await _translate_line(translator, line, options, alignment)
        return
    in_order = dict(zip(by_length, translated, strict=True))
    for index in range(len(batch)):
        yield in_order[index]


async def _translate_line(
    translator: Translator, line: Line, options: DecodingOptions, alignment: AlignmentDetail
) -> TranslatedText:
    try:
        [translated] = await translator.translate([line.text], options, None, alignment)
    except RequestError as error:
        raise InvalidRequestError(f"{line.place}: {str(error).removeprefix('text[0]: ')}") from error
    return translated


def best_text(translated: TranslatedText) -> str:
    """The best translation, as one line."""
    return translated.hypotheses[0].target.text


def json_line(translated: TranslatedText) -> str:
    """The translation as the API gives it, as one line of JSON."""
    return to_json(translation_answer(translated, return_scores=True), inf_nan_mode="null").decode("utf-8")
