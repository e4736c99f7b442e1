// Where the milliseconds of a lane go: its five parts, and its slowest samples.

import { stackedBars } from "./charts.js";
import { element, section, table } from "./dom.js";
import { clock, ms } from "./words.js";

const PARTS = ["queueing", "transport", "preprocess", "inference", "decision"];
const PART_MEANING = {
  queueing: "captured, until the lane asked for it",
  transport: "until it was in the lane's hands",
  preprocess: "until the input tensor was filled",
  inference: "until the outputs were decoded",
  decision: "rules, the wire, the actuator's checks and its device",
};
export function latency({ parts, budget_ms }) {
  if (!parts?.total) return section("Latency", element("p", { class: "muted" }, "no inference in the last minute"));
  const values = (quantile) => Object.fromEntries(PARTS.map((part) => [part, parts[part]?.[quantile] || 0]));
  const bars = ["p50", "p99"].map((name) => ({ name, values: values(name), total: parts.total[name] }));
  const rows = [...PARTS, "total"].map((part, n) => [
    element("span", { class: "part" }, part === "total" ? null : element("span", { class: `key part-${n}` }), part),
    ms(parts[part]?.p50),
    ms(parts[part]?.p99),
    ms(parts[part]?.max),
    PART_MEANING[part] || "captured to applied",
  ]);
  return section(
    "Latency of the last minute",
    element(
      "div",
      { class: "card" },
      stackedBars(PARTS, bars, budget_ms),
      element(
        "p",
        { class: "muted" },
        `The dashed line is the budget, ${ms(budget_ms)} ms. `,
        "Each part's p99 is its own: they seldom fall on one sample, so they add up to more than the total's.",
      ),
      table(["Part", "p50 ms", "p99 ms", "max ms", "From and to"], rows, {
        numbers: [1, 2, 3],
        caption: "latency by part",
        narrow: "part-rows",
      }),
    ),
  );
}

/** Each as a bar, with its longest part in words. */
export function worstSamples({ worst, budget_ms }) {
  if (!worst?.length) return null;
  return section(
    "Slowest samples of the last five minutes",
    element(
      "div",
      { class: "card" },
      worst.map((sample) =>
        element(
          "div",
          { class: "worst" },
          element(
            "p",
            {},
            element("strong", {}, `${ms(sample.total_ms)} ms`),
            ` at ${clock(sample.t)}, sample ${sample.sequence}`,
            sample.applied ? ", applied" : ", no command",
          ),
          stackedBars(PARTS, [{ name: "", values: sample.parts, total: sample.total_ms }], budget_ms),
          element("p", { class: "muted" }, sample.text),
        ),
      ),
    ),
  );
}
