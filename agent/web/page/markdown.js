// The Markdown of model cards: headings, paragraphs, lists, tables, code, pictures of the package. Anything else, HTML
// above all, stays text.

import { element, table } from "./dom.js";

const PICTURE = /^!\[([^\]]*)\]\(([\w-]+\.png)\)$/;
const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/g;
const BEGINS = /^(#|\||```|!\[|\s*([-*]|\d+\.)\s)/; // another block
const NUMERIC = /^[-–+<>≤≥]?[\d.,]+\s*(%|ms|s|B|kB|MB)?$/;

/**
 * @param {string} text
 * @param {function(string): string} pictureUrl of a file in the package
 * @returns {Element[]}
 */
export function markdown(text, pictureUrl) {
  const lines = text.split("\n");
  const blocks = [];
  while (lines.length) {
    const block =
      _fence(lines) ||
      _heading(lines) ||
      _table(lines) ||
      _list(lines) ||
      _picture(lines, pictureUrl) ||
      _paragraph(lines);
    if (block) blocks.push(block);
  }
  return blocks;
}

/** Takes lines from the front while they match. */
function _while(lines, matches) {
  const taken = [];
  while (lines.length && matches(lines[0])) taken.push(lines.shift());
  return taken;
}

function _fence(lines) {
  if (!lines[0].startsWith("```")) return null;
  lines.shift();
  const code = _while(lines, (line) => !line.startsWith("```"));
  lines.shift();
  return element("pre", { tabindex: "0" }, element("code", {}, code.join("\n")));
}

/** The page has h1 and h2 of its own. */
function _heading(lines) {
  const match = lines[0].match(/^(#{1,6})\s+(.*)$/);
  if (!match) return null;
  lines.shift();
  return element(`h${Math.min(match[1].length + 2, 5)}`, {}, _inline(match[2]));
}

function _table(lines) {
  if (!lines[0].startsWith("|") || !/^\|[\s:|-]+$/.test(lines[1] || "")) return null;
  const cells = (line) =>
    line
      .replace(/^\||\|\s*$/g, "")
      .split("|")
      .map((cell) => cell.trim());
  const [head, , ...rows] = _while(lines, (line) => line.startsWith("|")).map(cells);
  const isNumber = (column) => rows.length && rows.every((row) => !row[column] || NUMERIC.test(row[column]));
  const numbers = head.map((_, column) => column).filter(isNumber);
  const body = rows.map((row) => head.map((_, column) => _inline(row[column] || "")));
  return table(head, body, { numbers, caption: head.filter(Boolean).join(", ") });
}

function _list(lines) {
  const item = /^\s*([-*]|\d+\.)\s+/;
  if (!item.test(lines[0])) return null;
  const tag = /^\s*\d/.test(lines[0]) ? "ol" : "ul";
  const items = [];
  while (lines.length && (item.test(lines[0]) || (lines[0].startsWith("  ") && lines[0].trim()))) {
    const line = lines.shift();
    if (item.test(line)) items.push(line.replace(item, ""));
    else items[items.length - 1] += ` ${line.trim()}`;
  }
  return element(
    tag,
    {},
    items.map((text) => element("li", {}, _inline(text))),
  );
}

function _picture(lines, pictureUrl) {
  const match = lines[0].trim().match(PICTURE);
  if (!match) return null;
  lines.shift();
  return element("p", {}, element("img", { src: pictureUrl(match[2]), alt: match[1] || "figure", loading: "lazy" }));
}

function _paragraph(lines) {
  const first = lines.shift(); // also one that only looks like the start of something else
  const text = [first, ..._while(lines, (line) => line.trim() && !BEGINS.test(line))].join(" ").trim();
  return text ? element("p", {}, _inline(text)) : null;
}

/** Code, bold, links. */
function _inline(text) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(at, match.index));
    const [whole, code, bold, title, address] = match;
    if (code) nodes.push(element("code", {}, code));
    else if (bold) nodes.push(element("strong", {}, bold));
    else nodes.push(element("a", { href: address, rel: "noreferrer noopener", target: "_blank" }, title));
    at = match.index + whole.length;
  }
  return [...nodes, text.slice(at)];
}
