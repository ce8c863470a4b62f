// <alignment-view>: draws one translation of the API's answer with its alignment, and lets people question it. The
// README documents its property, attributes (`selectable` only changes the pointer), events, methods and colours.

import { pickHypothesis, readParts } from "./alignment-data.js";
import { clamp, focusUnit, formBox, holds, linksAt, matrixBox, OTHER, readout } from "./alignment-parts.js";
import { alignmentStyle } from "./alignment-style.js";
import { utf16Offset } from "./code-points.js";
import { drawMarks, drawMatrix, drawText, makeTable, stick } from "./drawing.js";
import { make } from "./elements.js";
import { cellAt } from "./geometry.js";
import { exportedSvg } from "./svg-export.js";

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TABLE_DELAY_MS = 120; // tables of matrices that still grow are never heard

let style = null;

export class AlignmentView extends HTMLElement {
  static observedAttributes = ["translation", "hypothesis", "form", "granularity", "mechanism"];

  #translation = null;
  #parts = []; // {part, text, matrix, layout, cell}
  #texts = {};
  #box = make("div");
  #readout = make("p", { className: "readout", role: "status" });
  #scheduled = false;
  #tables = 0;
  #family = null;

  constructor() {
    super();
    this.attachShadow({ mode: "open" });
    style ??= alignmentStyle();
    this.shadowRoot.adoptedStyleSheets = [style];
    this.shadowRoot.append(this.#box, this.#readout);
    this.#listen();
  }

  /** What is drawn, in any shape in which the API gives a translation; null draws nothing. */
  get translation() {
    return this.#translation;
  }

  set translation(translation) {
    this.#translation = translation;
    this.#draw();
  }

  attributeChangedCallback(name, _, value) {
    if (name === "translation") {
      try {
        this.#translation = JSON.parse(value);
      } catch {
        this.#translation = null;
      }
    }
    if (this.#scheduled || !this.isConnected) return;
    this.#scheduled = true; // several attributes that change together are drawn once
    queueMicrotask(() => this.#draw());
  }

  connectedCallback() {
    this.#family = null;
    if (Object.hasOwn(this, "translation")) { // set before this module was there
      const { translation } = this;
      delete this.translation;
      this.#translation = translation;
    }
    this.#draw();
  }

  /** Lights a word or token of the whole text and what it is aligned with; nothing without an argument. */
  highlight(side = null, index = -1) {
    const drawn = this.#parts.find(({ part }) => side && holds(part, side, index));
    if (drawn) this.#light(drawn, { [side]: index - drawn.part.first[side] });
    else this.#unlight();
  }

  /** Moves the focus to a word or token of the whole text. */
  focusUnit(side, index) {
    const drawn = this.#parts.find(({ part }) => holds(part, side, index));
    if (drawn) focusUnit(drawn.text, side, index - drawn.part.first[side]);
  }

  /** One SVG document of what is seen, with its colours in it; null where nothing is drawn. */
  toSVG() {
    return exportedSvg(this.drawings);
  }

  /** The drawings that are seen, with nothing lit. */
  get drawings() {
    this.#unlight();
    return [...this.#box.querySelectorAll("svg")];
  }

  /** What is drawn, as numbers: one part for each sentence, see `readParts`. */
  get parts() {
    return this.#parts.map(({ part }) => part);
  }

  get granularity() {
    return this.getAttribute("granularity") === "tokens" ? "tokens" : "words";
  }

  #draw() {
    this.#scheduled = false;
    if (!this.isConnected) return;
    const picked = pickHypothesis(this.#translation, Number(this.getAttribute("hypothesis") ?? 0));
    const view = { granularity: this.granularity, mechanism: this.getAttribute("mechanism") };
    const parts = picked ? readParts(picked, view) : [];
    this.#texts = { source: picked?.source.text, target: picked?.hypothesis.text };
    this.#family ??= getComputedStyle(this).fontFamily; // asking at every drawing would lay the page out every time
    this.#parts = parts.map((part, index) => this.#drawPart(part, index));
    this.#box.replaceChildren(...this.#parts.flatMap(({ boxes }) => boxes));
    for (const { part, boxes } of this.#parts) {
      if (part.source.rightToLeft) for (const box of boxes) box.scrollLeft = box.scrollWidth;
    }
    this.#readout.replaceChildren();
    clearTimeout(this.#tables);
    this.#tables = setTimeout(() => this.#addTables(), TABLE_DELAY_MS);
  }

  #drawPart(part, index) {
    const form = this.getAttribute("form") ?? "both";
    const drawn = { part, boxes: [], cell: { source: 0, target: 0 } };
    if (form !== "matrix") {
      drawn.text = drawText(part, this.#family);
      drawn.text.querySelector(".unit")?.setAttribute("tabindex", "0");
      drawn.boxes.push(formBox(drawn.text, index));
    }
    if (form !== "text" && part.weights?.length) {
      const { drawing, layout } = drawMatrix(part, this.#family);
      Object.assign(drawn, { matrix: drawing, layout });
      drawn.boxes.push(matrixBox(drawn.matrix, index));
    }
    return drawn;
  }

  #addTables() {
    for (const { part, matrix } of this.#parts) {
      if (!matrix) continue;
      const caption = `Weights from 0 to 1 of source ${this.granularity} (columns) for target ${this.granularity}`;
      matrix.parentElement.append(make("div", { className: "heard" }, makeTable(part, caption)));
    }
  }

  #listen() {
    const box = this.#box;
    for (const type of ["pointermove", "focusin"]) box.addEventListener(type, (event) => this.#point(event));
    for (const type of ["pointerleave", "focusout"]) box.addEventListener(type, () => this.#unlight());
    box.addEventListener("click", (event) => {
      const found = this.#find(event);
      if (found) this.#select(found.drawn, found.place);
    });
    box.addEventListener("keydown", (event) => this.#press(event));
    const scrolled = ({ target }) => stick(target, target.scrollLeft, target.scrollTop);
    box.addEventListener("scroll", scrolled, true); // of the forms in it
  }

  #point(event) {
    const found = this.#find(event);
    if (found) this.#light(found.drawn, found.place);
    else if (event.type === "pointermove") this.#unlight();
  }

  /** What an event is about: a part, and in it a unit of one side or a cell. */
  #find(event) {
    const drawn = this.#parts[event.target.closest?.(".form")?.dataset.part];
    if (!drawn) return null;
    const unit = event.target.closest(".unit, .label");
    for (const side of ["source", "target"]) {
      if (unit?.dataset[side] !== undefined) return { drawn, place: { [side]: Number(unit.dataset[side]) } };
    }
    if (!drawn.matrix?.contains(event.target)) return null;
    const { left, top } = drawn.matrix.getBoundingClientRect();
    const place = cellAt(drawn.layout, event.clientX - left, event.clientY - top);
    return place && { drawn, place };
  }

  #light(drawn, place) {
    this.#unlight();
    const { part, text, matrix, layout } = drawn;
    const pairs = linksAt(part, place);
    const lit = (selector) => {
      for (const drawing of [text, matrix]) drawing?.querySelectorAll(selector).forEach((e) => e.classList.add("lit"));
    };
    text?.classList.add("lighting");
    for (const side of ["source", "target"]) {
      const units = place[side] === undefined ? pairs.map((link) => link[side]) : [place[side]];
      for (const index of units) lit(`.unit[data-${side}="${index}"], .label[data-${side}="${index}"]`);
    }
    for (const { source, target } of pairs) lit(`.curve[data-source="${source}"][data-target="${target}"]`);
    matrix?.insertBefore(drawMarks(layout, place), matrix.querySelector(".labels"));
    this.#readout.replaceChildren(...readout(part, place, pairs));
    this.#tell("alignment-highlight", part, place, pairs);
  }

  #unlight() {
    for (const lit of this.#box.querySelectorAll(".lit, .lighting")) lit.classList.remove("lit", "lighting");
    for (const marks of this.#box.querySelectorAll(".marks")) marks.remove();
    this.#readout.replaceChildren();
  }

  #select(drawn, place) {
    for (const old of this.#box.querySelectorAll(".selected")) old.classList.remove("selected");
    for (const [side, index] of Object.entries(place)) {
      drawn.text?.querySelector(`.unit[data-${side}="${index}"]`)?.classList.add("selected");
    }
    this.#tell("alignment-select", drawn.part, place, linksAt(drawn.part, place));
  }

  /** Sends an event; indices and ranges in its `detail` are those of the whole text. */
  #tell(type, part, place, pairs) {
    const links = pairs.map(({ source, target, weight }) => ({
      source: source + part.first.source,
      target: target + part.first.target,
      weight,
    }));
    const detail = { granularity: this.granularity, links };
    for (const [side, index] of Object.entries(place)) {
      const { text, start, end } = part[side].units[index];
      const utf16 = [start, end].map((place) => utf16Offset(this.#texts[side], place));
      detail[side] = { index: index + part.first[side], text, start, end, utf16 };
    }
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  #press(event) {
    const step = STEPS[event.key];
    if (!step && event.key !== "Enter" && event.key !== " ") return;
    const matrix = event.target.matches(".matrix-box") && this.#parts[event.target.dataset.part];
    const found = matrix ? { drawn: matrix, place: { target: matrix.cell.target } } : this.#find(event);
    if (!found) return;
    event.preventDefault();
    if (!step) this.#select(found.drawn, found.place);
    else if (matrix) this.#walkMatrix(matrix, step);
    else this.#walk(found.drawn, found.place, step);
  }

  /** Moves the focus among the words: along the line, or over to what a word is aligned with. */
  #walk({ part, text }, place, [along, across]) {
    const [[side, index]] = Object.entries(place);
    const mirrored = part[side].rightToLeft ? -along : along;
    let next = { side, index: index + mirrored };
    if (across) {
      const other = OTHER[side];
      const link = linksAt(part, place).sort((a, b) => b.weight - a.weight)[0];
      next = { side: other, index: link ? link[other] : clamp(index, part[other].units.length) };
    }
    focusUnit(text, next.side, next.index);
  }

  #walkMatrix(drawn, [along, down]) {
    const { cell, part, layout } = drawn;
    const mirrored = part.source.rightToLeft ? -along : along;
    cell.source = clamp(cell.source + (drawn.walked ? mirrored : 0), layout.columns.length);
    cell.target = clamp(cell.target + (drawn.walked ? down : 0), layout.rows.length);
    drawn.walked = true; // the first press shows where one stands
    this.#light(drawn, { ...cell });
    drawn.matrix.querySelector(".frame")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

customElements.define("alignment-view", AlignmentView);
