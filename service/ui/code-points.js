// The API counts Unicode code points; JavaScript's strings count UTF-16 units.

/** Gives for every code point boundary of a text its offset in UTF-16 units; the last one is the text's length. */
export function utf16Offsets(text) {
  const offsets = [0];
  for (const character of text) offsets.push(offsets[offsets.length - 1] + character.length);
  return offsets;
}

/** The characters of a text as people see them: no emoji and no accent is torn apart. */
export function graphemes(text) {
  if (!Intl.Segmenter) return Array.from(text);
  return Array.from(new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text), (each) => each.segment);
}
