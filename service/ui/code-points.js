// The API counts Unicode code points; JavaScript's strings count UTF-16 units.

/** The offset in UTF-16 units of a code point of a text. */
export function utf16Offset(text, codePoint) {
  return Array.from(text).slice(0, codePoint).join("").length;
}

/** The characters of a text as people see them: no emoji and no accent is torn apart. */
export function graphemes(text) {
  return Array.from(new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text), (each) => each.segment);
}
