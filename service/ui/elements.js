// Makes elements. Text reaches the document as text, never as HTML.

/** `properties` are set on the element; `attributes` is an object of its own. */
export function make(name, { attributes = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function button(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

export const byId = (id) => document.getElementById(id);
