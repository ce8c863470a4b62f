"""Deals with files line by line, without a server: one line in, one line out, in order."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from pydantic_core import to_json
from tqdm import tqdm

from service.alignment import AlignmentDetail
from service.api.answers import translation_answer
from service.domain import DecodingOptions, TranslatedText
from service.errors import InterlinearError, InvalidRequestError, RequestError
from service.translator import Translator

STANDARD_INPUT: Final = "-"
LINES_AT_ONCE: Final = 256  # enough to fill the decoding batch

Work: TypeAlias = Callable[[Sequence[str]], Awaitable[list[TranslatedText]]]
"""What is done with lines, in any order."""

_FIELD_OF_LINE: Final = re.compile(r"^(?:text\[0\]: |(?P<side>source|target)(?:_words)?\[0\])")
"""How errors about the only one of the lines begin: for a reader of files the line's place says it."""


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
        InvalidRequestError: a file cannot be read, a line is not UTF-8 or holds a NUL character.
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
        if "\0" in text:
            raise InvalidRequestError(f"{name}:{number}: must not contain NUL characters")
        yield Line(name, number, text.removesuffix("\n").removesuffix("\r"))


async def process_lines(work: Work, lines: Iterable[Line], at_once: int) -> AsyncIterator[TranslatedText]:
    """Lets `work` deal with lines, `at_once` together, and gives what comes of them in their order.

    Raises:
        InterlinearError: a line cannot be read or dealt with; the message names it. All lines before it are given.
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
        async for done in _process_batch(work, batch):
            yield done
        if unreadable is not None:
            raise unreadable
        if not batch:
            return


async def _process_batch(work: Work, batch: list[Line]) -> AsyncIterator[TranslatedText]:
    by_length = sorted(range(len(batch)), key=lambda index: len(batch[index].text))  # so that little is padded
    try:
        done = await work([batch[index].text for index in by_length])
    except RequestError:
        for line in batch:
            yield await _process_line(work, line)
        return
    in_order = dict(zip(by_length, done, strict=True))
    for index in range(len(batch)):
        yield in_order[index]


async def _process_line(work: Work, line: Line) -> TranslatedText:
    try:
        [done] = await work([line.text])
    except RequestError as error:
        message = _FIELD_OF_LINE.sub(lambda match: match["side"] or "", str(error))
        raise InvalidRequestError(f"{line.place}: {message}") from error
    return done


def translating(
    translator: Translator, options: DecodingOptions, alignment: AlignmentDetail, diagnostics: bool = False
) -> Work:
    """The work of translating lines."""

    async def work(texts: Sequence[str]) -> list[TranslatedText]:
        return await translator.translate(texts, options, None, alignment, diagnostics)

    return work


async def write_lines(work: Work, render: Callable[[TranslatedText], str], files: Sequence[str]) -> None:
    """Deals with every line of files, and writes a line for each to the standard output.

    Args:
        work: what is done with them.
        render: from what came of it to a line.
        files: names; none is the standard input.
    """
    files = files or [STANDARD_INPUT]
    at_once = 1 if STANDARD_INPUT in files and sys.stdin.isatty() else LINES_AT_ONCE
    output = sys.stdout.buffer  # UTF-8 whatever the locale
    with tqdm(unit=" lines", disable=not sys.stderr.isatty() or sys.stdout.isatty()) as progress:
        async for done in process_lines(work, read_lines(files), at_once):
            output.write((render(done) + "\n").encode("utf-8"))
            progress.update()
            if at_once == 1:
                output.flush()
    output.flush()


def best_text(translated: TranslatedText) -> str:
    """The best translation, as one line."""
    return translated.hypotheses[0].target.text


def json_line(translated: TranslatedText) -> str:
    """The translation as the API gives it, as one line of JSON."""
    return to_json(translation_answer(translated, return_scores=True), inf_nan_mode="null").decode("utf-8")
