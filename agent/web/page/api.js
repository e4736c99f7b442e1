// Requests to the box, each with a time-out, and the status that all pages share.

const STATUS_TIMEOUT_MS = 5000;
const OLD_MS = 3500; // a status that is older than this is said to be old
const CLOCKS_DIFFER_MS = 2000; // below this, the way of a status explains the difference

/** What went wrong, in words for people. status: of HTTP, 0 where there was no answer. */
export class RequestError extends Error {
  constructor(text, status = 0) {
    super(text);
    this.status = status;
  }
}

/** JSON of a GET. Raises RequestError. */
export function get(path, timeout_ms = STATUS_TIMEOUT_MS) {
  return _request(path, {}, timeout_ms);
}

/** JSON of a POST, null where the answer has no body. Raises RequestError. */
export function post(path, body, timeout_ms = STATUS_TIMEOUT_MS) {
  const headers = { "Content-Type": "application/json" };
  return _request(path, { method: "POST", headers, body: JSON.stringify(body) }, timeout_ms);
}

async function _request(path, options, timeout_ms) {
  const signal = AbortSignal.timeout(timeout_ms);
  let reply;
  try {
    reply = await fetch(path, { ...options, signal, cache: "no-store", credentials: "same-origin" });
    if (reply.status === 204) return null;
    const body = await reply.json();
    if (reply.ok) return body;
    throw new RequestError(String(body.error || `the box answered with ${reply.status}`), reply.status);
  } catch (error) {
    if (error instanceof RequestError) throw error;
    if (reply && signal.aborted === false)
      throw new RequestError(`the box answered with ${reply.status}`, reply.status);
    const what =
      error.name === "TimeoutError" ? `no answer within ${timeout_ms / 1000} s` : "the box cannot be reached";
    throw new RequestError(`${what}: does 'reflexd web' run, and is the network up?`);
  }
}

/** The newest status of the box; pages subscribe to it. */
export class StatusMonitor {
  constructor() {
    this.value = null;
    this.error = null;
    this._answered();
    this.clock_offset_ms = 0; // the box's clock less ours
    this.listeners = new Set();
    this.period_ms = 1000;
    this.asking = false;
    document.addEventListener("visibilitychange", () => this.ask());
    window.addEventListener("online", () => this.ask());
  }

  /** Call it with each new status; at once where there is one. Returns what ends that. */
  subscribe(listener) {
    this.listeners.add(listener);
    if (this.value) listener(this.value);
    return () => this.listeners.delete(listener);
  }

  /** Ask now, and again after each period. A page that is not visible does not ask. */
  async ask() {
    clearTimeout(this.timer);
    if (this.asking || document.hidden) return;
    this.asking = true;
    try {
      this._accept(await get("/api/status"));
    } catch (error) {
      this.error = error;
    }
    this.asking = false;
    this.timer = setTimeout(() => this.ask(), this.period_ms);
  }

  _accept(status) {
    // A server that hangs behind a cache would repeat itself: only a new time is news.
    if (this.value && status.time === this.value.time) return;
    const difference_ms = status.time - Date.now();
    this.clock_offset_ms = Math.abs(difference_ms) > CLOCKS_DIFFER_MS ? difference_ms : 0;
    this.error = null;
    this._answered();
    this.value = status;
    for (const listener of [...this.listeners]) listener(status);
  }

  /** Two clocks: the page's own stands still while the computer sleeps, that of the day may be set back. */
  _answered() {
    this.answered_at = [performance.now(), Date.now()];
  }

  /** Seconds without an answer, 0 while answers come. */
  silent_s() {
    const silent_ms = Math.max(performance.now() - this.answered_at[0], Date.now() - this.answered_at[1]);
    return silent_ms > Math.max(OLD_MS, this.period_ms * 2 + 500) ? silent_ms / 1000 : 0;
  }
}

export const monitor = new StatusMonitor();

/** Now, by the box's clock, ms. */
export function boxTime() {
  return Date.now() + monitor.clock_offset_ms;
}
