"""Reads translation units from TMX (Translation Memory eXchange 1.1 to 1.4b) without holding the file in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.parsers import expat

from model_export.errors import DataError

_READ_BYTES: Final = 1 << 16
_NATIVE_CODE_TAGS: Final = frozenset({"bpt", "ept", "it", "ph", "ut"})
"""Inline elements that hold the formatting codes of the original document and no text."""


class _UnitCollector:
    """Turns parser events into units: the text of each `seg` by its language code, in lower case."""

    def __init__(self) -> None:
        self.units: list[dict[str, str]] = []
        self._unit: dict[str, str] = {}
        self._language = ""
        self._segment: list[str] | None = None
        self._native_depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "tu":
            self._unit = {}
        elif tag == "tuv":
            self._language = (attributes.get("xml:lang") or attributes.get("lang", "")).lower().replace("_", "-")
        elif tag == "seg":
            self._segment = []
        elif tag in _NATIVE_CODE_TAGS:
            self._native_depth += 1

    def end(self, tag: str) -> None:
        if tag == "seg" and self._segment is not None:
            self._unit.setdefault(self._language, "".join(self._segment))
            self._segment = None
        elif tag == "tu":
            self.units.append(self._unit)
        elif tag in _NATIVE_CODE_TAGS:
            self._native_depth -= 1

    def text(self, characters: str) -> None:
        if self._segment is not None and not self._native_depth:
            self._segment.append(characters)

    def take(self) -> list[dict[str, str]]:
        units, self.units = self.units, []
        return units


def read_units(path: Path) -> Iterator[dict[str, str]]:
    """Yields each unit's text by language code (lower case, `-` between its parts); the first variant of a code wins.

    Raises:
        DataError: the file cannot be read, has an unknown encoding, is no well-formed XML, or declares an entity (which
            could expand without end, or read other files).
    """

    def refuse_entity(name: str, *_: object) -> None:
        raise DataError(f"{path}: declares the entity {name!r}; entity declarations are not accepted")

    collector = _UnitCollector()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    parser.EntityDeclHandler = refuse_entity
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                parser.Parse(data, False)
                yield from collector.take()
            parser.Parse(b"", True)
            yield from collector.take()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except expat.ExpatError as error:
        raise DataError(f"{path}: is no well-formed XML: {error}") from error
    except (LookupError, ValueError) as error:  # what expat raises about the encoding that the file declares
        raise DataError(f"{path}: has an encoding that cannot be read; convert it to UTF-8 ({error})") from error


def find_language(unit: dict[str, str], language: str) -> str | None:
    """Returns the unit's text in a language: of the very code, or of the first code that it begins (`en`, `en-us`)."""
    wanted = language.lower().replace("_", "-")
    if wanted in unit:
        return unit[wanted]
    return next((text for code, text in unit.items() if code.startswith(f"{wanted}-")), None)
