// A drawing as a document of its own: styles that came from outside are written into it.

import { stick, svg } from "./drawing.js";

const WRITTEN = ["fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "font-weight"];
const LEFT_OUT = ["class", "role", "tabindex", "aria-label", "aria-hidden"];
const UNSEEN = ".backdrop, .box:not(.selected)"; // while nothing is lit
const NOT_IN_XML = /[^\t\n\r -\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu;
const GAP = 12; // between drawings that stand below each other

/** Puts drawings, which must stand in a page so that their colours are known, below each other; null if none. */
export function exportedSvg(drawings) {
  if (drawings.length === 0) return null;
  const width = Math.max(...drawings.map((drawing) => drawing.width.baseVal.value));
  let height = -GAP;
  const copies = drawings.map((drawing) => {
    const copy = withStyles(drawing);
    copy.setAttribute("x", (width - drawing.width.baseVal.value) / 2);
    copy.setAttribute("y", height + GAP);
    height += GAP + drawing.height.baseVal.value;
    return copy;
  });
  const fill = getComputedStyle(drawings[0].parentElement).backgroundColor;
  const background = svg("rect", { width, height, fill });
  const whole = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` }, background, ...copies);
  return new XMLSerializer().serializeToString(whole).replace(NOT_IN_XML, "\uFFFD");
}

function withStyles(drawing) {
  const copy = drawing.cloneNode(true);
  stick(copy); // as if nothing were scrolled
  const copies = [copy, ...copy.querySelectorAll("*")];
  const gone = [];
  [drawing, ...drawing.querySelectorAll("*")].forEach((element, index) => {
    const seen = getComputedStyle(element);
    if (seen.display === "none" || element.matches(UNSEEN)) gone.push(copies[index]);
    for (const name of LEFT_OUT) copies[index].removeAttribute(name);
    if (!element.matches("path, rect, text")) return;
    for (const name of WRITTEN) {
      if (name === "font-weight" && element.tagName !== "text") continue;
      copies[index].setAttribute(name, seen.getPropertyValue(name));
    }
  });
  for (const each of gone) each.remove();
  return copy;
}

/** Paints an SVG document as PNG, twice as large. */
export async function toPng(svgDocument) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgDocument)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth * 2;
  canvas.height = image.naturalHeight * 2;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("The picture is too large for PNG."))), "image/png");
  });
}
