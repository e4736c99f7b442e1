// Doctor: the faults of this box, worst first, each with what to do.

import { get } from "./api.js";
import { badge, element, fill, notice } from "./dom.js";
import { counted } from "./words.js";

const TIMEOUT_MS = 90000; // the checks take ten seconds, more on a busy box
const ORDER = ["bad", "warn", "good", "skip"];
const LEVELS = { bad: "bad", warn: "warn", good: "good", skip: "off" };
const WORDS = { bad: "fault", warn: "warning", good: "good", skip: "not checked" };

export function open(root) {
  const summary = element("p", { role: "status" });
  const list = element("div");
  const again = element("button", { onclick: () => _load({ summary, list, again }, "?again=1") }, "Check again");
  fill(root, element("h1", {}, "Doctor"), element("div", { class: "row" }, again, summary), list);
  _load({ summary, list, again }, "");
}

async function _load({ summary, list, again }, query) {
  again.disabled = true;
  fill(summary, "Checking; this takes about ten seconds…");
  try {
    const report = await get(`/api/doctor${query}`, TIMEOUT_MS);
    const checks = [...report.checks].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
    const { bad, warn, good, skip } = report;
    fill(summary, `${counted(bad, "fault")}, ${counted(warn, "warning")}, ${good} good, ${skip} not checked`);
    fill(list, element("div", { class: "card" }, checks.map(_finding)));
  } catch (error) {
    fill(summary);
    fill(list, notice("bad", `The checks gave no result: ${error.message}`));
  }
  again.disabled = false;
}

function _finding({ name, state, cause, effect, fix }) {
  return element(
    "div",
    { class: "finding" },
    element(
      "div",
      {},
      badge(LEVELS[state] || "off", name),
      element("div", {}, element("small", {}, WORDS[state] || state)),
    ),
    element(
      "div",
      {},
      element("p", {}, cause),
      effect ? element("p", {}, element("span", { class: "muted" }, "Effect: "), effect) : null,
      fix ? element("p", {}, element("strong", {}, "What to do: "), fix) : null,
    ),
  );
}
