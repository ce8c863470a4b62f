// The look of <alignment-view>. Every colour can be set from outside; the defaults follow `color-scheme`.
// One hue from nothing to dark (in the dark: to light): the order of weights survives colour blindness and grey print.

const CSS = `
:host {
  display: block;
  --_text: var(--alignment-text, light-dark(#1c2326, #e6ebea));
  --_muted: var(--alignment-muted, light-dark(#5b666b, #9aa7aa));
  --_line: var(--alignment-line, light-dark(#d7dcdb, #37424a));
  --_surface: var(--alignment-surface, light-dark(#ffffff, #1c2326));
  --_heat: var(--alignment-heat, light-dark(#084594, #9ecbff));
  --_link: var(--alignment-link, light-dark(#3a78b5, #6fa8dc));
  --_mark: var(--alignment-mark, light-dark(#ffe08a, #6b5510));
  --_accent: var(--alignment-accent, light-dark(#b34700, #ffb454));
  --_doubt: var(--alignment-doubt, light-dark(#c2410c, #ff9d5c));
  color: var(--_text);
  font-family: var(--alignment-font, system-ui, sans-serif);
}
:host([hidden]) { display: none; }
.form {
  direction: ltr; /* also on right-to-left pages */
  forced-color-adjust: none;
  overflow: auto;
  max-height: var(--alignment-max-height, max(36rem, 80vh));
  background: var(--_surface);
  border-radius: 6px;
  position: relative;
}
.form + .form { margin-top: 0.5rem; border-top: 1px solid var(--_line); }
.form:focus-visible { outline: 2px solid var(--_accent); outline-offset: -2px; }
svg { display: block; margin: 0 auto; }
svg text { fill: var(--_text); }
.unit { cursor: default; outline: none; }
:host([selectable]) .target .unit:not(.special) { cursor: pointer; }
.box { fill: transparent; }
.special text { fill: var(--_muted); }
.unit:hover .box, .unit.lit .box { fill: var(--_mark); }
.unit:focus-visible .box { stroke: var(--_accent); stroke-width: 2; fill: var(--_mark); }
.unit.selected .box { stroke: var(--_accent); stroke-width: 1.5; }
.doubt { fill: var(--_doubt); display: none; }
:host([confidence]) .doubt { display: inline; }
.curve { fill: none; stroke: var(--_link); stroke-opacity: 0.75; }
.lighting .curve { stroke-opacity: 0.15; }
.lighting .curve.lit { stroke: var(--_accent); stroke-opacity: 1; }
.backdrop { fill: var(--_surface); }
.cell { fill: var(--_heat); }
.grid, .scale { fill: none; stroke: var(--_line); }
.legend text { fill: var(--_muted); }
.label.lit { font-weight: 700; fill: var(--_accent); }
.band { fill: none; stroke: var(--_accent); stroke-opacity: 0.45; }
.frame { fill: none; stroke: var(--_accent); stroke-width: 2.5; }
.readout { min-height: 1.5em; margin: 0.4rem 0 0; color: var(--_muted); font-size: 0.9rem; text-align: center; overflow-wrap: anywhere; }
.readout b { color: var(--_text); font-weight: 600; }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); contain: strict; inset: 0; }
@media print {
  :host { color-scheme: light; }
  .form { overflow: visible; max-height: none; }
  svg { print-color-adjust: exact; max-width: 100%; height: auto; }
}
`;

/** @returns {CSSStyleSheet} made here, which a strict Content-Security-Policy allows */
export function alignmentStyle() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  return sheet;
}
