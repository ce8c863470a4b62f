// One sentence: its hypotheses, its alignment, and what can be asked of it.

import "./alignment-view.js";
import { button, make } from "./elements.js";
import { alternativesAt, questionPanel } from "./question.js";

const NO_SCROLL = { preventScroll: true };

export class SentenceCard {
  shown = null; // the hypothesis that is seen, `{source, hypothesis}`; null while none is complete
  #title;
  #note = make("span", { className: "muted" });
  #list = make("ol", { className: "hypotheses", hidden: true });
  #warnings = make("p", { className: "muted warnings", hidden: true });
  #question = make("div", { className: "asked" });
  #tools = make("p", { className: "tools", hidden: true });
  #problem = make("p", { className: "error", hidden: true, role: "alert" });
  #index;
  #wishes;

  /**
   * The `index`-th of `count` sentences; `wishes` are called with it and what the user asks for: `pick(index, picked)`
   * another hypothesis, `change(index, {prefix} or {target})` to decode again or to align what was edited,
   * `locate(index)` its place in the whole text.
   */
  constructor(index, count, wishes) {
    this.#index = index;
    this.#wishes = wishes;
    this.view = make("alignment-view");
    this.view.toggleAttribute("selectable");
    const title = count > 1 ? `Sentence ${index + 1} of ${count}` : "Alignment";
    this.#title = make("h2", { textContent: title, tabIndex: -1 });
    this.#tools.append(button("Edit this translation", () => this.#edit(), { className: "quiet" }));
    if (count > 1) this.#tools.append(button("In the whole text", () => wishes.locate(index), { className: "quiet" }));
    const head = make("div", { className: "head" }, this.#title, this.#note);
    const parts = [head, this.#list, this.#problem, this.view, this.#warnings, this.#question, this.#tools];
    this.element = make("article", { className: "sentence", ariaBusy: true }, ...parts);
    this.view.addEventListener("alignment-select", (event) => this.#ask(event.detail));
  }

  /** Shows a translation that is still coming. */
  grow(translation) {
    this.view.translation = translation;
  }

  /** Shows that what is seen no longer holds. */
  wait() {
    if (this.#holdsFocus) this.#title.focus(NO_SCROLL);
    this.shown = null;
    this.#question.replaceChildren();
    this.#problem.hidden = this.#tools.hidden = this.#warnings.hidden = true;
    this.element.ariaBusy = true;
  }

  /** Shows a complete translation, the picked one of its hypotheses; `change` is what was asked for, if anything. */
  show({ source, hypotheses }, picked, change) {
    const index = Math.min(picked, hypotheses.length - 1);
    const held = this.#holdsFocus;
    this.shown = { source, hypothesis: hypotheses[index] };
    this.#question.replaceChildren();
    this.#problem.hidden = true;
    this.view.translation = this.shown;
    this.#list.replaceChildren(...hypotheses.map((each, at) => this.#entry(each, at, at === index)));
    this.#list.hidden = false;
    if (held) this.#list.children[index].firstChild.focus(NO_SCROLL); // what had the focus is gone
    this.#tools.hidden = false;
    const warnings = (this.shown.hypothesis.diagnostics ?? []).map(describeFinding);
    this.#warnings.textContent = `Signs of trouble, often mistaken: ${warnings.join("; ")}.`;
    this.#warnings.hidden = warnings.length === 0;
    this.#note.textContent = describeChange(change, this.shown.hypothesis);
    this.element.ariaBusy = false;
  }

  /** Says why there is no translation. */
  fail(message) {
    this.wait();
    this.element.ariaBusy = false;
    this.view.translation = null;
    this.#list.hidden = true;
    this.#problem.textContent = message;
    this.#problem.hidden = false;
  }

  get #holdsFocus() {
    return this.element.contains(document.activeElement);
  }

  reveal() {
    this.element.scrollIntoView({ block: "start" });
    this.#title.focus(NO_SCROLL);
  }

  #entry(hypothesis, index, isShown) {
    const score = make("span", { className: "score", textContent: hypothesis.score.toFixed(3), title: "score" });
    const text = make("span", { dir: "auto", textContent: hypothesis.text || "(nothing)" });
    const entry = button("", () => this.#wishes.pick(this.#index, index), { ariaPressed: isShown });
    entry.append(text, score);
    return make("li", {}, entry);
  }

  #ask({ target, granularity }) {
    if (!target || !this.shown) return;
    const places = alternativesAt(this.shown.hypothesis, target, granularity);
    const close = () => {
      this.#question.replaceChildren();
      this.view.focusUnit("target", target.index);
    };
    this.#question.replaceChildren(questionPanel(places, (change) => this.#wishes.change(this.#index, change), close));
    this.#question.querySelector("button")?.focus(NO_SCROLL);
    this.view.scrollIntoView({ block: "nearest" }); // the panel sticks below what was clicked
  }

  #edit() {
    const text = make("textarea", { rows: 2, dir: "auto", spellcheck: false, value: this.shown.hypothesis.text });
    const form = make("form", { className: "edit" }, make("label", {}, "Your translation", text));
    const close = () => {
      this.#question.replaceChildren();
      this.#tools.querySelector("button").focus();
    };
    const submit = make("button", { textContent: "Align it" });
    form.append(submit, button("Cancel", close, { className: "quiet" }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#wishes.change(this.#index, { target: text.value });
    });
    form.addEventListener("keydown", (event) => event.key === "Escape" && close());
    this.#question.replaceChildren(form);
    text.focus();
  }
}

function describeFinding({ heuristic, source, target }) {
  const words = (side) => side.map(({ text }) => `“${text}”`).join(" ");
  if (heuristic === "unattended_source_word") return `${words(source)} may be left out`;
  if (heuristic === "repeated_target_word") return `${words(target)} may be repeated`;
  return `the links of ${words(target)} mean little`;
}

function describeChange(change, hypothesis) {
  if (change?.prefix !== undefined) return `decoded again from “${change.prefix}”`;
  if (change?.target !== undefined) return "given by hand, and aligned";
  return hypothesis.sentences?.some((sentence) => !sentence.finished) ? "cut at the length limit" : "";
}
