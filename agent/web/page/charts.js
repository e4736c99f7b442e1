// Small charts: a line with its budget, channels that roll by, bars of scores, bars of latency.

import { element, svg } from "./dom.js";
import { ms } from "./words.js";

const PLOT_MS = 20000;
const COLUMNS = 500; // of a rolling plot: each keeps the least and the greatest value of its time
const GAP = 50; // columns without a value, over which no line is drawn
const BAND = 76; // height of a channel, CSS pixels
const FEW_BANDS = 3;
const MOST = 8; // channels

/** A line of numbers (null: a gap) with the limit as a dashed line. Text beside it says the figures. */
export function sparkline(values, limit, label) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(limit * 1.25, ...known, 1e-6);
  const y = (value) => (38 - (36 * value) / top).toFixed(1);
  const x = (n) => ((120 * n) / Math.max(1, values.length - 1)).toFixed(1);
  let pen = "M";
  let path = "";
  values.forEach((value, n) => {
    if (value !== null) path += `${pen}${x(n)} ${y(value)}`;
    pen = value === null ? "M" : "L";
  });
  return svg(
    "svg",
    { class: "spark", viewBox: "0 0 120 40", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("line", { class: "limit", x1: 0, x2: 120, y1: y(limit), y2: y(limit) }),
    svg("path", { class: "curve", d: path }),
  );
}

/** Scores as bars, with a mark where a rule's threshold is. rows: {label, score, threshold: ?number, held: boolean}. */
export function scoreBars(rows) {
  return element(
    "ul",
    { class: "scores" },
    rows.map(({ label, score, threshold, held, note }) => {
      const bar = element("span", { class: "bar" }, element("span", { class: held ? "fill held" : "fill" }));
      bar.firstChild.style.width = `${Math.min(1, Math.max(0, score)) * 100}%`;
      if (threshold !== null) {
        const mark = element("span", { class: "threshold" });
        mark.style.left = `${threshold * 100}%`;
        bar.append(mark);
      }
      const limit = threshold === null ? "" : ` of ${threshold.toFixed(2)}`;
      return element(
        "li",
        {},
        element("span", { class: "name" }, label, note ? element("small", {}, note) : null),
        bar,
        element("span", { class: "value" }, score.toFixed(2), element("small", {}, limit)),
      );
    }),
  );
}

/**
 * Stacked bars on one scale. bars: {name, values: {part: ms}, total: ms}. The parts' colours: classes part-0, part-1...
 */
export function stackedBars(parts, bars, budget_ms) {
  const sum = (values) => parts.reduce((total, part) => total + (values[part] || 0), 0);
  const longest = Math.max(budget_ms || 0, ...bars.map((bar) => sum(bar.values)), 1e-6) * 1.02;
  return element(
    "div",
    { class: "stacked" },
    bars.map((bar) => {
      const stack = element("div", { class: "stack", role: "img", "aria-label": _spoken(parts, bar) });
      parts.forEach((part, n) => {
        const piece = element("span", { class: `part-${n}`, title: `${part} ${ms(bar.values[part])} ms` });
        piece.style.width = `${(100 * (bar.values[part] || 0)) / longest}%`;
        stack.append(piece);
      });
      if (budget_ms) {
        const mark = element("span", { class: "budget", title: `budget ${ms(budget_ms)} ms` });
        mark.style.left = `${(100 * budget_ms) / longest}%`;
        stack.append(mark);
      }
      return element(
        "div",
        { class: "stack-row" },
        element("span", { class: "stack-name" }, bar.name),
        stack,
        element("span", { class: "stack-total" }, `${ms(bar.total)} ms`),
      );
    }),
  );
}

function _spoken(parts, bar) {
  return `${bar.name}: ${parts.map((part) => `${part} ${ms(bar.values[part])} ms`).join(", ")}`;
}

/** The last seconds of a lane's channels, each in a band with its own scale. Drawing costs the same at any rate. */
export class RollingPlot {
  constructor(canvas, { height = null, most = MOST, span_ms = PLOT_MS } = {}) {
    Object.assign(this, { canvas, height, most, column_ms: span_ms / COLUMNS });
    Object.assign(this, { columns: new Map(), newest: 0, channels: [] });
  }

  setChannels(names) {
    if (names.join() === this.channels.join()) return;
    this.channels = names;
    this.columns.clear();
  }

  /** rows: [t, value of each channel...]. */
  push(rows) {
    for (const [t, ...values] of rows) {
      const column = Math.floor(t / this.column_ms);
      if (!this.columns.has(column))
        this.columns.set(
          column,
          values.map((value) => [value, value]),
        );
      const extremes = this.columns.get(column);
      values.forEach((value, n) => {
        if (!extremes[n] || !Number.isFinite(value)) return;
        if (value < extremes[n][0]) extremes[n][0] = value;
        if (value > extremes[n][1]) extremes[n][1] = value;
      });
      this.newest = Math.max(this.newest, t);
    }
    for (const column of this.columns.keys()) {
      if (column > this.newest / this.column_ms - COLUMNS) break; // the oldest come first
      this.columns.delete(column);
    }
  }

  /** cursor: a time, at which the figures are; without it they are the newest. marks: times of decisions. */
  draw(cursor = null, marks = []) {
    const shown = this.channels.slice(0, this.most);
    const count = Math.max(1, shown.length);
    const band = this.height ? this.height / count : count <= FEW_BANDS ? BAND * 1.5 : BAND;
    const ratio = devicePixelRatio;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(count * band * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.canvas.style.height = `${height / ratio}px`;
    }
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.canvas);
    const theme = { line: style.getPropertyValue("--line"), text: style.color, rule: style.getPropertyValue("--rule") };
    const first = Math.floor(this.newest / this.column_ms) - COLUMNS + 1;
    const x = (column) => ((column - first) / COLUMNS) * width;
    const times = marks.map((t) => [t, style.getPropertyValue("--held")]);
    if (cursor !== null) times.push([cursor, theme.text]);
    const lines = times.map(([t, colour]) => [x(t / this.column_ms), colour]);
    const until = (cursor ?? Infinity) / this.column_ms;
    const place = { x, width, band: band * ratio, ratio, theme, lines, until };
    shown.forEach((name, n) => this._drawBand(context, name, n, { ...place, top: n * band * ratio }));
  }

  _drawBand(context, name, channel, { x, width, top, band, ratio, theme, lines, until }) {
    const columns = [...this.columns].filter(([, extremes]) => Number.isFinite(extremes[channel]?.[0]));
    const [low, high] = _scale(columns.map(([, extremes]) => extremes[channel]));
    const text_height = 16 * ratio;
    const y = (value) => top + band - 4 * ratio - ((value - low) / (high - low)) * (band - text_height - 8 * ratio);
    for (const [at, colour] of lines) {
      context.fillStyle = colour;
      context.fillRect(at, top + text_height, 2 * ratio, band - text_height); // below the figures
    }
    context.strokeStyle = theme.line;
    context.lineWidth = 1.5 * ratio;
    context.lineJoin = "round";
    context.beginPath();
    let before = -Infinity;
    for (const [column, extremes] of columns) {
      if (column - before > GAP) context.moveTo(x(column), y(extremes[channel][0]));
      before = column;
      context.lineTo(x(column), y(extremes[channel][0]));
      context.lineTo(x(column), y(extremes[channel][1]));
    }
    context.stroke();
    context.fillStyle = theme.rule;
    context.fillRect(0, top + band - ratio, width, ratio);
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    context.fillStyle = theme.text;
    const past = columns.filter(([column]) => column <= until);
    const newest = past.length ? past[past.length - 1][1][channel][1] : null;
    context.fillText(name, 0, top + 13 * ratio);
    context.textAlign = "right";
    const range = columns.length
      ? `${newest === null ? "" : _figure(newest)}   (${_figure(low)} to ${_figure(high)})`
      : "no data yet";
    context.fillText(range, width, top + 13 * ratio);
    context.textAlign = "left";
  }
}

function _scale(extremes) {
  const low = Math.min(...extremes.map(([least]) => least));
  const high = Math.max(...extremes.map(([, greatest]) => greatest));
  if (!Number.isFinite(low)) return [0, 1];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function _figure(value) {
  return Number(value.toPrecision(3)).toString();
}
