// Pieces of <alignment-view>: boxes around drawings, names for screen readers, what a place says.

import { make } from "./elements.js";

export const OTHER = { source: "target", target: "source" };
const DECIMALS = 4; // as the API gives weights

export function clamp(index, length) {
  return Math.max(0, Math.min(length - 1, index));
}

/** Whether a part has the unit of that index in the whole text. */
export function holds(part, side, index) {
  return part[side].units[index - part.first[side]] !== undefined;
}

export function linksAt(part, place) {
  return part.links.filter((link) => Object.keys(place).every((side) => link[side] === place[side]));
}

export function focusUnit(text, side, index) {
  const unit = text?.querySelector(`.unit[data-${side}="${index}"]`);
  if (!unit) return;
  text.querySelector('.unit[tabindex="0"]')?.setAttribute("tabindex", "-1");
  unit.tabIndex = 0;
  unit.focus();
  unit.scrollIntoView({ block: "nearest", inline: "nearest" });
}

export function formBox(drawing, part) {
  const box = make("div", { className: "form" }, drawing);
  box.dataset.part = part;
  return box;
}

export function matrixBox(drawing, part) {
  const ariaLabel = "Alignment matrix; arrow keys read its values";
  return Object.assign(formBox(drawing, part), { className: "form matrix-box", role: "group", ariaLabel, tabIndex: 0 });
}

/** What screen readers say of a unit. */
export function nameOf(part, side, index) {
  const partners = linksAt(part, { [side]: index }).map((link) => part[OTHER[side]].units[link[OTHER[side]]].text);
  return `${part[side].units[index].text}, aligned with ${partners.join(", ") || "nothing"}`;
}

/** What a place says, in words and figures. */
export function readout(part, place, pairs) {
  const bold = (textContent) => make("b", { textContent, dir: "auto" });
  const { source, target } = place;
  if (source !== undefined && target !== undefined) {
    const weight = part.weights[target][source].toFixed(DECIMALS);
    return [bold(part.target.units[target].text), " ← ", bold(part.source.units[source].text), ` ${weight}`];
  }
  const side = source === undefined ? "target" : "source";
  const unit = part[side].units[place[side]];
  const partners = pairs.flatMap((link, index) => [
    index ? ", " : " ↔ ",
    bold(part[OTHER[side]].units[link[OTHER[side]]].text),
    ` ${link.weight.toFixed(DECIMALS)}`,
  ]);
  const said = [bold(unit.text), ...(partners.length ? partners : [" is aligned with nothing"])];
  return unit.logProb === null ? said : [...said, `; probability ${percent(Math.exp(unit.logProb))}`];
}

export function percent(share) {
  if (share < 0.001) return "< 0.1%";
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}
