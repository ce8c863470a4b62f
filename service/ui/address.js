// All that the page shows is in the address, behind `#`, which no browser sends to a server.

export const DEFAULTS = Object.freeze({
  text: "",
  model: "",
  beam: 4,
  n: 3,
  lp: 1,
  unit: "words",
  form: "both",
  mech: "",
  shade: false,
  picked: {}, // sentence -> index of its hypothesis
  changed: {}, // sentence -> {prefix} or {target}
});

const NUMBERS = { beam: [1, 64], n: [1, 64], lp: [0, 10] };
const CHOICES = { unit: ["words", "tokens"], form: ["both", "text", "matrix"] };

/** A whole state; what the address does not say, or says wrongly, has its default. */
export function readAddress(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...DEFAULTS, picked: {}, changed: {} };
  for (const name of ["text", "model", "mech"]) state[name] = given.get(name) ?? DEFAULTS[name];
  for (const [name, [least, most]] of Object.entries(NUMBERS)) {
    const number = Number.parseFloat(given.get(name));
    if (number >= least && number <= most) state[name] = name === "lp" ? number : Math.round(number);
  }
  for (const [name, allowed] of Object.entries(CHOICES)) {
    if (allowed.includes(given.get(name))) state[name] = given.get(name);
  }
  state.shade = given.get("shade") === "1";
  for (const [name, value] of given) {
    const [kind, sentence] = name.split(".");
    if (!/^\d+$/.test(sentence ?? "")) continue;
    if (kind === "pick" && /^\d+$/.test(value)) state.picked[sentence] = Number(value);
    if (kind === "prefix" || kind === "target") state.changed[sentence] = { [kind]: value };
  }
  return state;
}

/** The other way round; what has its default is left out. */
export function writeAddress(state) {
  const written = new URLSearchParams();
  for (const name of ["text", "model", "beam", "n", "lp", "unit", "form", "mech"]) {
    if (state[name] !== DEFAULTS[name]) written.set(name, state[name]);
  }
  if (state.shade) written.set("shade", "1");
  for (const [sentence, index] of Object.entries(state.picked)) if (index) written.set(`pick.${sentence}`, index);
  for (const [sentence, change] of Object.entries(state.changed)) {
    for (const [kind, value] of Object.entries(change)) written.set(`${kind}.${sentence}`, value);
  }
  return `#${written}`;
}
