// Where everything in a drawing stands: numbers from numbers. Lengths are CSS pixels, x grows to the right and y
// downwards. `service/plot` follows the same rules without a browser, with estimates of how wide texts are.

export const TEXT_FORM = {
  margin: 10, // around the drawing
  unitHeight: 30, // box of a word or token
  unitPadding: 3, // left and right of its text
  space: 8, // between boxes that have white space between them in the text
  joint: 1, // between boxes that have none
  rise: 88, // between the lower edge of the source and the upper edge of the target
  thinnest: 1, // stroke of a curve of weight 0
  thickest: 5, // of weight 1
};

export const MATRIX_FORM = {
  cell: 26,
  labelGap: 7, // between labels and cells
  margin: 10,
  longestLabel: 130, // longer ones are cut
  slant: 55, // degrees by which column labels rise
  lineHeight: 18,
  legend: { weights: [0, 0.25, 0.5, 0.75, 1], swatch: 10, figure: 11, gap: 3 }, // squares between a 0 and a 1
};

const HEAT_EXPONENT = 0.75; // lifts small weights into sight; the order of weights stays

/** Opacity of a cell's colour: 0 for nothing, 1 for a weight of 1. */
export function heatOpacity(weight) {
  return weight ** HEAT_EXPONENT;
}

/** Places one line's boxes in reading order; `joined` units follow the one before without white space. */
function placeInLine(units) {
  const { unitPadding, space, joint } = TEXT_FORM;
  let x = 0;
  const boxes = units.map(({ width, joined }, index) => {
    if (index > 0) x += joined ? joint : space;
    const box = { x, width: width + 2 * unitPadding };
    x += box.width;
    return box;
  });
  return { boxes, width: x };
}

/**
 * Lays out the text form: the source's line over the target's, each `{units: {width, joined}[], rightToLeft}`. A line
 * that is read from right to left begins at the right edge of the drawing.
 */
export function layOutText(source, target, links) {
  const { margin, unitHeight, rise, thinnest, thickest } = TEXT_FORM;
  const lines = [source, target].map(({ units }) => placeInLine(units));
  const inner = Math.max(lines[0].width, lines[1].width);
  const [above, below] = [source, target].map(({ rightToLeft }, row) => {
    const y = margin + row * (unitHeight + rise);
    return lines[row].boxes.map(({ x, width }) => {
      const left = margin + (rightToLeft ? inner - x - width : x);
      return { x: left, y, width, height: unitHeight, middle: left + width / 2 };
    });
  });
  return {
    width: inner + 2 * margin,
    height: 2 * (margin + unitHeight) + rise,
    source: above,
    target: below,
    curves: links.map((link) => ({
      ...link,
      path: curve(above[link.source], below[link.target]),
      strokeWidth: thinnest + (thickest - thinnest) * link.weight,
    })),
  };
}

/** The path of an SVG curve from the lower edge of one box to the upper edge of another. */
function curve(above, below) {
  const top = above.y + above.height;
  const middle = (top + below.y) / 2;
  const [from, to] = [above.middle, below.middle].map((x) => x.toFixed(1));
  return `M${from} ${top}C${from} ${middle} ${to} ${middle} ${to} ${below.y}`;
}

/**
 * Lays out the matrix form from the widths of its labels (at most `longestLabel`): a column for each source unit, from
 * the right where the source is read so, and a row for each target unit. The legend's squares begin in the corner.
 */
export function layOutMatrix(columnWidths, rowWidths, rightToLeft) {
  const { cell, labelGap, margin, slant, lineHeight, legend } = MATRIX_FORM;
  const legendWidth = 2 * legend.figure + legend.weights.length * legend.swatch;
  const angle = (slant * Math.PI) / 180;
  const left = margin + Math.max(legendWidth, ...rowWidths) + labelGap;
  const top = margin + Math.max(0, ...columnWidths) * Math.sin(angle) + lineHeight / 2 + labelGap;
  const columns = columnWidths.map((_, index) => {
    const place = rightToLeft ? columnWidths.length - 1 - index : index;
    return left + place * cell;
  });
  const right = left + columnWidths.length * cell;
  const reach = (width) => cell / 2 + width * Math.cos(angle) + lineHeight;
  const labelsEnd = columnWidths.map((width, index) => columns[index] + reach(width));
  const rows = rowWidths.map((_, index) => top + index * cell);
  const bottom = top + rowWidths.length * cell;
  return {
    width: Math.max(right, ...labelsEnd) + margin,
    height: bottom + margin,
    left,
    top,
    right,
    bottom,
    columns,
    rows,
    legend: { x: margin + legend.figure, y: margin },
  };
}

/** The cell at a point of a matrix, or null. */
export function cellAt(layout, x, y) {
  const { cell } = MATRIX_FORM;
  const source = layout.columns.findIndex((left) => x >= left && x < left + cell);
  const target = layout.rows.findIndex((top) => y >= top && y < top + cell);
  return source < 0 || target < 0 ? null : { source, target };
}

const RIGHT_TO_LEFT = /[\p{sc=Hebrew}\p{sc=Arabic}\p{sc=Syriac}\p{sc=Thaana}\p{sc=Nko}]/u;

/** Whether a text is read from right to left: its first letter decides. */
export function isRightToLeft(text) {
  const letter = text.match(/\p{L}/u);
  return letter !== null && RIGHT_TO_LEFT.test(letter[0]);
}
