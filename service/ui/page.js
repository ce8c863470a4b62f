// The page at `/`: sends the form to the API and draws the answer. A newer request always replaces an older one.

import { drawTranslation } from "./alignment.js";

const form = document.getElementById("form");
const text = document.getElementById("text");
const model = document.getElementById("model");
const beamSize = document.getElementById("beam-size");
const status = document.getElementById("status");
const result = document.getElementById("result");

let current = new AbortController();

function say(message, isError = false) {
  status.textContent = message;
  status.classList.toggle("error", isError);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (answer.ok) return body;
  const retry = answer.headers.get("Retry-After");
  throw new Error(`${body.detail}${retry ? ` Try again in ${retry} s.` : ""}`);
}

async function translate() {
  current.abort();
  const mine = new AbortController();
  current = mine;
  say("Translating …");
  try {
    const answer = await ask("translate", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: text.value, model: model.value, beam_size: Number(beamSize.value) }),
      signal: mine.signal,
    });
    const [{ source, hypotheses }] = answer.translations;
    const place = document.createElement("div"); // a new one each time, free of older listeners
    drawTranslation(place, source, hypotheses[0]);
    result.replaceChildren(place);
    say("");
  } catch (error) {
    if (mine.signal.aborted) return;
    result.replaceChildren();
    say(error instanceof TypeError ? "The service cannot be reached." : error.message, true);
  }
}

async function listModels() {
  const { models } = await ask("models");
  model.replaceChildren(
    ...models.map(({ name, source_language: from, target_language: to }) => {
      const option = document.createElement("option");
      option.value = name;
      option.textContent = `${from} → ${to} (${name})`;
      return option;
    }),
  );
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  translate();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) translate();
});
listModels().catch((error) => say(error.message, true));
