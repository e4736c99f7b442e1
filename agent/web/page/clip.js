// An event clip, played in place: its frames by URL, drawn as live ones; of a sensor its readings.

import { get, monitor } from "./api.js";
import { Board } from "./board.js";
import { RollingPlot, scoreBars } from "./charts.js";
import { element, fill, notice, setText } from "./dom.js";
import { drawFrame } from "./draw.js";
import { scores } from "./scores.js";

const LOAD_TIMEOUT_MS = 20000;
const WIDTH = 640; // of a blank, where the frame's size is not known
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
    this.view = element("figure");
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
    this.said = element("div", { class: "said" });
    fill(
      this.node,
      lanes.length > 1 ? element("label", { class: "row" }, "Lane", lane) : null,
      this.view,
      element("div", { class: "row" }, this.button, this.slider, this.time),
      this.said,
      this.scores,
      note,
    );
    const first = lanes.find((name) => this.clip.lanes[name].kind === "picture") || lanes[0];
    lane.value = first;
    this._choose(first);
    this._play();
  }

  _choose(name) {
    this._pause();
    this.lane = this.clip.lanes[name];
    this.frames = this.clip.frames.filter((frame) => frame.lane === name);
    const label = `clip ${this.name}, lane ${name}`;
    this.canvas = this.lane.kind === "sound" ? null : element("canvas", { role: "img", "aria-label": label });
    fill(this.view, this.canvas, element("figcaption", {}, this._caption()));
    this.board?.close();
    this.board = this.lane.kind === "picture" ? new Board(this.canvas) : null;
    this.plot = this.lane.kind === "readings" ? this._wholePlot() : null;
    this.slider.max = Math.max(0, this.frames.length - 1);
    this.slider.value = 0;
    this._show(0);
  }

  /** Why something is missing. */
  _caption() {
    if (this.lane.kind === "sound") return "Sound is never recorded: these are the scores of the model.";
    if (this.lane.kind !== "picture") return "";
    if (this.frames.some((frame) => frame.picture)) return monitor.value?.web.why || "";
    return "Pictures were not recorded: recorder: {pictures: clips} in the configuration keeps them.";
  }

  /** All readings of the clip at once; a line shows the moment. */
  _wholePlot() {
    const rows = this.frames.flatMap((frame) => frame.rows);
    const span_ms = rows.length ? Math.max(1, rows[rows.length - 1][0] - rows[0][0]) : 1;
    const plot = new RollingPlot(this.canvas, { span_ms });
    plot.setChannels(this.lane.channels);
    plot.push(rows);
    return plot;
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

  /** Frames for which there was no time to draw them are left out. */
  async _step() {
    const begun = performance.now();
    const place = Number(this.slider.value);
    await this._show(place);
    if (this.closed || !this.timer) return;
    if (place + 1 >= this.frames.length) return this._pause();
    const passed_ms = performance.now() - begun;
    let next = place + 1;
    const wait_ms = () => Math.min(this.frames[next].t - this.frames[place].t, LONGEST_STEP_MS) - passed_ms;
    while (next + 1 < this.frames.length && wait_ms() < 0) next += 1;
    this.timer = setTimeout(
      () => {
        this.slider.value = next;
        this._step();
      },
      Math.max(0, wait_ms()),
    );
  }

  async _show(place) {
    const frame = this.frames[place];
    if (!frame) return setText(this.time, "no frames of this lane");
    const image = frame.picture ? await this._picture(place) : null;
    if (this.closed || frame !== this.frames[Number(this.slider.value)]) return;
    const [height, width] = this.lane.frame.length ? this.lane.frame : [HEIGHT, WIDTH];
    const shown = { ...frame, evidence: this._evidence(place) };
    if (this.board) drawFrame(this.board, { ...shown, width, height, image }, this.lane);
    this.plot?.draw(
      frame.t,
      this.clip.decisions.map((decision) => decision.t),
    );
    fill(this.scores, scoreBars(scores(shown, this.lane)));
    setText(this.time, `${_seconds(frame.t - this.clip.start)} of ${_seconds(this.clip.end - this.clip.start)} s`);
    fill(this.said, this._inForce(frame.t));
    if (image) this._picture(place + 1);
  }

  /** Of this frame, or where its inference was held back, of the newest one before it. */
  _evidence(place) {
    while (place > 0 && !this.frames[place].inferred) place -= 1;
    return this.frames[place].evidence;
  }

  /** The newest decision of each actuator at that time. */
  _inForce(t) {
    const newest = new Map();
    const past = this.clip.decisions.filter((decision) => decision.t <= t).sort((a, b) => a.t - b.t);
    for (const decision of past) newest.set(decision.actuator, decision);
    if (!newest.size) return element("p", { class: "muted" }, "before the decision");
    return [...newest.values()].map(({ actuator, verb, rule, explanation }) =>
      element("p", {}, element("strong", {}, `${actuator}: ${verb}`), `, ${rule || "at rest"}: ${explanation}`),
    );
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
