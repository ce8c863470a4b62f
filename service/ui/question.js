// What the model held likely in place of a word, and what follows from choosing one of it.

import { percent } from "./alignment-parts.js";
import { button, make } from "./elements.js";

const SPACE = "\u2581"; // in tokens; no prefix ends with one
const END = "</s>";
const ENDING = "end here";

/**
 * Lists the alternatives at the tokens of a unit (see `alignment-select`); `change` is what a choice asks for:
 * `{prefix}` to go on from, or `{target}` where the translation is to end.
 */
export function alternativesAt(hypothesis, unit, granularity) {
  const inside = ({ start, end, special }) => !special && start >= unit.start && end <= unit.end;
  const tokens = granularity === "tokens" ? [hypothesis.tokens[unit.index]] : hypothesis.tokens.filter(inside);
  const small = ({ text, special }) => !special && toCapitals(text) !== text;
  const raised = !small(hypothesis) && hypothesis.tokens.some(small); // to capitals, as the source has them
  return tokens.map((token) => ({
    token,
    alternatives: (token.alternatives ?? [])
      .filter((each) => each.text !== token.text && (each.special ? each.text === END : each.text !== SPACE))
      .map((each) => describe(each, Array.from(hypothesis.text).slice(0, token.start).join("").trimEnd(), raised))
      .filter(Boolean),
  }));
}

function describe({ text, special, log_prob: logProb }, kept, raised) {
  const probability = Math.exp(logProb);
  if (special) return kept ? { text: ENDING, probability, change: { target: kept } } : null;
  const prefix = (kept + (raised ? toCapitals(text) : text).replaceAll(SPACE, " ")).trimStart();
  return prefix ? { text, probability, change: { prefix } } : null;
}

/** As the service writes them: what has no capital of one character (`ß`) stays. */
function toCapitals(text) {
  return text.replace(/./gsu, (each) => (each.toUpperCase().length > each.length ? each : each.toUpperCase()));
}

export function questionPanel(places, choose, close) {
  const panel = make("div", { className: "question", role: "group", ariaLabel: "Alternatives" });
  for (const { token, alternatives } of places) {
    const own = Math.exp(token.log_prob);
    const name = make("b", { dir: "auto", textContent: token.special ? "the end" : shownText(token.text) });
    panel.append(make("p", {}, "The model wrote ", name, ` (${percent(own)}). It also considered:`));
    const list = make("ul", {});
    for (const { text, probability, change } of alternatives) {
      const share = make("span", { className: "share", textContent: percent(probability) });
      const choice = button("", () => choose(change), { className: "alternative" });
      choice.append(make("bdi", { textContent: shownText(text) }), " ", share);
      choice.style.setProperty("--share", probability);
      list.append(make("li", {}, choice));
    }
    const nothing = make("p", { className: "muted", textContent: "Nothing: this text was given." });
    panel.append(alternatives.length ? list : nothing);
  }
  panel.append(button("Close", close, { className: "quiet" }));
  panel.addEventListener("keydown", (event) => event.key === "Escape" && close());
  return panel;
}

/** A token as people read it: without the sign for a space, or marked as the rest of a word. */
function shownText(token) {
  const text = token.replaceAll(SPACE, " ").trim();
  return token.startsWith(SPACE) || !/^\p{L}/u.test(text) || text === ENDING ? text : `…${text}`;
}
