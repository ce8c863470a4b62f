// A drawing as a document of its own: styles that came from outside are written into it.

const SVG = "http://www.w3.org/2000/svg";
const WRITTEN = ["fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "font-weight"];
const LEFT_OUT = ["class", "role", "tabindex", "aria-label", "aria-hidden"];
const GAP = 12; // between drawings that stand below each other

/** Puts drawings, which must stand in a page so that their colours are known, below each other; null if none. */
export function exportedSvg(drawings) {
  if (drawings.length === 0) return null;
  const size = (name) => drawings.map((drawing) => Number(drawing.getAttribute(name)));
  const width = Math.max(...size("width"));
  const height = size("height").reduce((sum, each) => sum + each + GAP, -GAP);
  const whole = document.createElementNS(SVG, "svg");
  const background = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ width, height })) {
    whole.setAttribute(key, value);
    background.setAttribute(key, value);
  }
  whole.setAttribute("viewBox", `0 0 ${width} ${height}`);
  background.setAttribute("fill", getComputedStyle(drawings[0].parentElement).backgroundColor);
  whole.append(background);
  let y = 0;
  for (const drawing of drawings) {
    const copy = withStyles(drawing);
    copy.setAttribute("x", (width - Number(drawing.getAttribute("width"))) / 2);
    copy.setAttribute("y", y);
    whole.append(copy);
    y += Number(drawing.getAttribute("height")) + GAP;
  }
  return new XMLSerializer().serializeToString(whole);
}

function withStyles(drawing) {
  const copy = drawing.cloneNode(true);
  const copies = [copy, ...copy.querySelectorAll("*")];
  const gone = [];
  [drawing, ...drawing.querySelectorAll("*")].forEach((element, index) => {
    const seen = getComputedStyle(element);
    if (seen.display === "none") gone.push(copies[index]);
    for (const name of LEFT_OUT) copies[index].removeAttribute(name);
    if (element.tagName === "svg" || element.tagName === "g") return;
    for (const name of WRITTEN) {
      if (name === "font-weight" && element.tagName !== "text") continue;
      copies[index].setAttribute(name, seen.getPropertyValue(name));
    }
  });
  for (const each of gone) each.remove();
  return copy;
}

/** Paints an SVG document as PNG, with `scale` pixels for each CSS pixel. */
export async function toPng(svgDocument, scale = 2) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgDocument)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth * scale;
  canvas.height = image.naturalHeight * scale;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("The picture is too large for PNG."))), "image/png");
  });
}
