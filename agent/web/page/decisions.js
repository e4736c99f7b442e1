// Decisions: when each actuator changed and why, the clips that were kept of it, and whether they replay the same.

import { get, monitor } from "./api.js";
import { ClipPlayer } from "./clip.js";
import { replay } from "./replay.js";
import { badge, element, fill, notice, section, setText, table } from "./dom.js";
import { drawTimeline } from "./timeline.js";
import { bytes, clock, counted, dateTime } from "./words.js";

const LIMIT = 500;
const PAGE = 20; // rows of the table at first: the clips are below it
const REFRESH_MS = 3000;
const SPANS = [
  [2, "2 minutes"],
  [10, "10 minutes"],
  [60, "1 hour"],
  [1440, "1 day"],
];

export function open(root) {
  const page = new DecisionsPage(root);
  return () => page.close();
}

class DecisionsPage {
  constructor(root) {
    this.rows = PAGE;
    this.minutes = 10;
    this.rule = _select("Rule", () => this._refresh());
    this.actuator = _select("Actuator", () => this._refresh());
    this.span = _select("Time span", () => this._drawTimeline());
    fill(
      this.span.field,
      SPANS.map(([minutes, text]) => element("option", { value: minutes, selected: minutes === 10 }, text)),
    );
    this.note = element("div");
    this.timeline = element("div", { class: "card" });
    this.list = element("div", { class: "card" });
    this.files = element("div");
    fill(
      root,
      element("h1", {}, "Decisions"),
      element("div", { class: "row filters" }, this.rule.label, this.actuator.label, this.span.label),
      this.note,
      this.timeline,
      section("Newest first", this.list),
      this.files,
    );
    this._refresh();
    this.redraw = setInterval(() => this._drawTimeline(), 1000);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearInterval(this.redraw);
    this.player?.close();
  }

  async _refresh() {
    clearTimeout(this.timer);
    const serial = (this.serial = (this.serial || 0) + 1);
    try {
      await this._load(serial);
    } catch (error) {
      if (this.closed || serial !== this.serial) return;
      fill(this.note, notice("bad", `The decisions could not be read: ${error.message}`));
    }
    if (!this.closed && serial === this.serial) this.timer = setTimeout(() => this._refresh(), REFRESH_MS);
  }

  async _load(serial) {
    const filters = { rule: this.rule.field.value, actuator: this.actuator.field.value };
    const chosen = Object.entries(filters).filter(([, value]) => value);
    const query = new URLSearchParams([["limit", LIMIT], ...chosen]);
    // The time line shows all decisions: without those of other rules nobody could see when one ended.
    const [all, filtered] = await Promise.all([
      get(`/api/decisions?limit=${LIMIT}`),
      chosen.length ? get(`/api/decisions?${query}`) : null,
    ]);
    if (this.closed || serial !== this.serial) return;
    Object.assign(this, { all, shown: (filtered || all).decisions, filters });
    _options(this.rule.field, "all rules", all.rules);
    _options(this.actuator.field, "all actuators", all.actuators);
    fill(this.note, _notes(all));
    this._drawTimeline();
    this._showList();
    this._showFiles();
  }

  _drawTimeline() {
    if (!this.all || document.hidden) return;
    const actuators = this.all.actuators.filter((name) => !this.filters.actuator || name === this.filters.actuator);
    const span = {
      minutes: Number(this.span.field.value),
      rule: this.filters.rule,
      width: this.timeline.clientWidth - 34,
    };
    fill(
      this.timeline,
      actuators.length
        ? drawTimeline(this.all.decisions, actuators, span)
        : element("p", { class: "muted" }, "No actuator has had a decision yet."),
    );
  }

  _showList() {
    const key = JSON.stringify([this.shown.slice(0, this.rows), this.rows]);
    if (key === this.listed) return; // a row that somebody selects stays
    this.listed = key;
    if (!this.shown.length) return fill(this.list, element("p", { class: "muted" }, "No decision matches."));
    const rows = this.shown.slice(0, this.rows).map(_decisionRow);
    const left = this.shown.length - rows.length;
    const more = () => {
      this.rows += PAGE * 2;
      this._showList();
    };
    fill(
      this.list,
      table(["Time", "Actuator", "Does", "Why", "Lane"], rows, {
        caption: "decisions, newest first",
        narrow: "decision-cards",
      }),
      left > 0 ? element("button", { class: "more", onclick: more }, `Show more (${left})`) : null,
    );
  }

  _showFiles() {
    const { clips, recordings } = this.all;
    const key = JSON.stringify([clips, recordings]);
    if (key === this.kept) return;
    this.kept = key;
    if (this.player && !clips.some((clip) => clip.name === this.player.name)) this._stopPlayer();
    fill(
      this.files,
      section(
        "Clips of events",
        element(
          "div",
          { class: "card" },
          clips.length
            ? clips.map((clip) => this._file(clip, true))
            : element("p", { class: "muted" }, "No clip yet: recorder: {events: ...} in the configuration keeps them."),
        ),
      ),
      recordings.length
        ? section(
            "Recordings",
            element(
              "div",
              { class: "card" },
              recordings.map((file) => this._file(file, false)),
            ),
          )
        : null,
    );
  }

  _file(file, clip) {
    const title = clip ? `${file.rule || file.name}, ${dateTime(file.t)}` : dateTime(file.t);
    const verdict = element("div", { class: "verdict", "aria-live": "polite" });
    const place = element("div");
    if (this.player?.name === file.name) place.append(this.player.node);
    const play = element("button", { class: "play", onclick: () => this._play(file.name, place, play) });
    setText(play, this.player?.name === file.name ? "Close" : "Play");
    const again = element("button", { onclick: () => replay(file.name, again, verdict) }, "Replay verdict");
    return element(
      "div",
      { class: "clip" },
      element(
        "div",
        { class: "row" },
        element(
          "div",
          {},
          element("strong", {}, title),
          " ",
          file.sealed ? badge("off", "sealed") : null,
          element("div", {}, element("small", {}, `${file.name}, ${bytes(file.bytes)}`)),
        ),
        element("div", { class: "row" }, clip ? play : null, file.sealed ? null : again),
      ),
      verdict,
      place,
    );
  }

  /** One at a time. */
  _play(name, place, button) {
    const again = this.player?.name === name;
    this._stopPlayer();
    for (const other of this.files.querySelectorAll(".play")) setText(other, "Play");
    if (again) return;
    this.player = new ClipPlayer(name);
    place.append(this.player.node);
    setText(button, "Close");
  }

  _stopPlayer() {
    this.player?.close();
    this.player?.node.remove();
    this.player = null;
  }
}

function _select(text, onchange) {
  const field = element("select", { onchange });
  return { field, label: element("label", {}, text, field) };
}

/** Keeps what is chosen. */
function _options(field, all, names) {
  if (field.dataset.names === names.join("\n")) return;
  field.dataset.names = names.join("\n");
  const chosen = field.value;
  fill(
    field,
    element("option", { value: "" }, all),
    names.map((name) => element("option", { value: name, selected: name === chosen }, name)),
  );
}

function _notes({ note, lost }) {
  const texts = [
    note,
    lost
      ? `${counted(lost, "decision")} came faster than they could be kept and ${lost === 1 ? "is" : "are"} not shown.`
      : "",
  ];
  return texts.filter(Boolean).map((text) => element("p", { class: "muted" }, text));
}

function _decisionRow(decision) {
  const why = decision.rule
    ? `${decision.rule}: ${decision.explanation}`
    : `at rest: ${decision.explanation || "no rule holds"}`;
  const old = Math.abs(Date.now() + monitor.clock_offset_ms - decision.t) > 12 * 3600e3;
  return [
    old ? dateTime(decision.t) : clock(decision.t),
    decision.actuator,
    element("span", {}, element("strong", {}, decision.verb), decision.dropped ? [" ", badge("bad", "dropped")] : null),
    decision.dropped ? `${why} (past its deadline, not sent)` : why,
    decision.lane,
  ];
}
