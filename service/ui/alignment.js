// Draws a translation: both texts with words that light up what they are aligned with, and the word matrix.
// Text reaches the document through textContent only.

import { cutIntoWords } from "./code-points.js";

const STRONG_WEIGHT = 0.65; // from here on the cell is dark enough to need the other text colour
const SHOWN_WEIGHT = 0.05; // smaller figures would be noise

/**
 * @param {HTMLElement} place emptied and filled anew
 * @param {object} source `translations[i].source` of the API's answer
 * @param {object} hypothesis one of `translations[i].hypotheses`
 */
export function drawTranslation(place, source, hypothesis) {
  const sides = {
    source: drawText("source", source.text, source.words),
    target: drawText("target", hypothesis.text, hypothesis.words),
  };
  const score = element("p", "score", `score ${hypothesis.score.toFixed(3)}`);
  place.replaceChildren(sides.source, sides.target, score, ...drawMatrices(source, hypothesis));
  linkWords(place, hypothesis.alignment?.links ?? []);
}

function drawText(side, text, words) {
  const paragraph = element("p", `text ${side}`);
  paragraph.dir = "auto";
  for (const piece of cutIntoWords(text, words)) {
    if (piece.word === null) {
      paragraph.append(piece.text);
      continue;
    }
    const span = element("span", "word", piece.text);
    span.tabIndex = 0;
    span.dataset[side] = String(piece.word);
    paragraph.append(span);
  }
  return paragraph;
}

function drawMatrices(source, hypothesis) {
  return hypothesis.sentences.flatMap((sentence, index) => {
    const matrix = (sentence.alignment ?? hypothesis.alignment)?.words;
    if (!matrix || matrix.length === 0) return [];
    const several = hypothesis.sentences.length > 1;
    const title = element("h2", "", several ? `Sentence ${index + 1}` : "Word alignment");
    const box = element("div", "matrix");
    box.tabIndex = 0;
    box.append(drawMatrix(matrix, source.words, hypothesis.words, sentence));
    return [title, box];
  });
}

function drawMatrix(matrix, sourceWords, targetWords, sentence) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  head.append(element("td"));
  const [firstSource, endSource] = sentence.source.words;
  for (let word = firstSource; word < endSource; word += 1) {
    const cell = heading("col", sourceWords[word].text);
    cell.dataset.source = String(word);
    head.append(cell);
  }
  const body = table.createTBody();
  matrix.forEach((weights, row) => {
    const target = sentence.target.words[0] + row;
    const line = body.insertRow();
    const cell = heading("row", targetWords[target].text);
    cell.dataset.target = String(target);
    line.append(cell);
    weights.forEach((weight, column) => line.append(drawWeight(weight, firstSource + column, target)));
  });
  return table;
}

function drawWeight(weight, source, target) {
  const cell = element("td", weight >= STRONG_WEIGHT ? "strong" : "", weight >= SHOWN_WEIGHT ? weight.toFixed(2) : "");
  cell.style.setProperty("--weight", weight.toFixed(4));
  cell.title = weight.toFixed(4);
  cell.dataset.cell = `${source}-${target}`;
  return cell;
}

function heading(scope, text) {
  const cell = element("th");
  cell.scope = scope;
  cell.dir = "auto";
  cell.append(element("span", "", text));
  return cell;
}

function linkWords(place, links) {
  const light = (event, on) => {
    const word = event.target.closest?.(".word, th");
    if (!word || !place.contains(word)) return;
    const side = word.dataset.source === undefined ? "target" : "source";
    const other = side === "source" ? "target" : "source";
    for (const link of links.filter((each) => String(each[side]) === word.dataset[side])) {
      for (const found of place.querySelectorAll(`[data-${other}="${link[other]}"]`)) {
        found.classList.toggle(found.tagName === "TH" ? "lit" : "aligned", on);
      }
      place.querySelector(`[data-cell="${link.source}-${link.target}"]`)?.classList.toggle("lit", on);
    }
  };
  for (const [begin, end] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    place.addEventListener(begin, (event) => light(event, true));
    place.addEventListener(end, (event) => light(event, false));
  }
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
