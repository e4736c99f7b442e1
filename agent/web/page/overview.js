// Overview: health in a sentence, each lane, each actuator, the board.

import { monitor } from "./api.js";
import { sparkline } from "./charts.js";
import { badge, element, facts, fill, section, shape } from "./dom.js";
import { driftCard, driftWords } from "./drift.js";
import { cause, judgeActuator, judgeBox, laneLevel, laneWords } from "./judge.js";
import { Thumbnail } from "./thumbnail.js";
import { duration, ms, rate } from "./words.js";

/** Reading of the board: its name, text, divisor. As agent/field/board.py. */
const BOARD = [
  ["temperature_c", "Temperature", (value) => `${value.toFixed(1)} °C`],
  ["load_percent", "Load", (value) => `${value.toFixed(0)} %`],
  ["gpu_load_percent", "GPU load", (value) => `${value.toFixed(0)} %`],
  ["power_w", "Power", (value) => `${value.toFixed(1)} W`],
  ["memory_available_mb", "Memory free", (value) => `${(value / 1024).toFixed(1)} GB`],
  ["cpu_mhz", "Processor", (value) => `${value.toFixed(0)} MHz`],
];

export function open(root) {
  const tiles = new Map();
  const parts = {
    headline: element("h1", { class: "headline" }),
    details: element("div", { class: "details" }),
    lanes: element("div", { class: "tiles" }),
    actuators: element("div", { class: "stack-of-cards" }),
    board: element("div", { class: "card" }),
    notes: element("div"),
  };
  fill(parts.headline, element("span", { class: "muted" }, "Asking the box…"));
  fill(root, parts.headline, parts.details);
  const lanes = section("Lanes", parts.lanes);
  const actuators = section("Actuators", parts.actuators);
  const body = element(
    "div",
    { class: "overview-body" },
    actuators,
    lanes,
    element("div", { class: "board" }, section("Board", parts.board), parts.notes),
  );
  const unsubscribe = monitor.subscribe((status) => {
    if (!body.parentNode) root.append(body);
    _show(parts, tiles, status);
    lanes.hidden = !status.lanes.length;
    actuators.hidden = !status.actuators.length;
    body.classList.toggle("empty", !status.lanes.length);
  });
  return () => {
    unsubscribe();
    for (const tile of tiles.values()) tile.close();
  };
}

function _show(parts, tiles, status) {
  _showHeadline(parts, status);
  _keepTiles(parts.lanes, tiles, status);
  fill(parts.actuators, status.actuators.map(_actuatorCard));
  fill(parts.board, _board(status));
  const off = status.settings.filter((setting) => !setting.on);
  const notes = [...off.map((setting) => `${setting.name} is off: ${setting.note}`), ...status.troubles];
  const list = element(
    "ul",
    { class: "card plain" },
    notes.map((note) => element("li", {}, note)),
  );
  fill(parts.notes, notes.length ? section("Notes", list) : null);
}

function _showHeadline(parts, status) {
  const { level, text, details } = judgeBox(status);
  if (parts.said !== level + text) fill(parts.headline, shape(level), element("span", {}, text));
  parts.said = level + text;
  const version = status.version ? `reflexd ${status.version}` : "";
  const up = status.uptime_s === null ? "" : `up ${duration(status.uptime_s)}`;
  const line = [status.node, version, up, status.config].filter(Boolean).join(" · ");
  fill(
    parts.details,
    details.map((detail) => element("p", {}, detail)),
    element("p", { class: "muted" }, line),
  );
}

/** One tile for each lane in the status's order; those of lanes that are gone are closed. */
function _keepTiles(node, tiles, status) {
  const names = status.lanes.map((lane) => lane.name);
  for (const [name, tile] of tiles) {
    if (names.includes(name) && tile.kind === (status.kinds[name] || "")) continue;
    tile.close();
    tile.node.remove();
    tiles.delete(name);
  }
  status.lanes.forEach((lane, place) => {
    if (!tiles.has(lane.name)) tiles.set(lane.name, new LaneTile(lane, status.kinds[lane.name] || ""));
    const tile = tiles.get(lane.name);
    if (node.children[place] !== tile.node) node.insertBefore(tile.node, node.children[place] || null);
    tile.show(lane);
  });
}

class LaneTile {
  constructor(lane, kind) {
    this.kind = kind;
    this.state = element("span");
    this.body = element("div", { class: "tile-body" });
    this.thumbnail = kind ? new Thumbnail(lane.name, kind) : null;
    const link = element("a", { href: `#/lane/${encodeURIComponent(lane.name)}` }, lane.name);
    this.node = element(
      "article",
      { class: "card tile" },
      element("div", { class: "tile-head" }, element("h3", {}, link), this.state),
      this.thumbnail?.node,
      this.body,
    );
  }

  show(lane) {
    fill(this.state, badge(laneLevel(lane), laneWords(lane)));
    const reason = lane.reason ? element("p", { class: "reason" }, lane.reason) : null;
    fill(
      this.body,
      reason,
      _latency(lane),
      driftCard(lane),
      facts([
        ["Rate", rate(lane.rate_hz)],
        ["p50", `${ms(lane.p50_ms)} ms`],
        ["Newest", lane.label ? `${lane.label} ${lane.score.toFixed(2)}, ${_age(lane)}` : "no evidence yet"],
        ["Dropped", _drops(lane.drops)],
        ["Thinned", lane.counts.thinned ? `${lane.counts.thinned}, as ‘every’ says` : ""],
        ["Drift", driftWords(lane)],
        ["Model", lane.model],
      ]),
    );
  }

  close() {
    this.thumbnail?.close();
  }
}

function _age(lane) {
  return lane.other_boot ? "before the last boot" : `${duration(lane.evidence_age_s)} ago`;
}

function _drops(drops) {
  return (
    Object.entries(drops)
      .map(([reason, count]) => `${count} ${reason}`)
      .join(", ") || "none"
  );
}

/** p99 against the budget, in words and as a line of the last minute. */
function _latency(lane) {
  if (lane.p99_ms === null) return element("p", { class: "muted" }, "no inference in the last minute");
  const over = lane.budget_ms > 0 && lane.p99_ms > lane.budget_ms;
  const text = `p99 ${ms(lane.p99_ms)} ms`;
  const against = lane.budget_ms ? ` of ${ms(lane.budget_ms)} ms budget` : "";
  return element(
    "div",
    { class: "latency" },
    element("p", {}, element("strong", {}, text), against, over ? badge("warn", "over") : null),
    sparkline(lane.spark, lane.budget_ms, `${text}${against}; p99 of each of the last ${lane.spark.length} seconds`),
  );
}

function _actuatorCard(actuator) {
  const { level, word, verb, texts } = judgeActuator(actuator);
  return element(
    "article",
    { class: "card tile" },
    element("div", { class: "tile-head" }, element("h3", {}, actuator.name), badge(level, word)),
    element("p", { class: "verb" }, verb || "–"),
    element("p", {}, cause(actuator)),
    texts.map((text) => element("p", { class: "muted" }, text)),
    facts([
      ["At rest", actuator.rest],
      ["Host", _host(actuator)],
    ]),
  );
}

function _host({ host, endpoint }) {
  if (host === null) return `at ${endpoint.replace("tcp://", "") || "an unknown address"}`;
  return host ? `process ${host}` : "none: not started";
}

function _board(status) {
  const { board } = status;
  const shown = BOARD.filter(([key]) => key in board).map(([key, name, text]) => [name, text(board[key])]);
  if (board.throttled) shown.push(["Throttled", "now: the processor slows down to stay cool or within its power"]);
  if (board.throttle_count) shown.push(["Throttled", `${board.throttle_count} times since boot`]);
  return shown.length ? facts(shown) : element("p", { class: "muted" }, "no readings from the kernel");
}
