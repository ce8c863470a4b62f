// Draws the two forms as SVG, by the layouts of geometry.js. Text reaches the document through textContent only.

import { nameOf } from "./alignment-parts.js";
import { graphemes } from "./code-points.js";
import { heatOpacity, isRightToLeft, layOutMatrix, layOutText, MATRIX_FORM } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";
const FONT_SIZE = { text: 17, matrix: 13 };
const BASELINE = 0.35; // of the font size below a line's middle
const SHADES = 50; // more than the eye tells apart

let canvas = null;

function measurer(size, family) {
  canvas ??= document.createElement("canvas").getContext("2d");
  canvas.font = `${size}px ${family}`;
  const context = canvas;
  return (text) => context.measureText(text).width;
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function root(layout, kind, family, label) {
  const { width, height } = layout;
  return svg("svg", {
    class: kind,
    width: Math.ceil(width),
    height: Math.ceil(height),
    viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`,
    "font-family": family,
    "font-size": FONT_SIZE[kind],
    ...label,
  });
}

/** Draws the text form of a part (see `readParts`): `.unit`s, `data-source` or `data-target`, and `.curve`s. */
export function drawText(part, family) {
  const measure = measurer(FONT_SIZE.text, family);
  const side = ({ units, text }) => ({
    units: units.map((unit) => ({ width: measure(unit.text), joined: unit.joined })),
    rightToLeft: isRightToLeft(text),
  });
  const layout = layOutText(side(part.source), side(part.target), part.links);
  const drawing = root(layout, "text", family, { role: "group", "aria-label": "Words and their links" });
  for (const { source, target, path, strokeWidth } of layout.curves) {
    const curve = svg("path", { class: "curve", d: path, "stroke-width": strokeWidth });
    Object.assign(curve.dataset, { source, target });
    drawing.append(curve);
  }
  for (const name of ["source", "target"]) {
    const line = svg("g", { class: `line ${name}` });
    part[name].units.forEach((unit, index) => {
      const drawn = drawUnit(unit, layout[name][index], name, index);
      drawn.setAttribute("aria-label", nameOf(part, name, index));
      line.append(drawn);
    });
    drawing.append(line);
  }
  return drawing;
}

function drawUnit(unit, box, side, index) {
  const { x, y, width, height, middle } = box;
  const made = svg("g", { class: unit.special ? "unit special" : "unit", role: "button", tabindex: -1 });
  made.dataset[side] = index;
  made.append(svg("rect", { class: "box", x, y, width, height, rx: 5 }));
  if (side === "target" && unit.logProb !== null) {
    const doubt = 1 - Math.exp(unit.logProb);
    const shade = { x: x + 3, y: y + height - 4, width: width - 6, height: 4, rx: 2 };
    made.append(svg("rect", { class: "doubt", ...shade, "fill-opacity": doubt.toFixed(3) }));
  }
  const text = svg("text", { x: middle, y: y + height / 2 + BASELINE * FONT_SIZE.text, "text-anchor": "middle" });
  text.textContent = unit.text;
  made.append(text);
  return made;
}

/** Draws the matrix form of a part that has weights; the layout tells which cell is at a point. */
export function drawMatrix(part, family) {
  const measure = measurer(FONT_SIZE.matrix, family);
  const label = (unit) => shorten(unit.text, measure);
  const [columns, rows] = [part.source.units.map(label), part.target.units.slice(0, part.weights.length).map(label)];
  const rightToLeft = isRightToLeft(part.source.text);
  const layout = layOutMatrix(columns.map(measure), rows.map(measure), rightToLeft);
  const drawing = root(layout, "matrix", family, { "aria-hidden": "true" });
  drawing.append(drawCells(part.weights, layout), drawGrid(layout), ...drawLabels(columns, rows, layout));
  return { drawing, layout };
}

/** One path for all cells of a shade: thousands of elements would take longer than the eye forgives. */
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

function drawGrid({ left, right, top, bottom, columns, rows }) {
  const across = [...rows, bottom].map((y) => `M${left} ${y.toFixed(2)}H${right}`);
  const down = [...columns.toSorted((a, b) => a - b), right].map((x) => `M${x} ${top.toFixed(2)}V${bottom.toFixed(2)}`);
  return svg("path", { class: "grid", d: [...across, ...down].join("") });
}

function drawLabels(columns, rows, layout) {
  const { cell, labelGap, slant } = MATRIX_FORM;
  const lower = BASELINE * FONT_SIZE.matrix;
  const label = (side, index, textContent, attributes) => {
    const made = Object.assign(svg("text", { class: "label", ...attributes }), { textContent });
    made.dataset[side] = index;
    return made;
  };
  const above = columns.map((text, index) => {
    const [x, y] = [layout.columns[index] + cell / 2 + lower, layout.top - labelGap];
    const transform = `translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(-${slant})`;
    return label("source", index, text, { transform });
  });
  const beside = rows.map((text, index) => {
    const y = layout.rows[index] + cell / 2 + lower;
    return label("target", index, text, { x: layout.left - labelGap, y, "text-anchor": "end" });
  });
  const area = (width, height, labels) =>
    svg("g", { class: "labels" }, svg("rect", { class: "backdrop", width, height }), ...labels);
  const { left, top, width, height } = layout;
  return [area(left - 1, height, beside), area(width, top - 1, above), area(left - 1, top - 1, [])];
}

/** Keeps labels in sight when a matrix is scrolled so far. */
export function stick(drawing, x = 0, y = 0) {
  const [beside, above, corner] = drawing.querySelectorAll(".labels");
  beside?.setAttribute("transform", `translate(${x} 0)`);
  above?.setAttribute("transform", `translate(0 ${y})`);
  corner?.setAttribute("transform", `translate(${x} ${y})`);
}

function shorten(text, measure) {
  if (measure(text) <= MATRIX_FORM.longestLabel) return text;
  const characters = graphemes(text);
  while (characters.length > 1 && measure(`${characters.join("")}…`) > MATRIX_FORM.longestLabel) characters.pop();
  return `${characters.join("")}…`;
}

/** Bands over a row and a column, and a frame around a cell; each may be missing. */
export function drawMarks(layout, { source, target }) {
  const { cell } = MATRIX_FORM;
  const { left, right, top, bottom, columns, rows } = layout;
  const marks = svg("g", { class: "marks" });
  const band = (x, y, width, height, kind = "band") => marks.append(svg("rect", { class: kind, x, y, width, height }));
  if (target !== undefined && target in rows) band(left, rows[target], right - left, cell);
  if (source !== undefined && source in columns) band(columns[source], top, cell, bottom - top);
  if (source in columns && target in rows) band(columns[source], rows[target], cell, cell, "frame");
  return marks;
}

/** Makes the table that says the same as a matrix drawing, for those who hear it. */
export function makeTable(part, caption) {
  const table = document.createElement("table");
  table.createCaption().textContent = caption;
  const heading = (row, scope, text) => {
    const cell = document.createElement("th");
    cell.scope = scope;
    cell.textContent = text;
    row.append(cell);
  };
  const head = table.createTHead().insertRow();
  head.insertCell();
  for (const unit of part.source.units) heading(head, "col", unit.text);
  const body = table.createTBody();
  part.weights.forEach((weights, index) => {
    const row = body.insertRow();
    heading(row, "row", part.target.units[index].text);
    for (const weight of weights) row.insertCell().textContent = String(weight);
  });
  return table;
}
