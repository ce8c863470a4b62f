// Draws the two forms as SVG, by the layouts of geometry.js. Text reaches the document through textContent only.

import { nameOf } from "./alignment-parts.js";
import { graphemes } from "./code-points.js";
import { make } from "./elements.js";
import { heatOpacity, layOutMatrix, layOutText, MATRIX_FORM, TEXT_FORM } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";
const FONT_SIZE = { text: 17, matrix: 13 };
const BASELINE = 0.35; // of the font size below a line's middle
const SHADES = 50; // more than the eye tells apart
const DECIMALS = 2; // of lengths

let canvas = null;

function measurer(size, family) {
  canvas ??= document.createElement("canvas").getContext("2d");
  canvas.font = `${size}px ${family}`;
  return (text) => canvas.measureText(text).width;
}

/** An element of SVG; numbers are rounded. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, typeof value === "number" ? Number(value.toFixed(DECIMALS)) : value);
  }
  made.append(...children);
  return made;
}

/** Text that keeps the width it was measured with: exported, it meets unknown fonts. */
function writing(text, width, attributes) {
  return svg("text", { textLength: width, lengthAdjust: "spacingAndGlyphs", ...attributes }, text);
}

function root(layout, kind, family, label) {
  const [width, height] = [layout.width, layout.height].map(Math.ceil);
  return svg("svg", {
    class: kind,
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    "font-family": family,
    "font-size": FONT_SIZE[kind],
    ...label,
  });
}

/** Draws the text form of a part (see `readParts`): `.unit`s, `data-source` or `data-target`, and `.curve`s. */
export function drawText(part, family) {
  const measure = measurer(FONT_SIZE.text, family);
  const side = ({ units, rightToLeft }) => ({
    units: units.map(({ text, joined }) => ({ width: measure(text), joined })),
    rightToLeft,
  });
  const layout = layOutText(side(part.source), side(part.target), part.links);
  const drawing = root(layout, "text", family, { role: "group", "aria-label": "Words and their links" });
  for (const { source, target, path, strokeWidth } of layout.curves) {
    const ends = { "data-source": source, "data-target": target };
    drawing.append(svg("path", { class: "curve", ...ends, d: path, "stroke-width": strokeWidth }));
  }
  for (const name of ["source", "target"]) {
    const units = part[name].units.map((_, index) => drawUnit(part, name, index, layout[name][index]));
    drawing.append(svg("g", { class: `line ${name}` }, ...units));
  }
  return drawing;
}

function drawUnit(part, side, index, { x, y, width, height, middle }) {
  const unit = part[side].units[index];
  const made = svg("g", {
    class: unit.special ? "unit special" : "unit",
    role: "button",
    tabindex: -1,
    [`data-${side}`]: index,
    "aria-label": nameOf(part, side, index),
  });
  made.append(svg("rect", { class: "box", x, y, width, height, rx: 5 }));
  if (side === "target" && unit.logProb !== null) {
    const doubt = 1 - Math.exp(unit.logProb);
    const shade = { x: x + 3, y: y + height - 4, width: width - 6, height: 4, rx: 2 };
    made.append(svg("rect", { class: "doubt", ...shade, "fill-opacity": doubt }));
  }
  const place = { x: middle, y: y + height / 2 + BASELINE * FONT_SIZE.text, "text-anchor": "middle" };
  made.append(writing(unit.text, width - 2 * TEXT_FORM.unitPadding, place));
  return made;
}

/** Draws the matrix form of a part that has weights; the layout tells which cell is at a point. */
export function drawMatrix(part, family) {
  const measure = measurer(FONT_SIZE.matrix, family);
  const label = (unit) => shorten(unit.text, measure);
  const [columns, rows] = [part.source.units.map(label), part.target.units.slice(0, part.weights.length).map(label)];
  const widths = [columns, rows].map((labels) => labels.map(({ width }) => width));
  const layout = layOutMatrix(...widths, part.source.rightToLeft);
  const drawing = root(layout, "matrix", family, { "aria-hidden": "true" });
  drawing.append(drawCells(part.weights, layout), drawGrid(layout), ...drawLabels(columns, rows, layout));
  return { drawing, layout };
}

/** One path for all cells of a shade: thousands of elements would be slow. */
function drawCells(weights, layout) {
  const { cell } = MATRIX_FORM;
  const shades = new Map();
  weights.forEach((row, target) =>
    row.forEach((weight, source) => {
      const shade = Math.round(SHADES * heatOpacity(weight));
      if (shade === 0) return;
      const corner = `${layout.columns[source].toFixed(2)} ${layout.rows[target].toFixed(2)}`;
      const square = `M${corner}h${cell}v${cell}h-${cell}z`;
      shades.set(shade, (shades.get(shade) ?? "") + square);
    }),
  );
  const paths = Array.from(shades, ([shade, d]) => svg("path", { class: "cell", d, "fill-opacity": shade / SHADES }));
  return svg("g", { class: "cells" }, ...paths);
}

function drawGrid(layout) {
  const [left, right, top, bottom] = ["left", "right", "top", "bottom"].map((side) => layout[side].toFixed(DECIMALS));
  const across = [...layout.rows, layout.bottom].map((y) => `M${left} ${y.toFixed(DECIMALS)}H${right}`);
  const down = [...layout.columns, layout.right].map((x) => `M${x.toFixed(DECIMALS)} ${top}V${bottom}`);
  return svg("path", { class: "grid", d: [...across, ...down].join("") });
}

/** Which colour means which weight, in the corner. */
function drawLegend({ legend: { x, y } }) {
  const { weights, swatch, gap } = MATRIX_FORM.legend;
  const [width, height] = [weights.length * swatch, swatch];
  const squares = weights.map((weight, index) => {
    const place = { x: x + index * swatch, y, width: swatch, height };
    return svg("rect", { class: "cell", ...place, "fill-opacity": heatOpacity(weight) });
  });
  const baseline = y + height / 2 + BASELINE * FONT_SIZE.matrix;
  return svg(
    "g",
    { class: "legend" },
    svg("title", {}, "Weight"),
    ...squares,
    svg("rect", { class: "scale", x, y, width, height }),
    svg("text", { x: x - gap, y: baseline, "text-anchor": "end" }, "0"),
    svg("text", { x: x + width + gap, y: baseline }, "1"),
  );
}

function drawLabels(columns, rows, layout) {
  const { cell, labelGap, slant } = MATRIX_FORM;
  const lower = BASELINE * FONT_SIZE.matrix;
  const label = (side, index, { text, width }, attributes) =>
    writing(text, width, { class: "label", [`data-${side}`]: index, ...attributes });
  const above = columns.map((column, index) => {
    const [x, y] = [layout.columns[index] + cell / 2 + lower, layout.top - labelGap];
    const transform = `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(-${slant})`;
    return label("source", index, column, { transform });
  });
  const beside = rows.map((row, index) => {
    const y = layout.rows[index] + cell / 2 + lower;
    return label("target", index, row, { x: layout.left - labelGap, y, "text-anchor": "end" });
  });
  const area = (width, height, labels) =>
    svg("g", { class: "labels" }, svg("rect", { class: "backdrop", width, height }), ...labels);
  const { left, top, width, height } = layout;
  return [area(left - 1, height, beside), area(width, top - 1, above), area(left - 1, top - 1, [drawLegend(layout)])];
}

/** Keeps labels in sight when a matrix is scrolled so far. */
export function stick(drawing, x = 0, y = 0) {
  const [beside, above, corner] = drawing.querySelectorAll(".labels");
  beside?.setAttribute("transform", `translate(${x} 0)`);
  above?.setAttribute("transform", `translate(0 ${y})`);
  corner?.setAttribute("transform", `translate(${x} ${y})`);
}

/** A label, cut where too long, and its width. */
function shorten(whole, measure) {
  let [text, width] = [whole, measure(whole)];
  const characters = width > MATRIX_FORM.longestLabel ? graphemes(whole) : [];
  while (characters.length > 1 && width > MATRIX_FORM.longestLabel) {
    characters.pop();
    text = `${characters.join("")}…`;
    width = measure(text);
  }
  return { text, width };
}

/** Bands over a row and a column, and a frame around a cell; each may be missing. */
export function drawMarks(layout, { source, target }) {
  const { cell } = MATRIX_FORM;
  const { left, right, top, bottom, columns, rows } = layout;
  const marks = svg("g", { class: "marks" });
  const band = (x, y, width, height, kind = "band") => marks.append(svg("rect", { class: kind, x, y, width, height }));
  if (target in rows) band(left, rows[target], right - left, cell);
  if (source in columns) band(columns[source], top, cell, bottom - top);
  if (source in columns && target in rows) band(columns[source], rows[target], cell, cell, "frame");
  return marks;
}

/** A table that says the same as a matrix drawing, for those who hear it. */
export function makeTable(part, caption) {
  const heading = (scope, { text }) => make("th", { scope, textContent: text });
  const columns = part.source.units.map((unit) => heading("col", unit));
  const rows = part.weights.map((weights, index) => {
    const row = make("tr", {}, heading("row", part.target.units[index]));
    for (const weight of weights) row.insertCell().textContent = weight;
    return row;
  });
  const head = make("thead", {}, make("tr", {}, make("td"), ...columns));
  return make("table", {}, make("caption", { textContent: caption }), head, make("tbody", {}, ...rows));
}
