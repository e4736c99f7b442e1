// Decisions over time, a row for each actuator: a thin line at rest, a bar while a rule is in force.

import { boxTime, monitor } from "./api.js";
import { svg } from "./dom.js";
import { clock, counted } from "./words.js";

const ROW = 46;
const TOP = 8;
const NARROW = 520;
const TICKS = 5;

/**
 * @param {Array} decisions newest first
 * @param {string[]} actuators
 * @param {{minutes: number, rule: string, width: number}} span rule: others are dim
 */
export function drawTimeline(decisions, actuators, { minutes, rule, width }) {
  const end = boxTime();
  const start = end - minutes * 60000;
  const wide = Math.max(width, 240);
  const x = (t) => ((Math.min(Math.max(t, start), end) - start) / (end - start)) * wide;
  const height = TOP + actuators.length * ROW + 24;
  const inside = decisions.filter((decision) => decision.t >= start && decision.rule).length;
  const label = `${counted(inside, "rule")} in force in the last ${minutes} minutes; the table below names each`;
  return svg(
    "svg",
    { class: "timeline", viewBox: `0 0 ${wide} ${height}`, height, role: "img", "aria-label": label },
    _ticks(start, end, wide, height),
    actuators.map((name, n) =>
      _row(
        name,
        decisions.filter((decision) => decision.actuator === name),
        { x, start, end, y: TOP + n * ROW, rule },
      ),
    ),
  );
}

function _ticks(start, end, wide, height) {
  const count = wide < NARROW ? 2 : TICKS;
  return Array.from({ length: count + 1 }, (_, n) => {
    const x = (n / count) * wide;
    const anchor = n === 0 ? "start" : n === count ? "end" : "middle";
    return [
      svg("line", { class: "tick", x1: x, x2: x, y1: 0, y2: height - 20 }),
      svg("text", { x, y: height - 4, "text-anchor": anchor }, clock(start + ((end - start) * n) / count).slice(0, 8)),
    ];
  });
}

/** mine: newest first; each is in force until the one after it. */
function _row(name, mine, { x, start, end, y, rule }) {
  const pieces = [svg("line", { class: "rest", x1: x(start), x2: x(end), y1: y + 32, y2: y + 32 })];
  mine.forEach((decision, n) => {
    // a daemon that does not run keeps nothing in force: the actuator is in its safe state
    const until = n ? mine[n - 1].t : monitor.value?.running === false ? decision.t : end;
    if (until < start || !decision.rule) return;
    const dim = rule && decision.rule !== rule ? " dim" : "";
    const title = `${clock(decision.t)} ${name}: ${decision.verb}, ${decision.rule}: ${decision.explanation}`;
    const shape = decision.dropped
      ? svg("circle", { class: `dropped${dim}`, cx: x(decision.t), cy: y + 32, r: 5 })
      : svg("rect", {
          class: `held${dim}`,
          x: x(decision.t),
          width: Math.max(2, x(until) - x(decision.t)),
          y: y + 23,
          height: 18,
        });
    shape.append(svg("title", {}, title));
    pieces.push(shape);
  });
  return svg("g", {}, pieces, svg("text", { class: "name", x: 0, y: y + 14 }, name));
}
