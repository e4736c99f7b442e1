// Models: each package with its engines, times, golden outputs and card.

import { get } from "./api.js";
import { badge, element, facts, fill, notice } from "./dom.js";
import { markdown } from "./markdown.js";
import { bytes, listed, ms } from "./words.js";

const LOAD_TIMEOUT_MS = 30000;

export function open(root) {
  const list = element("div", {}, element("p", { class: "muted" }, "Reading the packages…"));
  fill(root, element("h1", {}, "Models"), list);
  _load(list);
}

async function _load(list) {
  try {
    const { models } = await get("/api/models", LOAD_TIMEOUT_MS);
    const ordered = [...models].sort((a, b) => b.lanes.length - a.lanes.length || a.name.localeCompare(b.name));
    fill(list, ordered.length ? ordered.map(_card) : notice("off", "No model package is installed."));
  } catch (error) {
    const again = element("button", { onclick: () => _load(list) }, "Try again");
    fill(list, notice("bad", element("p", {}, `The packages could not be read: ${error.message}`), again));
  }
}

function _card(model) {
  const { error, golden } = model;
  const state = error ? badge("bad", "cannot be used") : golden === "good" ? badge("good", "golden outputs good")
    : golden === "missing" ? badge("off", "no golden outputs") : badge("bad", "golden outputs differ");
  const engines = Object.entries(model.engines).map(([name, time]) => `${name} ${ms(time)} ms`);
  return element("article", { class: "card model" },
    element("div", { class: "model-head" }, element("h2", {}, `${model.name} ${model.version}`), state),
    error ? notice("bad", error) : golden !== "good" && golden !== "missing" ? notice("warn", golden) : null,
    facts([
      ["Used by", model.lanes.length ? listed(model.lanes.map((lane) => `lane ${lane}`)) : "no lane"],
      ["Engine", engines.length ? `${model.backend}: ${engines.join(", ")}` : model.backend],
      ["Budget", model.budget_ms ? `${ms(model.budget_ms)} ms` : ""],
      ["Finds", model.labels.length > 24 ? `${model.labels.slice(0, 24).join(", ")} and ${model.labels.length - 24} more` : model.labels.join(", ")],
      ["Decoder", model.decoder],
      ["Inputs", model.inputs.join(", ")],
      ["Outputs", model.outputs.join(", ")],
      ["Size", bytes(model.bytes)],
      ["Trained on", model.data],
      ["Licence", model.licence],
    ]),
    model.card ? _details(model.name) : null);
}

/** The card is loaded when it is opened. */
function _details(name) {
  const body = element("div", { class: "markdown" }, element("p", { class: "muted" }, "Loading…"));
  const load = async (event) => {
    if (!event.target.open || event.target.dataset.loaded) return;
    try {
      const { text } = await get(`/api/models/${encodeURIComponent(name)}/card`);
      fill(body, markdown(text, (file) => `/api/models/${encodeURIComponent(name)}/${encodeURIComponent(file)}`));
      event.target.dataset.loaded = "yes";
    } catch (error) {
      fill(body, notice("warn", `The card could not be read: ${error.message}`));
    }
  };
  return element("details", { ontoggle: load }, element("summary", {}, "Card: data, figures, limits"), body);
}
