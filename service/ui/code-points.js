// The API counts Unicode code points; JavaScript's strings count UTF-16 units.

/**
 * Gives for every code point boundary of a text its offset in UTF-16 units; the last one is the text's length.
 * @param {string} text
 * @returns {number[]}
 */
export function utf16Offsets(text) {
  const offsets = [0];
  for (const character of text) offsets.push(offsets[offsets.length - 1] + character.length);
  return offsets;
}

/**
 * Cuts a text into its words and what lies between them.
 * @param {string} text
 * @param {{start: number, end: number}[]} words ranges in code points, in order, not overlapping
 * @returns {{text: string, word: number | null}[]} `word` is an index into `words`, null between words
 */
export function cutIntoWords(text, words) {
  const offsets = utf16Offsets(text);
  const pieces = [];
  let position = 0;
  const add = (end, word) => {
    if (end > position) pieces.push({ text: text.slice(position, end), word });
    position = end;
  };
  words.forEach(({ start, end }, word) => {
    add(offsets[start], null);
    add(offsets[end], word);
  });
  add(text.length, null);
  return pieces;
}
