// An event clip, played in place: its frames by URL, drawn as live ones.

import { get } from "./api.js";
import { scoreBars } from "./charts.js";
import { Board, drawFrame } from "./draw.js";
import { element, fill, notice, setText } from "./dom.js";

const LOAD_TIMEOUT_MS = 20000;
const WIDTH = 640;
const HEIGHT = 480;
const LONGEST_STEP_MS = 500; // a gap in the clip is not waited for

export class ClipPlayer {
  constructor(name) {
    this.name = name;
    this.pictures = new Map();
    this.node = element("div", { class: "player" }, element("p", { class: "muted" }, "Loading the clip…"));
    this._load();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.board?.close();
    for (const picture of this.pictures.values()) picture.then((image) => image?.close());
  }

  async _load() {
    try {
      this.clip = await get(`/api/clips/${encodeURIComponent(this.name)}`, LOAD_TIMEOUT_MS);
    } catch (error) {
      return fill(this.node, notice("warn", `The clip could not be read: ${error.message}`));
    }
    if (this.closed) return;
    const note = this.clip.note ? element("p", { class: "muted" }, this.clip.note) : null;
    if (!this.clip.frames.length) return fill(this.node, note || notice("off", "Nothing can be played of this clip."));
    this._build(note);
  }

  _build(note) {
    const lanes = Object.keys(this.clip.lanes);
    const lane = element(
      "select",
      { onchange: () => this._choose(lane.value) },
      lanes.map((name) => element("option", {}, name)),
    );
    this.canvas = element("canvas", { role: "img", "aria-label": `clip ${this.name}` });
    this.scores = element("div");
    this.button = element("button", { onclick: () => (this.timer ? this._pause() : this._play()) }, "Play");
    this.slider = element("input", {
      type: "range",
      min: 0,
      value: 0,
      "aria-label": "Position in the clip",
      oninput: () => this._seek(),
    });
    this.time = element("span", { class: "number" });
    this.said = element("p");
    fill(
      this.node,
      lanes.length > 1 ? element("label", { class: "row" }, "Lane", lane) : null,
      this.canvas,
      this.scores,
      element("div", { class: "row" }, this.button, this.slider, this.time),
      this.said,
      note,
    );
    this.board = new Board(this.canvas);
    const first = lanes.find((name) => this.clip.lanes[name].kind === "picture") || lanes[0];
    lane.value = first;
    this._choose(first);
    this._play();
  }

  _choose(lane) {
    this._pause();
    this.lane = lane;
    this.frames = this.clip.frames.filter((frame) => frame.lane === lane);
    this.canvas.hidden = this.clip.lanes[lane].kind !== "picture";
    this.slider.max = Math.max(0, this.frames.length - 1);
    this.slider.value = 0;
    this._show(0);
  }

  _play() {
    if (this.slider.value >= this.frames.length - 1) this.slider.value = 0;
    setText(this.button, "Pause");
    this.timer = setTimeout(() => this._step(), 0);
  }

  _pause() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.button) setText(this.button, "Play");
  }

  _seek() {
    this._pause();
    this._show(Number(this.slider.value));
  }

  async _step() {
    const begun = performance.now();
    const place = Number(this.slider.value);
    await this._show(place);
    if (this.closed || !this.timer) return;
    const [frame, next] = [this.frames[place], this.frames[place + 1]];
    if (!next) return this._pause();
    const step_ms = Math.min(next.t - frame.t, LONGEST_STEP_MS) - (performance.now() - begun);
    this.timer = setTimeout(
      () => {
        this.slider.value = place + 1;
        this._step();
      },
      Math.max(0, step_ms),
    );
  }

  async _show(place) {
    const frame = this.frames[place];
    if (!frame) return setText(this.time, "no frames of this lane");
    const image = frame.picture ? await this._picture(place) : null;
    if (this.closed || frame !== this.frames[Number(this.slider.value)]) return;
    const { zones } = this.clip.lanes[this.lane];
    const [width, height] = image ? [image.width, image.height] : [WIDTH, HEIGHT];
    if (!this.canvas.hidden) drawFrame(this.board, { ...frame, width, height, image, inferred: true }, { zones });
    fill(
      this.scores,
      frame.evidence.some((item) => !item.box)
        ? scoreBars(frame.evidence.map((item) => ({ ...item, threshold: null, held: false })))
        : null,
    );
    setText(this.time, `${_seconds(frame.t - this.clip.start)} of ${_seconds(this.clip.end - this.clip.start)} s`);
    const decision = this.clip.decisions.filter((one) => one.t <= frame.t).sort((a, b) => b.t - a.t)[0];
    setText(
      this.said,
      decision
        ? `${decision.actuator}: ${decision.verb}, ${decision.rule || "at rest"}: ${decision.explanation}`
        : "before the decision",
    );
    if (image) this._picture(place + 1);
  }

  /** Loaded once; null where it is not kept or may not be shown. */
  _picture(place) {
    const frame = this.frames[place];
    if (!frame?.picture) return Promise.resolve(null);
    if (!this.pictures.has(frame.n))
      this.pictures.set(frame.n, _loaded(`/api/clips/${encodeURIComponent(this.name)}/${frame.n}.jpg`));
    return this.pictures.get(frame.n);
  }
}

function _seconds(ms) {
  return (ms / 1000).toFixed(2);
}

async function _loaded(url) {
  try {
    const reply = await fetch(url, { signal: AbortSignal.timeout(LOAD_TIMEOUT_MS) });
    return reply.ok ? await createImageBitmap(await reply.blob()) : null;
  } catch {
    return null;
  }
}
