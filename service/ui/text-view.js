// One text on the page: its sentences, what streams in for them, and what was changed about each.

import { ask, Problem, streamTranslation } from "./api.js";
import { make } from "./elements.js";
import { GrowingSentence, sentenceSource } from "./growing.js";
import { SentenceCard } from "./sentence-card.js";

export const ASKED = ["text", "model", "beam", "n", "lp"]; // of a state
const NUM_ALTERNATIVES = 6;

/** The body that asks for a text with the options of a state. */
function bodyOf({ model, beam, n, lp }, text) {
  return {
    text,
    model,
    beam_size: beam,
    num_hypotheses: Math.min(n, beam),
    length_penalty: lp,
    num_alternatives: NUM_ALTERNATIVES,
    diagnostics: true,
  };
}

export class TextView {
  #places; // where cards and the whole text go
  #wishes;
  #onShow;
  #sentences = []; // {place, source, base, current, card, asked}
  #source = null;
  #state = null;

  /** `wishes` are those of a card; `onShow` is called with every new card. */
  constructor(places, wishes, onShow) {
    this.#places = places;
    this.#wishes = { ...wishes, locate: (index) => this.#sentences[index].link.focus() };
    this.#onShow = onShow;
  }

  get cards() {
    return this.#sentences.map(({ card }) => card);
  }

  /** Whether everything that is asked for is there. */
  get complete() {
    return this.cards.length > 0 && this.cards.every((card) => card.shown);
  }

  clear() {
    this.#sentences = [];
    this.#places.result.replaceChildren();
    this.#places.whole.hidden = true;
  }

  /** Translates the state's text, showing what comes; what was changed about sentences is asked for too. */
  async translate(state, signal) {
    this.#state = state;
    const changes = [];
    const receive = {
      source: ({ source, sentences }) => this.#begin(source, sentences),
      token: (data) => this.#grow(data),
      sentence: ({ sentence_index: index, translation }) => {
        this.#sentences[index].base = translation;
        const change = this.apply(index, state, signal);
        change.catch(() => {}); // heard below, unless the stream fails first
        changes.push(change);
      },
    };
    await streamTranslation(bodyOf(state, state.text), receive, signal);
    await Promise.all(changes);
  }

  /** Whether the state wants the same translations, before changes, as are here. */
  holds(state) {
    const same = ASKED.every((name) => this.#state?.[name] === state[name]);
    return same && this.#sentences.length > 0 && this.#sentences.every(({ base }) => base);
  }

  /** Brings one sentence to what the state says of it: its own translation, another prefix, a given target. */
  async apply(index, state, signal) {
    this.#state = state;
    const sentence = this.#sentences[index];
    const change = state.changed[index];
    const asked = JSON.stringify(change ?? null);
    if (sentence.asked !== asked) {
      sentence.asked = asked;
      sentence.current = change ? null : sentence.base;
    }
    if (!sentence.current) {
      sentence.card.wait();
      sentence.link.textContent = "…";
      try {
        const changed = await this.#ask(sentence.source.text, change, signal);
        if (sentence.asked !== asked) return; // something else has been asked for since
        sentence.current = changed;
      } catch (error) {
        if (sentence.asked === asked) sentence.asked = undefined;
        if (!(error instanceof Problem) || error.retryAfterS) throw error;
        sentence.card.fail(error.message);
        return;
      }
    }
    sentence.card.show(sentence.current, this.#state.picked[index] ?? 0, change);
    sentence.link.textContent = sentence.card.shown.hypothesis.text || "…";
  }

  applyAll(state, signal) {
    return Promise.all(this.#sentences.map((_, index) => this.apply(index, state, signal)));
  }

  async #ask(text, change, signal) {
    const state = this.#state;
    if (change.prefix !== undefined) {
      const body = { ...bodyOf(state, text), target_prefix: change.prefix };
      return (await ask("translate", body, signal)).translations[0];
    }
    const { model, lp: length_penalty } = state;
    const body = { source: text, target: change.target, model, length_penalty, diagnostics: true };
    const [{ source, target }] = (await ask("align", body, signal)).pairs;
    return { source, hypotheses: [target] };
  }

  #begin(source, places) {
    this.#source = source;
    this.#sentences = places.map((place, index) => {
      const card = new SentenceCard(index, places.length, this.#wishes);
      const own = sentenceSource(source, place);
      this.#onShow(card);
      return { place, source: own, base: null, current: null, card, growing: new GrowingSentence(own) };
    });
    this.#places.result.replaceChildren(...this.cards.map(({ element }) => element));
    this.#showWhole();
  }

  /** Draws what has come of a sentence, unless all of it comes before. */
  #grow(data) {
    const index = data.sentence_index;
    if (this.#state.changed[index] || this.#state.picked[index]) return; // another one is wanted
    const { growing, card } = this.#sentences[index];
    growing.add(data);
    if (growing.drawn) return; // once in a frame is enough
    growing.drawn = requestAnimationFrame(() => {
      growing.drawn = 0;
      if (!card.shown) card.grow(growing.translation);
    });
  }

  /** The whole text on both sides, each sentence a link to its card. */
  #showWhole() {
    const { whole } = this.#places;
    const characters = Array.from(this.#source.text);
    const lines = ["source", "target"].map((className) => make("p", { className, dir: "auto" }));
    let end = 0;
    this.#sentences.forEach((sentence, index) => {
      const { place, source } = sentence;
      const between = characters.slice(end, place.start).join("");
      sentence.link = this.#link(index, "…");
      lines[0].append(between, this.#link(index, source.text));
      lines[1].append(between, sentence.link);
      end = place.end;
    });
    for (const line of lines) line.append(characters.slice(end).join(""));
    const [first] = this.#sentences;
    whole.hidden = lines[0].textContent.trim() === (first?.source.text ?? ""); // a card has all
    whole.replaceChildren(...lines);
  }

  #link(index, textContent) {
    const onclick = (event) => {
      event.preventDefault(); // the address holds the state
      this.cards[index].reveal();
    };
    return make("a", { href: "#", dir: "auto", textContent, onclick });
  }
}
