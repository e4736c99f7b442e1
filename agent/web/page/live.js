// A lane's live frames over a WebSocket: connects again by itself, confirms each frame once it is drawn.

import { boxTime } from "./api.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const SILENT_MS = 10000; // the box says every three seconds whether the lane is live: this socket is dead
const HISTORY = 600;

window.reflexd = { live: { history: [] } };

/**
 * @typedef {{t: number, width: number, height: number, inferred: boolean, evidence: Array, image: ?ImageBitmap}} Frame
 * @typedef {{lane: function(Object), state: function(boolean, string), frame: function(Frame)}} Handlers
 */

export class LiveStream {
  /**
   * @param {string} lane
   * @param {{rate: number, width?: number, record?: boolean}} options record: keep times in window.reflexd
   * @param {Handlers} handlers frame is called in order and has drawn when it returns
   */
  constructor(lane, options, handlers) {
    Object.assign(this, { lane, options, handlers, attempt: 0, closed: false, socket: null });
    if (options.record) window.reflexd.live = { lane, history: [] };
    this._visibility = () => (document.hidden ? this._rest() : this._connect());
    document.addEventListener("visibilitychange", this._visibility);
    this._connect();
  }

  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this._visibility);
    this._disconnect();
  }

  /** Nobody looks at the page. Whoever comes back sees first what was there before. */
  _rest() {
    this._disconnect();
    this.handlers.state(false, "this page was in the background; connecting");
  }

  _disconnect() {
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  _connect() {
    if (this.closed || this.socket || document.hidden) return;
    clearTimeout(this.timer);
    const query = new URLSearchParams({ lane: this.lane, rate: this.options.rate });
    if (this.options.width) query.set("width", this.options.width);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/live?${query}`);
    socket.binaryType = "arraybuffer";
    let drawn = Promise.resolve(); // frames one after the other, as they came
    socket.onmessage = ({ data }) => {
      this._listen(socket);
      if (typeof data === "string") this._text(JSON.parse(data));
      else drawn = drawn.then(() => this._draw(socket, data));
    };
    socket.onclose = () => this._lost(socket);
    this.socket = socket;
    this._listen(socket);
  }

  /** A socket that has been silent for long is given up: after a sleep nobody tells the browser that it is dead. */
  _listen(socket) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this._lost(socket), SILENT_MS);
  }

  _lost(socket) {
    if (this.socket !== socket) return;
    this._disconnect();
    this.handlers.state(false, "no connection to the box; trying again");
    const wait_ms = RETRY_MS[Math.min(this.attempt++, RETRY_MS.length - 1)];
    this.timer = setTimeout(() => this._connect(), wait_ms);
  }

  _text(message) {
    this.attempt = 0;
    if (message.type === "lane") this.handlers.lane(message);
    if (message.type === "state") this.handlers.state(message.live, message.reason);
  }

  async _draw(socket, data) {
    if (this.socket !== socket) return;
    try {
      const frame = await _decoded(data);
      if (this.socket !== socket) return;
      this.handlers.frame(frame);
      frame.image?.close();
      if (this.options.record) this._record(frame);
    } finally {
      if (socket.readyState === WebSocket.OPEN) socket.send("ok");
    }
  }

  _record(frame) {
    const drawn_at = performance.timeOrigin + performance.now();
    const { history } = window.reflexd.live;
    history.push([frame.t, drawn_at]);
    if (history.length > HISTORY) history.shift();
    const boxes = frame.evidence.filter((item) => item.box).map((item) => item.box);
    window.reflexd.live = { lane: this.lane, t: frame.t, boxes, history };
  }
}

/** uint32 n, n bytes of JSON, a JPEG or nothing. */
async function _decoded(data) {
  const length = new DataView(data).getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const jpeg = new Uint8Array(data, 4 + length);
  frame.image = jpeg.length ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null;
  return frame;
}

/** A live stream only while the element is on the screen. open() makes the stream; returns what ends both. */
export function whileVisible(node, open) {
  let stream = null;
  const observer = new IntersectionObserver(([entry]) => {
    stream?.close();
    stream = entry.isIntersecting ? open() : null;
  });
  observer.observe(node);
  return () => {
    observer.disconnect();
    stream?.close();
  };
}

/** Seconds since the frame was captured. */
export function age_s(frame) {
  return (boxTime() - frame.t) / 1000;
}
