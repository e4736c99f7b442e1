// The scores of a frame beside the thresholds of the rules.

import { holds } from "./draw.js";

/** A bar for each label that a rule asks for, at its lowest threshold, and for each that is detected. */
export function scores(frame, lane) {
  const conditions = lane.conditions || [];
  const evidence = frame.evidence || [];
  const labels = [
    ...new Set([...conditions.map((condition) => condition.label), ...evidence.map((item) => item.label)]),
  ];
  return labels.map((label) => {
    const items = evidence.filter((item) => item.label === label);
    const mine = conditions.filter((condition) => condition.label === label);
    return {
      label,
      score: Math.max(0, ...items.map((item) => item.score)),
      threshold: mine.length ? Math.min(...mine.map((condition) => condition.score)) : null,
      held: items.some((item) => holds(item, mine, lane.zones || {})),
      note: [...new Set(mine.map(_use))].join(", "),
    };
  });
}

/** How a rule uses a label. */
function _use({ rule, absent, zone }) {
  const where = typeof zone === "string" && zone ? ` in ${zone}` : "";
  return `${rule}${where}${absent ? ", where it is absent" : ""}`;
}
