// Models: each package with its engines, times, golden outputs and card.

import { get } from "./api.js";
import { badge, element, facts, fill, notice } from "./dom.js";
import { markdown } from "./markdown.js";
import { bytes, listed, ms } from "./words.js";

const LOAD_TIMEOUT_MS = 130000; // each package is loaded and checked at first
const MOST = 24; // labels

export function open(root) {
  const list = element("div", {}, element("p", { class: "muted" }, "Reading the packages…"));
  fill(root, element("h1", {}, "Models"), list);
  _load(list);
}

async function _load(list) {
  try {
    const { models } = await get("/api/models", LOAD_TIMEOUT_MS);
    const ordered = [...models].sort((a, b) => b.lanes.length - a.lanes.length || a.name.localeCompare(b.name));
    fill(
      list,
      ordered.length
        ? ordered.map(_card)
        : notice("off", "No lane uses a model yet: a lane of the configuration names one."),
    );
  } catch (error) {
    const again = element("button", { onclick: () => _load(list) }, "Try again");
    fill(list, notice("bad", element("p", {}, `The packages could not be read: ${error.message}`), again));
  }
}

function _card(model) {
  const { error, labels = [], inputs = [], outputs = [] } = model;
  return element(
    "article",
    { class: "card model" },
    element("div", { class: "model-head" }, element("h2", {}, `${model.name} ${model.version || ""}`), _state(model)),
    error ? notice("bad", error) : null,
    facts([
      ["Used by", model.lanes.length ? listed(model.lanes.map((lane) => `lane ${lane}`)) : "no lane"],
      ["Engine", _engines(model)],
      ["Budget", model.budget_ms ? `${ms(model.budget_ms)} ms` : ""],
      [
        "Finds",
        labels.length > MOST
          ? `${labels.slice(0, MOST).join(", ")} and ${labels.length - MOST} more`
          : labels.join(", "),
      ],
      ["Decoder", model.decoder],
      ["Inputs", _tensors(inputs)],
      ["Outputs", _tensors(outputs)],
      ["Size", model.bytes ? bytes(model.bytes) : ""],
      ["Trained on", model.data],
      ["Licence", model.licence],
    ]),
    model.card ? _details(model.name) : null,
  );
}

/** golden: "good", "good: by how much", "missing" or what differs. */
function _state({ error, golden = "missing" }) {
  if (error) return badge("bad", "cannot be used");
  if (golden === "missing") return badge("off", "no golden outputs");
  return badge(golden.startsWith("good") ? "good" : "bad", `golden outputs: ${golden.replace(/^good: /, "")}`);
}

/** The one in use first. */
function _engines({ backend = "", engines = {} }) {
  const timed = (name) => (name in engines ? `${name} ${ms(engines[name])} ms` : name);
  const others = Object.keys(engines).filter((name) => name !== backend);
  return [timed(backend), others.length ? `slower here: ${others.map(timed).join(", ")}` : ""]
    .filter(Boolean)
    .join("; ");
}

function _tensors(texts) {
  return texts.length ? texts.map((text) => element("div", {}, text)) : "";
}

/** The card is loaded when it is opened. */
function _details(name) {
  const body = element("div", { class: "markdown" }, element("p", { class: "muted" }, "Loading…"));
  const load = async (event) => {
    if (!event.target.open || event.target.dataset.loaded) return;
    try {
      const { text } = await get(`/api/models/${encodeURIComponent(name)}/card`);
      fill(
        body,
        markdown(text, (file) => `/api/models/${encodeURIComponent(name)}/${encodeURIComponent(file)}`),
      );
      event.target.dataset.loaded = "yes";
    } catch (error) {
      fill(body, notice("warn", `The card could not be read: ${error.message}`));
    }
  };
  return element("details", { ontoggle: load }, element("summary", {}, "Card: data, figures, limits"), body);
}
