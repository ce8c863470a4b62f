// Makes elements. Text reaches the document as text, never as HTML.

/** `properties` are set on the element; `dataset` and `attributes` are objects of their own. */
export function make(name, { dataset = {}, attributes = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  Object.assign(made.dataset, dataset);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function button(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

export const byId = (id) => document.getElementById(id);
