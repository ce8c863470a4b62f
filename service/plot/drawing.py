"""Draws the forms as one SVG document: what the page gives for download (`service/ui/drawing.js`, `svg-export.js`).

Its colours are the defaults of `service/ui/alignment-style.js`, those of light pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import regex

from service.plot.geometry import (
    MATRIX_FORM,
    TEXT_FORM,
    Box,
    MatrixLayout,
    MeasuredLine,
    fixed,
    heat_opacity,
    lay_out_matrix,
    lay_out_text,
)
from service.plot.parts import Granularity, Json, Part, Side, Unit, read_parts
from service.plot.text_width import characters, estimate_width

Form: TypeAlias = Literal["text", "matrix", "both"]
Measure: TypeAlias = Callable[[str, float], float]
"""The width of a text, in pixels, at a font size in pixels."""
Attributes: TypeAlias = Mapping[str, object]
"""Of an element: numbers, which are rounded, and texts."""

TEXT_COLOUR: Final = "#1c2326"
MUTED_COLOUR: Final = "#5b666b"
LINE_COLOUR: Final = "#d7dcdb"
SURFACE_COLOUR: Final = "#ffffff"
HEAT_COLOUR: Final = "#084594"
LINK_COLOUR: Final = "#3a78b5"
LINK_OPACITY: Final = 0.75

FONT_FAMILY: Final = "system-ui, sans-serif"
TEXT_FONT_SIZE: Final = 17
MATRIX_FONT_SIZE: Final = 13
BASELINE: Final = 0.35  # of the font size below a line's middle
SHADES: Final = 50  # more than the eye tells apart
DECIMALS: Final = 2  # of lengths
GAP: Final = 12  # between drawings that stand below each other

_NOT_IN_XML: Final = regex.compile(r"[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A drawing and its size."""

    root: Element
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Label:
    """A text of the matrix, cut where it is too long, and its width."""

    text: str
    width: float


def plot(
    source: Json, hypothesis: Json, form: Form, granularity: Granularity, measure: Measure = estimate_width
) -> str:
    """Draws a hypothesis with its alignment as an SVG document, its sentences below each other.

    Every text is given the width that was measured (`textLength`), so that words stay in their places whatever font the
    document is seen with.

    Args:
        source: as the API gives a source.
        hypothesis: as the API gives a hypothesis of it, or the target of a pair.
        form: what to draw; there is no matrix where the alignment has none.
        granularity: of what.
        measure: tells how wide texts are.
    """
    drawings: list[_Drawing] = []
    for part in read_parts(source, hypothesis, granularity):
        if form != "matrix":
            drawings.append(_draw_text(part, measure))
        if form != "text" and part.weights:
            drawings.append(_draw_matrix(part, part.weights, measure))
    return ElementTree.tostring(_below_each_other(drawings), encoding="unicode") + "\n"


def _below_each_other(drawings: Sequence[_Drawing]) -> Element:
    width = max((drawing.width for drawing in drawings), default=0)
    height = max(0, sum(drawing.height + GAP for drawing in drawings) - GAP)
    size = {"width": width, "height": height}
    whole = _element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "viewBox": f"0 0 {width} {height}"})
    whole.append(_element("rect", {**size, "fill": SURFACE_COLOUR}))
    y = 0
    for drawing in drawings:
        drawing.root.set("x", _number((width - drawing.width) / 2))
        drawing.root.set("y", _number(y))
        whole.append(drawing.root)
        y += drawing.height + GAP
    return whole


def _draw_text(part: Part, measure: Measure) -> _Drawing:
    layout = lay_out_text(_measured(part.source, measure), _measured(part.target, measure), part.links)
    drawing = _drawing(layout.width, layout.height, TEXT_FONT_SIZE)
    look = {"fill": "none", "stroke": LINK_COLOUR, "stroke-opacity": LINK_OPACITY}
    for curve in layout.curves:
        ends = {"data-source": curve.link.source, "data-target": curve.link.target}
        drawing.root.append(_element("path", {**ends, "d": curve.path, **look, "stroke-width": curve.stroke_width}))
    for name, side, boxes in (("source", part.source, layout.source), ("target", part.target, layout.target)):
        units = zip(side.units, boxes, strict=True)
        drawn = (_draw_unit(unit, box, {f"data-{name}": index}) for index, (unit, box) in enumerate(units))
        drawing.root.append(_element("g", {}, *drawn))
    return drawing


def _measured(side: Side, measure: Measure) -> MeasuredLine:
    widths = [measure(unit.text, TEXT_FONT_SIZE) for unit in side.units]
    return MeasuredLine(widths, [unit.joined for unit in side.units], side.right_to_left)


def _draw_unit(unit: Unit, box: Box, name: Attributes) -> Element:
    baseline = box.y + TEXT_FORM.unit_height / 2 + BASELINE * TEXT_FONT_SIZE
    place = {"x": box.middle, "y": baseline, "text-anchor": "middle"}
    colour = MUTED_COLOUR if unit.special else TEXT_COLOUR
    label = _Label(unit.text, box.width - 2 * TEXT_FORM.unit_padding)
    return _element("g", name, _writing(label, {**place, "fill": colour}))


def _draw_matrix(part: Part, weights: Sequence[Sequence[float]], measure: Measure) -> _Drawing:
    columns, rows = ([_shorten(unit.text, measure) for unit in side.units] for side in (part.source, part.target))
    column_widths, row_widths = ([label.width for label in labels] for labels in (columns, rows))
    layout = lay_out_matrix(column_widths, row_widths, part.source.right_to_left)
    drawing = _drawing(layout.width, layout.height, MATRIX_FONT_SIZE)
    drawing.root.append(_draw_cells(weights, layout))
    drawing.root.append(_element("path", {"d": _grid(layout), "fill": "none", "stroke": LINE_COLOUR}))
    drawing.root.append(_draw_row_labels(rows, layout))
    drawing.root.append(_draw_column_labels(columns, layout))
    drawing.root.append(_element("g", {}, _draw_legend(*layout.legend)))
    return drawing


def _shorten(whole: str, measure: Measure) -> _Label:
    text, width = whole, measure(whole, MATRIX_FONT_SIZE)
    left = characters(whole) if width > MATRIX_FORM.longest_label else []
    while len(left) > 1 and width > MATRIX_FORM.longest_label:
        left.pop()
        text = "".join(left) + "…"
        width = measure(text, MATRIX_FONT_SIZE)
    return _Label(text, width)


def _draw_cells(weights: Sequence[Sequence[float]], layout: MatrixLayout) -> Element:
    """One path for all cells of a shade."""
    cell = MATRIX_FORM.cell
    shades: dict[int, str] = {}
    for y, row in zip(layout.rows, weights, strict=True):
        for x, weight in zip(layout.columns, row, strict=True):
            shade = math.floor(SHADES * heat_opacity(weight) + 0.5)
            if shade:
                square = f"M{fixed(x, DECIMALS)} {fixed(y, DECIMALS)}h{cell}v{cell}h-{cell}z"
                shades[shade] = shades.get(shade, "") + square
    paths = (
        _element("path", {"d": path, "fill-opacity": shade / SHADES, "fill": HEAT_COLOUR})
        for shade, path in shades.items()
    )
    return _element("g", {}, *paths)


def _grid(layout: MatrixLayout) -> str:
    left, right, top, bottom = (
        fixed(edge, DECIMALS) for edge in (layout.left, layout.right, layout.top, layout.bottom)
    )
    across = [f"M{left} {fixed(y, DECIMALS)}H{right}" for y in (*layout.rows, layout.bottom)]
    down = [f"M{fixed(x, DECIMALS)} {top}V{bottom}" for x in (*layout.columns, layout.right)]
    return "".join(across + down)


def _draw_row_labels(rows: Sequence[_Label], layout: MatrixLayout) -> Element:
    lower = MATRIX_FORM.cell / 2 + BASELINE * MATRIX_FONT_SIZE
    place = {"x": layout.left - MATRIX_FORM.label_gap, "text-anchor": "end", "fill": TEXT_COLOUR}
    labels = (
        _writing(row, {"data-target": index, **place, "y": y + lower})
        for index, (row, y) in enumerate(zip(rows, layout.rows, strict=True))
    )
    return _element("g", {}, *labels)


def _draw_column_labels(columns: Sequence[_Label], layout: MatrixLayout) -> Element:
    lower = MATRIX_FORM.cell / 2 + BASELINE * MATRIX_FONT_SIZE
    y = fixed(layout.top - MATRIX_FORM.label_gap, 1)
    labels = []
    for index, (column, x) in enumerate(zip(columns, layout.columns, strict=True)):
        transform = f"translate({fixed(x + lower, 1)} {y}) rotate(-{MATRIX_FORM.slant})"
        labels.append(_writing(column, {"data-source": index, "transform": transform, "fill": TEXT_COLOUR}))
    return _element("g", {}, *labels)


def _draw_legend(x: float, y: float) -> Element:
    legend = MATRIX_FORM.legend
    size = legend.swatch
    width = len(legend.weights) * size
    title = _element("title", {})
    title.text = "Weight"
    squares = []
    for index, weight in enumerate(legend.weights):
        place = {"x": x + index * size, "y": y, "width": size, "height": size}
        squares.append(_element("rect", {**place, "fill": HEAT_COLOUR, "fill-opacity": heat_opacity(weight)}))
    frame = {"x": x, "y": y, "width": width, "height": size, "fill": "none", "stroke": LINE_COLOUR}
    writing = {"y": y + size / 2 + BASELINE * MATRIX_FONT_SIZE, "fill": MUTED_COLOUR}
    none = _element("text", {"x": x - legend.gap, **writing, "text-anchor": "end"})
    all_ = _element("text", {"x": x + width + legend.gap, **writing})
    none.text, all_.text = "0", "1"
    return _element("g", {}, title, *squares, _element("rect", frame), none, all_)


def _drawing(width: float, height: float, font_size: int) -> _Drawing:
    whole = math.ceil(width), math.ceil(height)
    size = {"width": whole[0], "height": whole[1], "viewBox": f"0 0 {whole[0]} {whole[1]}"}
    return _Drawing(_element("svg", {**size, "font-family": FONT_FAMILY, "font-size": font_size}), *whole)


def _writing(label: _Label, attributes: Attributes) -> Element:
    """Text that keeps the width it was measured with."""
    made = _element("text", {"textLength": label.width, "lengthAdjust": "spacingAndGlyphs", **attributes})
    made.text = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", label.text)
    return made


def _element(name: str, attributes: Attributes, *children: Element) -> Element:
    written = {
        key: _number(value) if isinstance(value, int | float) else str(value) for key, value in attributes.items()
    }
    made = Element(name, written)
    made.extend(children)
    return made


def _number(value: float) -> str:
    """A rounded number, as short as it can be written."""
    text = fixed(value, DECIMALS).rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
