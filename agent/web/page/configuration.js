// Configuration: the file with its line numbers, mistakes and warnings at their lines. Secrets are masked by the box.

import { get } from "./api.js";
import { element, fill, notice } from "./dom.js";
import { counted } from "./words.js";

const TIMEOUT_MS = 15000;

export function open(root) {
  const body = element("div", {}, element("p", { class: "muted" }, "Reading the file…"));
  const again = element("button", { onclick: () => _load(body) }, "Read again");
  fill(root, element("h1", {}, "Configuration"), element("div", { class: "row" }, again), body);
  _load(body);
}

async function _load(body) {
  try {
    fill(body, _shown(await get("/api/configuration", TIMEOUT_MS)));
  } catch (error) {
    fill(body, notice("bad", `The configuration could not be read: ${error.message}`));
  }
}

function _shown({ path, lines, mistakes, warnings }) {
  const at = (remarks, level) => remarks.map((remark) => ({ ...remark, level }));
  const remarks = [...at(mistakes, "bad"), ...at(warnings, "warn")];
  const nowhere = remarks.filter((remark) => !remark.line || remark.line > lines.length);
  return [
    element("p", {}, element("code", {}, path)),
    _summary(mistakes, warnings),
    nowhere.map((remark) => notice(remark.level, remark.text)),
    element(
      "ol",
      { class: "lines card", tabindex: "0", "aria-label": "the configuration, line by line" },
      lines.map((text, n) =>
        _line(
          text,
          n + 1,
          remarks.filter((remark) => remark.line === n + 1),
        ),
      ),
    ),
  ];
}

function _summary(mistakes, warnings) {
  if (mistakes.length) {
    const effect = "a daemon does not start with this file, and one that runs keeps the old one.";
    return notice("bad", `${counted(mistakes.length, "mistake")}: ${effect}`);
  }
  if (warnings.length) return notice("warn", `No mistakes; ${counted(warnings.length, "warning")}.`);
  return notice("good", "No mistakes.");
}

function _line(text, number, remarks) {
  const code = element("code", {}, text || " ");
  const indent = text.search(/\S|$/) + 2; // of what does not fit into the line
  Object.assign(code.style, { paddingLeft: `${indent}ch`, textIndent: `-${indent}ch` });
  const level = remarks.length ? ` marked ${remarks[0].level}` : "";
  return element(
    "li",
    { class: level.trim() || null, id: `line-${number}` },
    element("span", { class: "line-number" }, number),
    code,
    remarks.map((remark) => [
      element("span"),
      element(
        "span",
        { class: `said ${remark.level}` },
        `${remark.level === "bad" ? "Mistake" : "Warning"}: ${remark.text}`,
      ),
    ]),
  );
}
