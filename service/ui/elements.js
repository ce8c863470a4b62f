// Makes elements. Text reaches the document as text, never as HTML.

export function make(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function button(text, onclick, properties = {}) {
  return make("button", { type: "button", onclick, ...properties }, text);
}

export const byId = (id) => document.getElementById(id);
