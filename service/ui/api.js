// Talks with the service. Paths are relative, so the page also works below a prefix.

/** What went wrong, in words for people; `retryAfterS` where the service says when to come back. */
export class Problem extends Error {
  constructor(message, retryAfterS = null) {
    super(message);
    this.retryAfterS = retryAfterS;
  }
}

const BUSY_MS = 12;
const CUT_OFF = "The connection was lost before the translation was complete.";

async function send(path, body, signal) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, { ...options, signal });
  } catch (error) {
    throw signal?.aborted ? error : new Problem("The service cannot be reached.");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const retryAfter = Number(answer.headers.get("Retry-After"));
  throw new Problem(problem.detail ?? `The service answered with status ${answer.status}.`, retryAfter || null);
}

/** Asks for JSON, with a body by POST. */
export async function ask(path, body = null, signal = undefined) {
  const answer = await send(path, body, signal);
  try {
    return await answer.json();
  } catch (error) {
    throw signal?.aborted ? error : new Problem(CUT_OFF);
  }
}

/** Translates, and calls `receivers` by event with its data; what nobody receives is not even read as JSON. */
export async function streamTranslation(body, receivers, signal) {
  const answer = await send("translate/stream", body, signal);
  let [complete, begun] = [false, performance.now()];
  try {
    for await (const [event, data] of readEvents(answer.body)) {
      signal.throwIfAborted();
      if (event === "error") throw new Problem(JSON.parse(data).detail);
      receivers[event]?.(JSON.parse(data));
      if (performance.now() - begun > BUSY_MS) {
        await new Promise((go) => setTimeout(go)); // lets keys and clicks in
        begun = performance.now();
      }
      complete = event === "done";
    }
  } catch (error) {
    throw signal.aborted || error instanceof Problem ? error : new Problem(CUT_OFF);
  }
  if (!complete) throw new Problem(CUT_OFF);
}

async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let pieces = []; // of an event that is not complete; one of megabytes comes in many
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    pieces.push(value);
    if (!value.includes("\n\n") && !value.startsWith("\n")) continue;
    const blocks = pieces.join("").split("\n\n");
    pieces = [blocks.pop()];
    for (const block of blocks) {
      const [event, data] = block.split("\n");
      yield [event.slice("event: ".length), data.slice("data: ".length)];
    }
  }
}
