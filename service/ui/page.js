// The page at `/`. What it shows follows from the state in the address; newer text replaces older.

import { readAddress, writeAddress } from "./address.js";
import { ask, Problem } from "./api.js";
import { byId, make } from "./elements.js";
import { asCsv, asJson, asPharaoh, copy, download } from "./take-away.js";
import { exportedSvg, toPng } from "./svg-export.js";
import { ASKED, TextView } from "./text-view.js";

const TYPING_PAUSE_MS = 300;
const EXAMPLE = "I would like a cup of tea, please.";
const VIEW = { "form-choice": "form", unit: "unit", mech: "mech" };

let models = [];
let state = readAddress(location.hash);
let current = new AbortController();
let pause = 0;
let waiting = 0;

const view = new TextView(
  { result: byId("result"), whole: byId("whole") },
  {
    pick: (index, picked) => step({ picked: { ...state.picked, [index]: picked } }),
    change: (index, change) => {
      const { [index]: _, ...picked } = state.picked;
      step({ picked, changed: { ...state.changed, [index]: change } });
    },
  },
  (card) => {
    dress(card);
    phase("streaming", "Translating …");
  },
);

/** Puts a state into the address; `further` makes it one that Undo comes back from. */
function remember(next, further = false) {
  const depth = history.state?.depth ?? 0;
  state = next;
  if (further) history.pushState({ depth: depth + 1 }, "", writeAddress(state));
  else history.replaceState({ depth }, "", writeAddress(state));
  byId("undo").disabled = !history.state?.depth;
}

function phase(name, message = "", isError = false) {
  document.body.dataset.phase = name;
  clearInterval(waiting);
  clearTimeout(pause);
  byId("countdown").textContent = "";
  byId("again").hidden = !isError;
  byId("status").textContent = message;
  byId("status").classList.toggle("error", isError);
  for (const part of ["result", "whole"]) byId(part).inert = name === "waiting"; // what is seen is stale
  byId("take").hidden = name !== "done" || !view.complete;
  byId("look").hidden = view.cards.length === 0;
}

/** A change that can be undone, of the sentences that are there. */
async function step(change) {
  remember({ ...state, ...change }, true);
  await settle();
}

async function settle() {
  if (view.holds(state)) await guarded("Working …", (signal) => view.applyAll(state, signal), "working");
  else await translate();
}

async function translate() {
  current.abort();
  if (state.text.trim() === "") {
    view.clear();
    phase("nothing", "Nothing to translate yet: type a text above.");
    return;
  }
  await guarded("Translating …", (signal) => view.translate(state, signal));
}

/** Runs what asks the service, alone, and says how it went. */
async function guarded(message, work, name = "waiting") {
  current.abort();
  const mine = new AbortController();
  current = mine;
  phase(name, message);
  try {
    await work(mine.signal);
    if (!mine.signal.aborted) phase("done");
  } catch (error) {
    if (mine.signal.aborted) return;
    view.clear();
    if (error instanceof Problem && error.retryAfterS) countDown(error.retryAfterS);
    else phase("failed", error instanceof Problem ? error.message : `The page failed: ${error.message}`, true);
  }
}

function countDown(seconds) {
  phase("busy", "The service is busy. Trying again by itself in", true);
  const show = () => {
    byId("countdown").textContent = `${seconds} s`;
    if (seconds <= 0) translate();
    seconds -= 1;
  };
  show();
  waiting = setInterval(show, 1000);
}

/** Another text or other options: answers about the old one are gone. */
function typed() {
  current.abort();
  state = { ...state, text: byId("text").value, model: byId("model").value, picked: {}, changed: {} };
  for (const id of ["beam", "n", "lp"]) {
    const { validity, value } = byId(id);
    if (validity.valid && value) state[id] = Number(value);
  }
  byId("undo").disabled = true;
  phase("waiting", "…");
  pause = setTimeout(() => {
    history.replaceState({ depth: 0 }, ""); // browsers limit how often
    remember(state);
    translate();
  }, TYPING_PAUSE_MS);
}

function looked() {
  const wanted = Object.fromEntries(Object.entries(VIEW).map(([id, name]) => [name, byId(id).value]));
  remember({ ...state, ...wanted, shade: byId("shade").checked });
  view.cards.forEach(dress);
}

/** Gives a card's view the look that the state says. */
function dress({ view: element }) {
  element.setAttribute("form", state.form);
  element.setAttribute("granularity", state.unit);
  element.setAttribute("mechanism", state.mech);
  element.toggleAttribute("confidence", state.shade);
}

async function arrive() {
  state = readAddress(location.hash);
  state.model ||= models[0]?.name ?? "";
  listMechanisms();
  for (const id of ASKED) byId(id).value = state[id];
  for (const [id, name] of Object.entries(VIEW)) byId(id).value = state[name];
  byId("shade").checked = state.shade;
  remember(state);
  view.cards.forEach(dress);
  await settle();
}

function listMechanisms() {
  const known = models.find(({ name }) => name === state.model)?.mechanisms ?? [];
  const options = known.map(({ name }, index) => make("option", { value: index ? name : "", textContent: name }));
  byId("mech").replaceChildren(...options);
  byId("mech-label").hidden = options.length < 2;
  if (!known.slice(1).some(({ name }) => name === state.mech)) state.mech = "";
  byId("mech").value = state.mech;
}

async function takeAway({ dataset }) {
  const cards = view.cards;
  const parts = cards.flatMap((card) => card.view.parts);
  try {
    if (dataset.copy) {
      const shown = cards.map((card) => card.shown);
      const texts = { json: () => asJson(shown), csv: () => asCsv(parts), pharaoh: () => asPharaoh(parts) };
      await copy(texts[dataset.copy]());
      byId("status").textContent = "Copied.";
      return;
    }
    const drawing = exportedSvg(cards.flatMap((card) => card.view.drawings));
    if (!drawing) throw new Error("nothing is drawn.");
    const file = dataset.download === "svg" ? new Blob([drawing], { type: "image/svg+xml" }) : await toPng(drawing);
    download(`alignment.${dataset.download}`, file);
  } catch (error) {
    byId("status").textContent = `That did not work: ${error.message}`;
  }
}

async function start() {
  for (const id of ASKED) byId(id).addEventListener("input", typed);
  byId("model").addEventListener("input", listMechanisms);
  for (const id of [...Object.keys(VIEW), "shade"]) byId(id).addEventListener("input", looked);
  byId("form").addEventListener("submit", (event) => event.preventDefault());
  byId("undo").addEventListener("click", () => history.back());
  byId("take").addEventListener("click", (event) => event.target.matches("button") && takeAway(event.target));
  addEventListener("popstate", arrive);
  if (!location.hash) history.replaceState(history.state, "", writeAddress({ ...state, text: EXAMPLE }));
  byId("again").onclick = begin;
  await begin();
}

async function begin() {
  phase("waiting", "Loading …");
  try {
    ({ models } = await ask("models"));
    byId("model").replaceChildren(
      ...models.map(({ name, source_language: from, target_language: to }) =>
        make("option", { value: name, textContent: `${from} → ${to} (${name})` }),
      ),
    );
    byId("again").onclick = translate;
  } catch (error) {
    phase("failed", error.message, true);
    return;
  }
  await arrive();
}

start();
