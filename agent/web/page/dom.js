// Elements from JavaScript. Texts come from configurations and models and are not trusted: they become text nodes only.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element, e.g. element("a", {href: "#/", onclick: f}, "text", otherElement, [more], null).
 * Attributes: functions are event listeners, true is an empty attribute, false, null and undefined leave it out.
 */
export function element(tag, attributes = {}, ...children) {
  return _filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return _filled(document.createElementNS(SVG, tag), attributes, children);
}

function _filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(..._nodes(children));
  return node;
}

function _nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "");
}

/** Replace all that is in the node. */
export function fill(node, ...children) {
  node.replaceChildren(..._nodes(children));
}

/** Set a text only where it changed, so that selections and screen readers are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Status by shape, not only by colour: a circle, a triangle, a square, a ring.
const SHAPES = {
  good: ["circle", { cx: 8, cy: 8, r: 6 }],
  warn: ["path", { d: "M8 1.5 15 14.5H1z" }],
  bad: ["rect", { x: 2, y: 2, width: 12, height: 12 }],
  off: ["circle", { cx: 8, cy: 8, r: 5, fill: "none", "stroke-width": 2 }],
};

/** @param {"good"|"warn"|"bad"|"off"} level */
export function shape(level) {
  const [tag, attributes] = SHAPES[level];
  return svg("svg", { class: `shape ${level}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, svg(tag, attributes));
}

/** A shape with a text of the same colour. */
export function badge(level, text) {
  return element("span", { class: `badge ${level}` }, shape(level), text);
}

/** A list of (term, description); entries whose description is empty are left out. */
export function facts(entries) {
  const shown = entries.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return element(
    "dl",
    { class: "facts" },
    ...shown.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))),
  );
}

/**
 * A table. Cells are texts or nodes; columns named in `numbers` are aligned right. narrow: a class whose style arranges
 * the rows for a phone, on which the table would otherwise scroll sideways.
 */
export function table(head, rows, { numbers = [], caption = "", narrow = "" } = {}) {
  const side = (column) => (numbers.includes(column) ? "number" : null);
  const cells = (tag, row) =>
    row.map((cell, column) => element(tag, { class: side(column), scope: tag === "th" ? "col" : null }, cell));
  return element(
    "div",
    { class: `scroll ${narrow}`.trim(), tabindex: "0", role: "region", "aria-label": caption || head.join(", ") },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, cells("th", head))),
      element(
        "tbody",
        {},
        rows.map((row) => element("tr", {}, cells("td", row))),
      ),
    ),
  );
}

/** A message in place of content. */
export function notice(level, ...children) {
  return element("div", { class: `notice ${level}` }, shape(level), element("div", {}, ...children));
}

/** A heading and what is below it. */
export function section(title, ...children) {
  return element("section", {}, element("h2", {}, title), ...children);
}

/** The clipboard needs https or localhost; without it the text is selected. */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    setText(button, "Copied");
  } catch {
    getSelection().selectAllChildren(button.closest("div").previousElementSibling);
    setText(button, "Selected: press Ctrl+C");
  }
}
