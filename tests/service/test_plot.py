"""Drawing without a browser; `tests/browser/test_plot.py` compares with what the page draws."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from service.api.pages import UI_DIRECTORY
from service.plot import drawing, geometry
from service.plot.drawing import Form, plot
from service.plot.geometry import MATRIX_FORM, TEXT_FORM, fixed, lay_out_matrix
from service.plot.parts import LEAST_TOKEN_LINK, Granularity
from service.plot.text_width import estimate_width

SVG = "{http://www.w3.org/2000/svg}"


def script(name: str) -> str:
    return Path(UI_DIRECTORY, name).read_text(encoding="utf-8")


def side(*words: str) -> dict[str, Any]:
    units, position = [], 0
    for word in words:
        units.append({"text": word, "start": position, "end": position + len(word)})
        position += len(word) + 1
    end = {"text": "</s>", "start": position - 1, "end": position - 1, "special": True}
    return {"words": units, "tokens": [*({**unit, "special": False} for unit in units), end]}


def drawn(
    source: dict[str, Any],
    target: dict[str, Any],
    links: Sequence[tuple[int, int]] = (),
    form: Form = "both",
    granularity: Granularity = "words",
) -> Element:
    """A pair drawn with texts as wide as half their font size for every character."""
    counts = [len(target["words"]), len(source["words"])]
    words = [[float((column, row) in links) for column in range(counts[1])] for row in range(counts[0])]
    tokens = [[*row, 0.05] for row in words] + [[0.0] * counts[1] + [0.95]]
    alignment = {
        "words": words,
        "tokens": tokens,
        "links": [{"source": source, "target": target, "weight": 0.5} for source, target in links],
    }
    place = [{"words": [0, len(each["words"])], "tokens": [0, len(each["tokens"])]} for each in (source, target)]
    sentences = [{"source": place[0], "target": place[1], "alignment": None}]
    hypothesis = {**target, "alignment": alignment, "sentences": sentences}
    return ElementTree.fromstring(plot(source, hypothesis, form, granularity, lambda text, size: len(text) * size / 2))


@pytest.mark.parametrize(("name", "form"), [("TEXT_FORM", TEXT_FORM), ("MATRIX_FORM", MATRIX_FORM)])
def test_measures_are_those_of_the_page(name: str, form: Any) -> None:
    [block] = re.findall(rf"export const {name} = (\{{.*?\n\}});", script("geometry.js"), re.DOTALL)
    values = json.loads(re.sub(r",(\s*\})", r"\1", re.sub(r"(\w+):", r'"\1":', re.sub(r"//.*", "", block))))
    ours = dataclasses.asdict(form)
    assert values == {re.sub("_(.)", lambda found: found[1].upper(), key): spread(value) for key, value in ours.items()}


def spread(value: Any) -> Any:
    return (
        {key: spread(each) for key, each in value.items()}
        if isinstance(value, dict)
        else (list(value) if isinstance(value, tuple) else value)
    )


def test_colours_and_other_numbers_are_those_of_the_page() -> None:
    style, code = script("alignment-style.js"), script("drawing.js")
    for name in ("text", "muted", "line", "surface", "heat", "link"):
        [light] = re.findall(rf"--alignment-{name}, light-dark\((#\w+),", style)
        assert getattr(drawing, f"{name.upper()}_COLOUR") == light
    assert f"stroke-opacity: {drawing.LINK_OPACITY}; }}" in style
    assert f"--alignment-font, {drawing.FONT_FAMILY})" in style
    sizes = f"{{ text: {drawing.TEXT_FONT_SIZE}, matrix: {drawing.MATRIX_FONT_SIZE} }}"
    for line in (
        f"FONT_SIZE = {sizes}",
        *(f"{n} = {getattr(drawing, n)};" for n in ("BASELINE", "SHADES", "DECIMALS")),
    ):
        assert f"const {line}" in code
    assert f"const GAP = {drawing.GAP};" in script("svg-export.js")
    assert f"const HEAT_EXPONENT = {geometry.HEAT_EXPONENT};" in script("geometry.js")
    assert f"const LEAST_TOKEN_LINK = {LEAST_TOKEN_LINK};" in script("alignment-data.js")


def test_words_stand_in_their_places() -> None:
    root = drawn(side("ab", "cd"), side("abcd"), [(1, 0)], form="text")
    texts = {text.text: text for text in root.iter(f"{SVG}text")}
    # Two characters are 17 wide, with padding 23; the second box begins at 10 + 23 + 8 and has its middle at 52.5.
    assert [texts[word].get("x") for word in ("ab", "cd", "abcd")] == ["21.5", "52.5", "30"]
    assert texts["abcd"].get("textLength") == "34"
    [curve] = root.iter(f"{SVG}path")
    assert curve.get("d") == "M52.5 40C52.5 84 30.0 84 30.0 128"
    assert curve.get("stroke-width") == "3"  # half way from 1 to 5
    assert (root.get("width"), root.get("height")) == ("74", "168")


def test_lines_and_columns_run_from_the_right_where_they_are_read_so() -> None:
    root = drawn(side("שלום", "עולם"), side("a", "b", "c"), [(0, 0)], form="text")
    groups = list(root.iter(f"{SVG}g"))
    first, second = (float(text.get("x", "")) for group in groups[:3] for text in group.findall(f"{SVG}text"))
    assert first > second
    layout = lay_out_matrix([8.0, 8.0, 8.0], [8.0], right_to_left=True)
    assert layout.columns == (layout.left + 52, layout.left + 26, layout.left)


def test_a_matrix_has_a_square_for_each_weight_that_is_seen() -> None:
    root = drawn(side("a", "b"), side("c", "d"), [(0, 1), (1, 1)], form="matrix")
    cells = [path for path in root.iter(f"{SVG}path") if path.get("fill") == drawing.HEAT_COLOUR]
    assert [path.get("fill-opacity") for path in cells] == ["1"]
    assert cells[0].get("d", "").count("M") == 2
    assert [text.text for text in root.iter(f"{SVG}text")] == ["c", "d", "a", "b", "0", "1"]


def test_tokens_have_curves_where_weights_are_strong() -> None:
    root = drawn(side("a"), side("b"), [(0, 0)], form="text", granularity="tokens")
    assert [text.text for text in root.iter(f"{SVG}text")] == ["a", "⏎", "b", "⏎"]
    assert len(list(root.iter(f"{SVG}path"))) == 2


def test_hostile_text_stays_text() -> None:
    hostile = ["<script>", "\"'&amp;", "]]>", "\x01\x0b", "\ud800", "\ufffe"]
    root = drawn(side(*hostile), side("</svg>"), [(0, 0)])
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {"svg", "g", "rect", "path", "text", "title"}
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[:7] == ["<script>", "\"'&amp;", "]]>", "\ufffd\ufffd", "\ufffd", "\ufffd", "</svg>"]


def test_nothing_gives_an_empty_picture() -> None:
    assert drawn(side(), side(), form="matrix").get("width") == "0"


def test_numbers_are_rounded_as_browsers_round() -> None:
    assert [fixed(value, 1) for value in (0.25, 0.35, 10, 12.25)] == ["0.3", "0.3", "10.0", "12.3"]


def test_widths_are_estimated_by_what_people_see() -> None:
    assert estimate_width("é", 10) == estimate_width("e\u0301", 10) == estimate_width("e", 10)
    assert estimate_width("👩‍👩‍👧", 10) == estimate_width("😀", 10) > estimate_width("m", 10)
    assert estimate_width("ab", 10) == pytest.approx(estimate_width("a", 10) + estimate_width("b", 10))
    assert estimate_width("日", 10) == 10
    assert estimate_width("\u200b", 10) == 0
