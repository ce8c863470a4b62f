// What people take away: text for the clipboard, files.

import { make } from "./elements.js";

/** JSON of what is seen: for each sentence its source and the hypothesis that is shown, as the API gave them. */
export function asJson(shown) {
  return JSON.stringify(shown, null, 2);
}

/** Pharaoh lines, one for each sentence, of the mechanism that is shown. */
export function asPharaoh(parts) {
  return parts.map((part) => part.links.map(({ source, target }) => `${source}-${target}`).join(" ")).join("\n");
}

/** A row for each cell of the matrices that are shown. */
export function asCsv(parts) {
  const lines = [["sentence", "source_index", "source", "target_index", "target", "weight", "linked"]];
  parts.forEach((part, sentence) => {
    const linked = new Set(part.links.map((link) => `${link.source}-${link.target}`));
    (part.weights ?? []).forEach((row, target) =>
      row.forEach((weight, source) => {
        const texts = [part.source.units[source].text, part.target.units[target].text];
        const yes = linked.has(`${source}-${target}`) ? 1 : 0;
        lines.push([sentence, source, texts[0], target, texts[1], weight, yes]);
      }),
    );
  });
  return lines.map((line) => line.map(quote).join(",")).join("\r\n") + "\r\n";
}

/** RFC 4180; a text that a spreadsheet would take for a formula stays text. */
function quote(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]./.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Copies text; also on plain http from another machine, where browsers have no clipboard interface. */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const carrier = make("textarea", { value: text });
  document.body.append(carrier);
  carrier.select();
  const done = document.execCommand("copy");
  carrier.remove();
  if (!done) throw new Error("The browser did not allow copying.");
}

/** Gives a file to the browser. */
export function download(name, content) {
  const href = URL.createObjectURL(content);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
