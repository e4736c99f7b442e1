// Zones: draw polygons over a still or the live picture, see which boxes they count, and take their YAML or write it.

import { get, monitor, post } from "./api.js";
import { Board, copyOf } from "./board.js";
import { copyText, element, fill, notice, setText } from "./dom.js";
import { drawBox, evidenceText, labelZone } from "./draw.js";
import { insideZone } from "./geometry.js";
import { LiveStream } from "./live.js";
import { listed } from "./words.js";
import { ZoneEditor } from "./zone_editor.js";
import { zoneList } from "./zone_list.js";

const RATE_HZ = 10;
const HANDLE_PX = 12; // on a corner
const CHECK_DELAY_MS = 400;
const WRITE_TIMEOUT_MS = 30000;

export function open(root, name) {
  let page = null;
  const unsubscribe = monitor.subscribe((status) => {
    const lanes = status.lanes.map((lane) => lane.name).filter((lane) => status.kinds[lane] === "picture");
    if (page && lanes.join() === page.lanes.join()) return;
    if (page?.changed) return; // what somebody draws is not taken away
    page?.close();
    page = new ZonesPage(root, lanes, name);
  });
  return () => {
    unsubscribe();
    page?.close();
  };
}

class ZonesPage {
  constructor(root, lanes, wanted) {
    this.lanes = lanes;
    this.changed = false;
    fill(root, element("h1", {}, "Zones"));
    if (!lanes.length)
      return void root.append(notice("off", "This box has no lane with a camera: zones are parts of a picture."));
    if (wanted && !lanes.includes(wanted)) root.append(notice("warn", `Lane ‘${wanted}’ has no picture now.`));
    this.name = lanes.includes(wanted) ? wanted : lanes[0];
    this._build(root);
    this._load();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.stream?.close();
    this.board?.close();
    this.marks?.close();
  }

  _build(root) {
    const options = this.lanes.map((lane) => element("option", { selected: lane === this.name }, lane));
    const lane = element(
      "select",
      { onchange: () => (location.hash = `#/zones/${encodeURIComponent(lane.value)}`) },
      options,
    );
    this.by = element(
      "select",
      { onchange: () => this._draw() },
      element("option", { value: "foot" }, "the foot of a box"),
      element("option", { value: "middle" }, "the middle of a box"),
    );
    this.freeze = element("input", { type: "checkbox" });
    this.canvas = element("canvas", { role: "img", "aria-label": `picture of lane ${this.name}` });
    this.board = new Board(this.canvas);
    const above = element("canvas", { class: "marks", "aria-hidden": "true" });
    this.marks = new Board(above, { alpha: true });
    this.editor = new ZoneEditor(() => this._edited());
    this.inside = element("p", { role: "status" });
    this.side = element("div");
    this.result = element("div");
    this.caption = element("figcaption");
    root.append(
      element(
        "div",
        { class: "row filters" },
        element("label", {}, "Lane", lane),
        element("label", {}, "Counts by", this.by),
        element("label", {}, this.freeze, "Hold the picture"),
      ),
      element(
        "div",
        { class: "zone-view" },
        element(
          "div",
          {},
          element(
            "figure",
            {},
            element("div", { class: "editor" }, this.canvas, this.editor.node, above),
            this.caption,
          ),
          this.inside,
          element(
            "p",
            { class: "muted" },
            "Drag a corner to move it, the small dot on a side to add a corner, the inside to move the zone. ",
            "By keyboard: Tab to a corner; arrow keys move it (with Shift: further), Insert adds one, Delete removes it.",
          ),
        ),
        element("div", {}, this.side, this.result),
      ),
    );
  }

  async _load() {
    try {
      const lane = await get(`/api/lanes/${encodeURIComponent(this.name)}`);
      if (this.closed) return;
      this.editor.set(lane.zones);
      const middle = lane.conditions.some((condition) => condition.zone && condition.zone_by === "middle");
      this.by.value = middle ? "middle" : "foot";
      this._showSide();
    } catch (error) {
      fill(this.result, notice("bad", `The zones could not be read: ${error.message}`));
    }
    if (this.closed) return;
    this.stream = new LiveStream(
      this.name,
      { rate: RATE_HZ, record: true },
      {
        lane: (lane) => this._lane(lane),
        state: (live, reason) => this._live(live, reason),
        frame: (frame) => this._frame(frame),
      },
    );
  }

  _live(live, reason) {
    setText(this.caption, live ? this.why || "" : `Old picture: ${reason || "the lane writes nothing"}`);
    if (!live && !this.frame) this._loadStill();
  }

  /** The newest picture, for a lane that does not run; a blank where there is none or it may not be shown. */
  async _loadStill() {
    const reply = await fetch(`/api/lanes/${encodeURIComponent(this.name)}/still.jpg`).catch(() => null);
    const image = reply?.ok ? await createImageBitmap(await reply.blob()).catch(() => null) : null;
    if (this.closed || this.frame) return image?.close();
    this._frame({ width: image?.width || 640, height: image?.height || 480, evidence: [], image });
    image?.close();
  }

  _lane(lane) {
    this.why = lane.why;
    setText(this.caption, this.why || "");
    if (this.changed) return;
    this.editor.set(lane.zones);
    this._showSide();
  }

  /** Keeps a copy of the picture: it is drawn again whenever a zone changes. */
  _frame(frame) {
    if (this.freeze.checked && this.frame) return;
    const { image, ...rest } = frame;
    this.frame = rest;
    this.still = image ? copyOf(image, this.still) : null;
    this.editor.resize(frame.width, frame.height);
    this._draw();
  }

  /** The picture; above it the zones, in the editor; above these the boxes, whose labels no shade covers. */
  _draw() {
    if (!this.frame) return;
    const { width, height } = this.frame;
    this.board.clear(width, height, this.still);
    this.marks.clear(width, height);
    const zones = Object.entries(this.editor.zones).filter(([, corners]) => corners.length > 2);
    const occupied = new Set();
    const texts = this.frame.evidence
      .filter((item) => item.box)
      .map((item) => {
        const within = zones
          .filter(([, corners]) => insideZone(item.box, corners, this.by.value))
          .map(([name]) => name);
        within.forEach((zone) => occupied.add(zone));
        drawBox(this.marks, item.box, evidenceText(item), within.length ? "counted" : "detected");
        return `${item.label} is in ${within.length ? listed(within) : "no zone"}`;
      });
    for (const [name, corners] of zones) labelZone(this.marks, name, corners, HANDLE_PX * devicePixelRatio);
    this.marks.drawLabels();
    this.editor.occupy(occupied);
    setText(
      this.inside,
      texts.length ? `${listed(texts)}.` : "Nothing is detected now: walk into the picture to test a zone.",
    );
  }

  _edited() {
    this.changed = true;
    this._draw();
    this._showSide();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this._check("/api/zones"), CHECK_DELAY_MS);
  }

  _showSide() {
    fill(
      this.side,
      zoneList(this.editor, () => this._showSide()),
    );
  }

  async _check(path) {
    const body = { lane: this.name, zones: this.editor.zones };
    try {
      const answer = await post(path, body, WRITE_TIMEOUT_MS);
      if (this.closed) return;
      if (answer.ok && path.endsWith("write")) this.changed = false;
      this._showResult(answer);
    } catch (error) {
      if (!this.closed) fill(this.result, notice("bad", `Not checked: ${error.message}`));
    }
  }

  _showResult({ ok, yaml, mistakes, backup, reloaded }) {
    const copy = element("button", { onclick: () => copyText(yaml, copy) }, "Copy");
    const write = element(
      "button",
      { class: "primary", onclick: () => this._check("/api/zones/write") },
      "Write into the configuration",
    );
    const edit = monitor.value?.web.edit;
    const written = backup
      ? notice(
          "good",
          `Written; the file before it is ${backup}. `,
          reloaded
            ? "The daemon uses the new zones."
            : "The daemon does not run or did not reload: it uses them at its next start.",
        )
      : null;
    fill(
      this.result,
      written,
      mistakes.map((mistake) => notice("bad", mistake)),
      ok
        ? [
            element("h2", {}, "For the configuration"),
            element("pre", { class: "yaml", tabindex: "0" }, yaml),
            element("div", { class: "row" }, copy, edit && !backup ? write : null),
          ]
        : null,
      ok && !edit ? element("p", { class: "muted" }, "With ‘web: {edit: true}’ this page can write it.") : null,
    );
  }
}
