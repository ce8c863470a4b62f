"""Where everything in a drawing stands: the rules and the numbers of `service/ui/geometry.js`.

Lengths are CSS pixels, x grows to the right and y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from service.plot.parts import PartLink


@dataclass(frozen=True, slots=True)
class TextForm:
    """Measures of the text form; `service/ui/geometry.js` says what each is."""

    margin: int = 10
    unit_height: int = 30
    unit_padding: int = 3
    space: int = 8
    joint: int = 1
    rise: int = 88
    thinnest: int = 1
    thickest: int = 5


@dataclass(frozen=True, slots=True)
class Legend:
    """Measures of the matrix's legend: squares between a 0 and a 1."""

    weights: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1)
    swatch: int = 10
    figure: int = 11
    gap: int = 3


@dataclass(frozen=True, slots=True)
class MatrixForm:
    """Measures of the matrix form; `slant` in degrees."""

    cell: int = 26
    label_gap: int = 7
    margin: int = 10
    longest_label: int = 130
    slant: int = 55
    line_height: int = 18
    legend: Legend = Legend()


TEXT_FORM: Final = TextForm()
MATRIX_FORM: Final = MatrixForm()
HEAT_EXPONENT: Final = 0.75


@dataclass(frozen=True, slots=True)
class Box:
    """Where a unit stands."""

    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        """Half way between its left and its right edge."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Curve:
    """Where a link is drawn."""

    link: PartLink
    path: str
    stroke_width: float


@dataclass(frozen=True, slots=True)
class MeasuredLine:
    """One side before it is laid out: widths of the units' texts, and which follow without white space."""

    widths: Sequence[float]
    joined: Sequence[bool]
    right_to_left: bool


@dataclass(frozen=True, slots=True)
class TextLayout:
    """The text form."""

    width: float
    height: float
    source: tuple[Box, ...]
    target: tuple[Box, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class MatrixLayout:
    """The matrix form: the cells' edges, and the left edge of each column and the upper edge of each row."""

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    legend: tuple[float, float]


def fixed(value: float, decimals: int) -> str:
    """A number as JavaScript's `toFixed` writes it."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


def heat_opacity(weight: float) -> float:
    """Opacity of a cell's colour: 0 for nothing, 1 for a weight of 1."""
    return float(weight**HEAT_EXPONENT)


def lay_out_text(source: MeasuredLine, target: MeasuredLine, links: Sequence[PartLink]) -> TextLayout:
    """Lays out the text form: the source's line over the target's.

    A line that is read from right to left begins at the right edge of the drawing.
    """
    form = TEXT_FORM
    lines = [_place_in_line(source), _place_in_line(target)]
    inner = max(width for _, width in lines)
    above, below = (
        tuple(
            Box(
                form.margin + (inner - x - width if side.right_to_left else x),
                form.margin + row * (form.unit_height + form.rise),
                width,
            )
            for x, width in boxes
        )
        for row, (side, (boxes, _)) in enumerate(zip((source, target), lines, strict=True))
    )
    return TextLayout(
        width=inner + 2 * form.margin,
        height=2 * (form.margin + form.unit_height) + form.rise,
        source=above,
        target=below,
        curves=tuple(_curve(link, above[link.source], below[link.target]) for link in links),
    )


def _place_in_line(line: MeasuredLine) -> tuple[list[tuple[float, float]], float]:
    """Left edges and widths of one line's boxes in reading order, and the width of all."""
    form = TEXT_FORM
    x = 0.0
    boxes: list[tuple[float, float]] = []
    for index, (text_width, joined) in enumerate(zip(line.widths, line.joined, strict=True)):
        if index > 0:
            x += form.joint if joined else form.space
        width = text_width + 2 * form.unit_padding
        boxes.append((x, width))
        x += width
    return boxes, x


def _curve(link: PartLink, above: Box, below: Box) -> Curve:
    """A curve from the lower edge of one box to the upper edge of another."""
    form = TEXT_FORM
    top, bottom = above.y + form.unit_height, below.y
    middle = (top + bottom) / 2
    from_x, to_x = fixed(above.middle, 1), fixed(below.middle, 1)
    path = f"M{from_x} {top:g}C{from_x} {middle:g} {to_x} {middle:g} {to_x} {bottom:g}"
    return Curve(link, path, form.thinnest + (form.thickest - form.thinnest) * link.weight)


def lay_out_matrix(column_widths: Sequence[float], row_widths: Sequence[float], right_to_left: bool) -> MatrixLayout:
    """Lays out the matrix form.

    Args:
        column_widths: of the source units' labels.
        row_widths: of the target units' labels.
        right_to_left: whether columns begin at the right.
    """
    form, legend = MATRIX_FORM, MATRIX_FORM.legend
    angle = form.slant * math.pi / 180
    legend_width = 2 * legend.figure + len(legend.weights) * legend.swatch
    left = form.margin + max((legend_width, *row_widths)) + form.label_gap
    top = form.margin + max(column_widths, default=0) * math.sin(angle) + form.line_height / 2 + form.label_gap
    count = len(column_widths)
    places = [count - 1 - index if right_to_left else index for index in range(count)]
    columns = tuple(left + place * form.cell for place in places)
    right = left + count * form.cell
    labels_end = [
        column + (form.cell / 2 + width * math.cos(angle) + form.line_height)
        for column, width in zip(columns, column_widths, strict=True)
    ]
    bottom = top + len(row_widths) * form.cell
    return MatrixLayout(
        width=max((right, *labels_end)) + form.margin,
        height=bottom + form.margin,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        columns=columns,
        rows=tuple(top + index * form.cell for index in range(len(row_widths))),
        legend=(form.margin + legend.figure, form.margin),
    )
