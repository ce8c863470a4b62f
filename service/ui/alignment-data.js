// From the API's answer to what is drawn: parts (sentences) with units (words or tokens), weights and links.

import { isRightToLeft } from "./geometry.js";

const LEAST_TOKEN_LINK = 0.1; // the API links words only; between tokens, curves show weights from here on

/** Takes `{source, hypothesis}`, or an item of the API's `translations` or `pairs`, to the former, or null. */
export function pickHypothesis(translation, index = 0) {
  const { source, hypothesis, hypotheses, target } = translation ?? {};
  const picked = hypothesis ?? target ?? hypotheses?.[index];
  return source && picked ? { source, hypothesis: picked } : null;
}

/**
 * Reads what is to be drawn into parts, one for each sentence: `source` and `target` `{units, rightToLeft}`, `weights`
 * (target x source) or null, `links` between the part's units, `first`, the index of each side's first unit in the whole text.
 */
export function readParts({ source, hypothesis }, { granularity, mechanism }) {
  const sentences = hypothesis.sentences?.length ? hypothesis.sentences : [wholeText(source, hypothesis)];
  return sentences.map((sentence) => {
    const whole = ofMechanism(hypothesis, mechanism);
    const own = ofMechanism(sentence, mechanism) ?? whole;
    const [sourceRange, targetRange] = [sentence.source[granularity], sentence.target[granularity]];
    const part = {
      source: readSide(source, granularity, sourceRange),
      target: readSide(hypothesis, granularity, targetRange),
      first: { source: sourceRange[0], target: targetRange[0] },
      weights: own?.[granularity] ?? null,
    };
    part.links =
      granularity === "words" ? within(whole?.links ?? [], sourceRange, targetRange) : strongCells(part.weights ?? []);
    return part;
  });
}

function wholeText(source, hypothesis) {
  const place = (side) => ({ words: [0, side.words.length], tokens: [0, side.tokens.length] });
  return { source: place(source), target: place(hypothesis) };
}

function ofMechanism(holder, mechanism) {
  const other = (holder.other_alignments ?? []).find((each) => each.mechanism === mechanism);
  return other ?? holder.alignment ?? null;
}

function readSide(side, granularity, [first, end]) {
  const units = side[granularity].slice(first, end).map((unit, index, all) => ({
    text: unit.special ? "⏎" : unit.text,
    start: unit.start,
    end: unit.end,
    special: unit.special ?? false,
    joined: index > 0 && unit.start === all[index - 1].end && !unit.special,
    logProb: unit.log_prob ?? (granularity === "words" ? wordLogProb(side.tokens, unit) : null),
  }));
  return { units, rightToLeft: isRightToLeft(units.map(({ text }) => text).join(" ")) };
}

/** A word is as likely as its tokens together; null where the API gave no log-probabilities. */
function wordLogProb(tokens, word) {
  const own = tokens.filter((token) => token.start >= word.start && token.end <= word.end && token.end > token.start);
  if (own.length === 0 || own.some((token) => token.log_prob === undefined)) return null;
  return own.reduce((sum, token) => sum + token.log_prob, 0);
}

function within(links, [sourceFirst, sourceEnd], [targetFirst, targetEnd]) {
  return links
    .filter(({ source: s, target: t }) => s >= sourceFirst && s < sourceEnd && t >= targetFirst && t < targetEnd)
    .map((link) => ({ ...link, source: link.source - sourceFirst, target: link.target - targetFirst }));
}

function strongCells(weights) {
  return weights.flatMap((row, target) =>
    row.flatMap((weight, source) => (weight >= LEAST_TOKEN_LINK ? [{ source, target, weight }] : [])),
  );
}
