// Drift: what a lane delivers and its models say, against what was learnt. Published by the monitor of agent/drift.

import { badge, element, notice } from "./dom.js";
import { counted } from "./words.js";

const SHOWN = 12; // a sensor has three statistics for each channel

/** In a few words, while nothing drifts; empty where the lane is not watched. */
export function driftWords(lane) {
  return lane.drifts.length ? "" : [lane.drift, lane.drift_note].filter(Boolean).join(": ");
}

/** On a tile: what drifts and what to do; null where nothing does. */
export function driftCard(lane) {
  if (!lane.drifts.length) return null;
  return element("div", { class: "drift" }, badge("warn", "drifting"), _list(lane, 3), _note(lane));
}

/** The same across the page of its lane. */
export function driftNotice(lane) {
  if (!lane.drifts.length) return null;
  const head = element("strong", {}, "Drifting: not as it was learnt");
  return notice("warn", element("div", { class: "drift" }, head, _list(lane, SHOWN), _note(lane)));
}

function _list(lane, most) {
  const more = lane.drifts.length - most;
  const shown = [...lane.drifts.slice(0, most), more > 0 ? `and ${counted(more, "other")}` : ""].filter(Boolean);
  return element(
    "ul",
    {},
    shown.map((text) => element("li", {}, text.replaceAll("+-", "±"))),
  );
}

function _note(lane) {
  return lane.drift_note ? element("p", { class: "muted" }, lane.drift_note) : null;
}
