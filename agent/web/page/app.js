// Routes, the navigation, the note that says how old the page is, and the form for the token.

import { monitor, post } from "./api.js";
import { element, fill, notice, setText, shape } from "./dom.js";
import { duration } from "./words.js";
import * as overview from "./overview.js";

/** Page: what its module is, where the navigation points. A module's open(root, argument) returns what closes it. */
const PAGES = {
  "": { title: "Overview", load: () => overview },
  lane: { title: "Lane", load: () => import("./lane.js"), hidden: true },
  decisions: { title: "Decisions", load: () => import("./decisions.js") },
  zones: { title: "Zones", load: () => import("./zones.js") },
  models: { title: "Models", load: () => import("./models.js") },
  doctor: { title: "Doctor", load: () => import("./doctor.js") },
  configuration: { title: "Configuration", load: () => import("./configuration.js") },
};
const STATUS_PERIOD_MS = { "": 1000, lane: 2000 }; // elsewhere only the note above needs it
const OTHER_PERIOD_MS = 3000;
const LOGIN_TIMEOUT_MS = 10000;

const main = document.getElementById("main");
const freshness = document.getElementById("freshness");
let current = { close: () => {}, serial: 0, name: null };

/** "#/lane/floor" -> ["lane", "floor"]; an unknown page is the overview. */
function _route() {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const argument = _decoded(rest.join("/"));
  return Object.hasOwn(PAGES, name) ? [name, argument] : ["", ""];
}

function _decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Close the page that is open and open the one of the address. */
async function _open() {
  if (location.hash === "#main") return; // the link that skips the navigation
  const [name, argument] = _route();
  const serial = current.serial + 1;
  current.close();
  const moved = current.name !== null;
  current = { close: () => {}, serial, name };
  monitor.period_ms = STATUS_PERIOD_MS[name] ?? OTHER_PERIOD_MS;
  _mark(name);
  document.title = `${PAGES[name].title} – reflexd`;
  const root = element("div", { class: `page ${name || "overview"}` });
  try {
    const module = await PAGES[name].load();
    if (current.serial !== serial) return;
    fill(main, root);
    current.close = module.open(root, argument) || (() => {});
  } catch (error) {
    fill(
      main,
      notice(
        "bad",
        `This page could not be loaded: ${error.message}. `,
        element("button", { onclick: () => location.reload() }, "Load it again"),
      ),
    );
  }
  if (moved) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function _navigation() {
  const pages = Object.entries(PAGES).filter(([, page]) => !page.hidden);
  fill(
    document.getElementById("pages"),
    pages.map(([name, page]) => element("a", { href: `#/${name}`, "data-page": name }, page.title)),
  );
}

function _mark(name) {
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Says what is old, once it is: the box does not answer, or this page may not ask. */
function _showFreshness() {
  if (monitor.error?.status === 401) {
    if (!document.getElementById("token")) _askToken();
    return;
  }
  const silent_s = monitor.silent_s();
  const text = silent_s ? _silence(silent_s) : "";
  document.body.classList.toggle("old", Boolean(text));
  if (!text) fill(freshness);
  else if (freshness.lastChild) setText(freshness.lastChild, text);
  else fill(freshness, shape("bad"), element("span", {}, text));
}

function _silence(silent_s) {
  const since = `No answer for ${duration(Math.round(silent_s * 2) / 2)}`;
  const shown = monitor.value ? "what you see is old" : "there is nothing to show yet";
  return `${since}: ${shown}. ${monitor.error ? `${monitor.error.message}` : ""} This page goes on trying.`;
}

/** In place of the page, until the box takes the token. */
function _askToken() {
  current.close();
  current.close = () => {};
  const field = element("input", { id: "token", type: "password", autocomplete: "current-password", required: true });
  const answer = element("p", { role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    try {
      await post("/api/login", { token: field.value.trim() }, LOGIN_TIMEOUT_MS);
      monitor.error = null;
      monitor.ask();
      _open();
    } catch (error) {
      setText(answer, error.status === 403 ? "This is not the token of this box." : error.message);
      field.select();
    }
  };
  fill(freshness);
  fill(
    main,
    element(
      "form",
      { class: "card login", onsubmit: submit },
      element("h1", {}, "This box asks for a token"),
      element("p", {}, "On the box: ", element("code", {}, "reflexd keys --web"), " prints it."),
      element("label", { for: "token" }, "Token"),
      field,
      element("button", { class: "primary", type: "submit" }, "Continue"),
      answer,
    ),
  );
  field.focus();
}

monitor.subscribe((status) => setText(document.getElementById("node"), status.node || "reflexd"));
window.addEventListener("hashchange", _open);
setInterval(_showFreshness, 500);
_navigation();
_open();
monitor.ask();
