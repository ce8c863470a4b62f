// A translation that is still coming: the answer's shape, filled as far as tokens have come.

const WORD = /[\p{L}\p{N}\p{M}]+['’]?|[^\s\p{L}\p{N}\p{M}]/gu; // near enough until the answer comes

/** Takes the sentence at a place out of the whole text's source. */
export function sentenceSource(source, place) {
  const move = (unit) => ({ ...unit, start: unit.start - place.start, end: unit.end - place.start });
  return {
    text: Array.from(source.text).slice(place.start, place.end).join(""),
    sentences: [{ start: 0, end: place.end - place.start }],
    tokens: source.tokens.slice(...place.tokens).map(move),
    words: source.words.slice(...place.words).map(move),
  };
}

/** Collects the `token` events of one sentence. */
export class GrowingSentence {
  #tokens = [];
  #rows = [];
  #others = [];
  #text = "";
  drawn = 0; // the frame in which it will be

  constructor(source) {
    this.source = source;
  }

  add({ token, added, attention, other_attentions: others }) {
    this.#tokens.push(token);
    this.#text += added;
    this.#rows.push(attention);
    others.forEach((other, index) => {
      this.#others[index] ??= { mechanism: other.mechanism, rows: [] };
      this.#others[index].rows.push(other.attention);
    });
  }

  /** What is there, as `{source, hypothesis}`. */
  get translation() {
    const words = this.#words();
    const tokens = this.#tokens;
    const align = (rows) => alignment(rows, this.source, { tokens, words });
    const others = this.#others.map(({ mechanism, rows }) => ({ mechanism, ...align(rows) }));
    const hypothesis = { text: this.#text, tokens, words, alignment: align(this.#rows), other_alignments: others };
    return { source: this.source, hypothesis };
  }

  #words() {
    const counted = (units) => Array.from(this.#text.slice(0, units)).length;
    return Array.from(this.#text.matchAll(WORD), ({ 0: text, index }) => {
      const start = counted(index);
      return { text, start, end: start + Array.from(text).length };
    });
  }
}

/** The API's rule: columns of a word's tokens are added up, its rows averaged. */
function alignment(rows, source, target) {
  const columns = source.words.map((word) => members(source.tokens, word));
  const words = target.words.map((word) => {
    const own = members(target.tokens, word);
    return columns.map((column) => {
      const sum = own.reduce((all, row) => all + column.reduce((part, token) => part + rows[row][token], 0), 0);
      return own.length ? sum / own.length : 0;
    });
  });
  const links = words.flatMap((row, targetWord) => {
    const best = row.indexOf(Math.max(...row));
    return row[best] >= 0.1 ? [{ source: best, target: targetWord, weight: row[best] }] : [];
  });
  return { tokens: rows, words, links };
}

function members(tokens, word) {
  const inside = ({ start, end, special }) => !special && start >= word.start && start < word.end && end > start;
  return tokens.flatMap((token, index) => (inside(token) ? [index] : []));
}
