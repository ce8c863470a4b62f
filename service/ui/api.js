// Talks with the service. Paths are relative, so the page also works below a prefix.

/** What went wrong, in words for people; `retryAfterS` where the service says when to come back. */
export class Problem extends Error {
  constructor(message, retryAfterS = null) {
    super(message);
    this.retryAfterS = retryAfterS;
  }
}

const GONE = "The service cannot be reached.";
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
    throw signal?.aborted ? error : new Problem(GONE);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const retryAfter = Number(answer.headers.get("Retry-After"));
  throw new Problem(problem.detail ?? `The service answered with status ${answer.status}.`, retryAfter || null);
}

/**
 * Asks for JSON.
 * @param {string} path
 * @param {object | null} body null for GET
 * @param {AbortSignal} [signal]
 */
export async function ask(path, body = null, signal = undefined) {
  const answer = await send(path, body, signal);
  try {
    return await answer.json();
  } catch (error) {
    throw signal?.aborted ? error : new Problem(CUT_OFF);
  }
}

/**
 * Translates and passes on what comes, as it comes.
 * @param {object} body of `POST /translate/stream`
 * @param {(event: string, data: object) => void} receive for every event but `error`
 * @param {AbortSignal} signal
 */
export async function streamTranslation(body, receive, signal) {
  const answer = await send("translate/stream", body, signal);
  let complete = false;
  try {
    for await (const [event, data] of readEvents(answer.body)) {
      if (event === "error") throw new Problem(data.detail);
      receive(event, data);
      complete = event === "done";
    }
  } catch (error) {
    throw signal.aborted || error instanceof Problem ? error : new Problem(CUT_OFF);
  }
  if (!complete) throw new Problem(CUT_OFF);
}

async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [event, data] = block.split("\n");
      yield [event.slice("event: ".length), JSON.parse(data.slice("data: ".length))];
    }
  }
}
