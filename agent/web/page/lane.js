// Lane: the live picture or plot with what the models find, scores against the rules' thresholds, and the latency.

import { get, monitor } from "./api.js";
import { Board } from "./board.js";
import { RollingPlot, scoreBars } from "./charts.js";
import { badge, element, facts, fill, notice, setText } from "./dom.js";
import { drawFrame } from "./draw.js";
import { driftNotice, driftWords } from "./drift.js";
import { laneLevel, laneWords } from "./judge.js";
import { latency, worstSamples } from "./latency.js";
import { age_s, LiveStream } from "./live.js";
import { scores } from "./scores.js";
import { Trails } from "./trails.js";
import { clock, duration, listed, ms, rate } from "./words.js";

const PICTURE_HZ = 30;
const PLOT_HZ = 10;
const WORDS_MS = 250; // texts and bars that changed with each frame could not be read
const DETAILS_MS = 3000;

export function open(root, name) {
  const page = new LanePage(root, name);
  return () => page.close();
}

class LanePage {
  constructor(root, name) {
    Object.assign(this, { root, name, kind: null, lane: null, shown_at: 0, trails: new Trails() });
    this.state = element("div", { class: "state" });
    this.drift = element("div");
    this.tabs = element("nav", { class: "tabs", "aria-label": "Lanes" });
    this.figure = element("figure", { class: "live" });
    this.side = element("div", { class: "side" });
    this.details = element("div");
    fill(
      root,
      element("h1", {}, name),
      this.tabs,
      this.state,
      this.drift,
      element("div", { class: "lane-view" }, this.figure, this.side),
      this.details,
    );
    this.unsubscribe = monitor.subscribe((status) => this._status(status));
    this._refresh();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.unsubscribe();
    this.stream?.close();
    this.board?.close();
  }

  _status(status) {
    const names = status.lanes.map((lane) => lane.name);
    if (names.join() !== this.names) {
      this.names = names.join();
      fill(
        this.tabs,
        names.map((name) =>
          element(
            "a",
            { href: `#/lane/${encodeURIComponent(name)}`, "aria-current": name === this.name ? "page" : null },
            name,
          ),
        ),
      );
    }
    const lane = status.lanes.find((one) => one.name === this.name);
    const kind = status.kinds[this.name] ?? null;
    if (kind !== this.kind || !lane) this._watch(lane ? kind : null, names);
    fill(this.drift, lane ? driftNotice(lane) : null);
    if (!lane) return;
    const late = `p99 ${ms(lane.p99_ms)} ms of ${ms(lane.budget_ms)} ms budget`;
    const figures = `${rate(lane.rate_hz)}, p50 ${ms(lane.p50_ms)} ms, ${late}`;
    fill(
      this.state,
      badge(laneLevel(lane), laneWords(lane)),
      element("span", {}, lane.reason || (lane.state === "stopped" ? `last run: ${figures}` : figures)),
      driftWords(lane) ? element("span", { class: "muted" }, `drift ${driftWords(lane)}`) : null,
    );
  }

  /** Begin to watch, or say why there is nothing to see. */
  _watch(kind, names) {
    this.stream?.close();
    this.stream = null;
    this.kind = kind;
    if (kind === null) {
      fill(this.state);
      const lanes = names.length ? `This box has ${listed(names)}.` : "This box has no lanes.";
      fill(this.figure, notice("off", `There is no lane ‘${this.name}’ now. ${lanes}`));
      return;
    }
    if (!kind) return fill(this.figure, notice("off", "This lane's driver is not known: there is nothing to draw."));
    this.canvas = element("canvas", { role: "img", "aria-label": `live view of lane ${this.name}` });
    this.caption = element("figcaption");
    fill(this.figure, this.canvas, this.caption);
    this.board?.close();
    this.board = kind === "picture" ? new Board(this.canvas) : null;
    this.plot = kind === "picture" ? null : new RollingPlot(this.canvas);
    const options = { rate: kind === "picture" ? PICTURE_HZ : PLOT_HZ, record: true };
    this.stream = new LiveStream(this.name, options, {
      lane: (lane) => this._lane(lane),
      state: (live, reason) => this._live(live, reason),
      frame: (frame) => this._frame(frame),
    });
  }

  _lane(lane) {
    this.lane = lane;
    this.plot?.setChannels(lane.kind === "sound" ? ["level", "peak"] : lane.channels);
    this.live = undefined;
  }

  _live(live, reason) {
    this.live = live;
    this.figure.classList.toggle("stale", !live);
    if (!live) setText(this.caption, `Old: ${reason || "the lane writes nothing now"}`);
  }

  _frame(frame) {
    const lane = this.lane || {};
    if (this.board) drawFrame(this.board, frame, { ...lane, trails: this.trails });
    else {
      this.plot.push(frame.rows || [[frame.t, frame.level, frame.peak]]);
      this.plot.draw();
    }
    if (performance.now() - this.shown_at < WORDS_MS) return;
    this.shown_at = performance.now();
    this._showWords(frame, lane);
  }

  _showWords(frame, lane) {
    const span = this.plot ? "the last 20 seconds" : "";
    const words = [lane.why, span, `captured ${clock(frame.t)}`, `${_age(frame)} old`, _stages(frame)];
    if (this.live !== false) setText(this.caption, words.filter(Boolean).join(" · "));
    const bars = scoreBars(scores(frame, lane));
    const nothing = element("p", { class: "muted" }, "nothing detected");
    fill(
      this.side,
      element("h2", {}, "Evidence"),
      bars.children.length ? bars : nothing,
      _level(frame),
      _about(lane, this.kind),
    );
  }

  /** Latency and the worst samples, once in a while. */
  async _refresh() {
    try {
      if (monitor.value && this.kind === null) return fill(this.details);
      const details = await get(`/api/lanes/${encodeURIComponent(this.name)}`);
      if (this.closed) return;
      fill(this.details, latency(details), worstSamples(details));
    } catch (error) {
      if (this.closed) return;
      if (error.status === 404) fill(this.details);
      else if (!this.details.firstChild) fill(this.details, notice("warn", `No latencies: ${error.message}`));
    } finally {
      if (!this.closed) this.timer = setTimeout(() => this._refresh(), DETAILS_MS * (document.hidden ? 4 : 1));
    }
  }
}

function _age(frame) {
  const age = age_s(frame);
  return age < 1 ? `${Math.max(0, age * 1000).toFixed(0)} ms` : duration(age);
}

function _stages({ inferred, times = {} }) {
  if (inferred === false) return "no inference on this sample: the gate or ‘every’ passed it over";
  if (!("infer_ms" in times)) return "";
  return `prepare ${ms(times.prepare_ms)}, infer ${ms(times.infer_ms)}, decide ${ms(times.decide_ms)} ms`;
}

/** Sound: decibels below full scale. */
function _level(frame) {
  if (frame.level === undefined) return null;
  const decibels = (value) => (value > 0 ? `${(20 * Math.log10(value)).toFixed(0)} dB` : "silence");
  return facts([
    ["Level", decibels(frame.level)],
    ["Peak", decibels(frame.peak)],
  ]);
}

function _about(lane, kind) {
  const models = [lane.model, lane.refine && `refined by ${lane.refine}`, lane.then && `then ${lane.then}`];
  const zones = Object.keys(lane.zones || {}).join(", ");
  const link = element("a", { href: `#/zones/${encodeURIComponent(lane.name)}` }, zones || "draw some");
  return facts([
    ["Model", models.filter(Boolean).join(", ")],
    ["Source", lane.driver],
    ["Zones", kind === "picture" ? link : ""],
  ]);
}
