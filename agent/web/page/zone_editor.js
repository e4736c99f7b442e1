// Polygons above a picture, moved by mouse, finger and keyboard. Corners are shares of the frame.

import { svg, fill } from "./dom.js";
import { midpoint, share } from "./geometry.js";

const WIDE = 1000; // of the drawing; its height follows the picture
const STEP = 0.005;
const LARGE_STEP = 0.05;
const MIN_CORNERS = 3;
const MAX_CORNERS = 32;
const CORNER_PX = 8;
const SIDE_PX = 5;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class ZoneEditor {
  /** changed: called after each change of a zone. */
  constructor(changed) {
    Object.assign(this, { changed, zones: {}, chosen: null, occupied: new Set(), high: 750, scale: 1 });
    this.node = svg("svg", { viewBox: `0 0 ${WIDE} ${this.high}`, role: "group", "aria-label": "zones" });
    this.node.addEventListener("pointermove", (event) => this._drag(event));
    for (const end of ["pointerup", "pointercancel"]) this.node.addEventListener(end, () => (this.grip = null));
    this.node.addEventListener("keydown", (event) => this._key(event));
  }

  /** Zones from the box: {name: [[x, y], ...]}. */
  set(zones) {
    if (JSON.stringify(zones) === JSON.stringify(this.zones)) return;
    this.zones = structuredClone(zones);
    if (!(this.chosen in this.zones)) this.chosen = Object.keys(this.zones)[0] ?? null;
    this._render();
  }

  resize(width, height) {
    const high = Math.round((WIDE * height) / width);
    const scale = WIDE / (this.node.clientWidth || WIDE);
    if (high === this.high && Math.abs(scale - this.scale) < 0.01) return;
    Object.assign(this, { high, scale });
    this.node.setAttribute("viewBox", `0 0 ${WIDE} ${high}`);
    this._render();
  }

  choose(name) {
    this.chosen = name;
    this._render();
  }

  occupy(names) {
    if ([...names].join() === [...this.occupied].join()) return;
    this.occupied = names;
    for (const polygon of this.node.querySelectorAll("polygon"))
      polygon.classList.toggle("occupied", names.has(polygon.dataset.zone));
  }

  /** A rectangle in the middle, under a name that is free. */
  add() {
    let number = 1;
    while (`zone-${number}` in this.zones) number += 1;
    this.chosen = `zone-${number}`;
    this.zones[this.chosen] = [
      [0.35, 0.35],
      [0.65, 0.35],
      [0.65, 0.65],
      [0.35, 0.65],
    ];
    this._update();
  }

  remove(name) {
    delete this.zones[name];
    this.chosen = Object.keys(this.zones)[0] ?? null;
    this._update();
  }

  /** Keeps the order of the zones. Returns whether the name is free. */
  rename(name, wanted) {
    if (wanted in this.zones) return false;
    this.zones = Object.fromEntries(
      Object.entries(this.zones).map(([key, corners]) => [key === name ? wanted : key, corners]),
    );
    if (this.chosen === name) this.chosen = wanted;
    this._update();
    return true;
  }

  moveCorner(name, number, x, y) {
    this.zones[name][number] = [share(x), share(y)];
    this._update();
  }

  /** After that corner, in the middle of its side. Returns the new corner's number, or null where there are enough. */
  insertCorner(name, number) {
    const corners = this.zones[name];
    if (corners.length >= MAX_CORNERS) return null;
    corners.splice(number + 1, 0, midpoint(corners, number));
    this._update();
    return number + 1;
  }

  removeCorner(name, number) {
    if (this.zones[name].length <= MIN_CORNERS) return;
    this.zones[name].splice(number, 1);
    this._update();
  }

  _update() {
    this._render();
    this.changed();
  }

  /** Drawn again with each change; the focus stays on its corner. */
  _render() {
    const focus = this.node.contains(document.activeElement) ? Number(document.activeElement.dataset.corner) : null;
    const names = Object.keys(this.zones).sort((a, b) => (a === this.chosen) - (b === this.chosen));
    fill(
      this.node,
      names.map((name) => this._polygon(name)),
      this.chosen ? this._handles(this.chosen) : null,
    );
    if (focus === null || !this.chosen) return;
    this._focus(Math.min(focus, this.zones[this.chosen].length - 1));
  }

  _focus(number) {
    this.node.querySelector(`.corner[data-corner="${number}"]`)?.focus({ preventScroll: true });
  }

  _at([x, y]) {
    return [x * WIDE, y * this.high];
  }

  _polygon(name) {
    const points = this.zones[name].map((corner) => this._at(corner).join()).join(" ");
    const classes = `${name === this.chosen ? "chosen" : ""} ${this.occupied.has(name) ? "occupied" : ""}`;
    const grab = (event) => {
      if (this.chosen !== name) this.choose(name);
      this._grab(event, { name, last: this._point(event) });
      this.changed();
    };
    return svg(
      "polygon",
      { points, class: classes.trim(), "data-zone": name, onpointerdown: grab },
      svg("title", {}, name),
    );
  }

  _handles(name) {
    const corners = this.zones[name];
    const sides = corners.map((_, number) => {
      const [cx, cy] = this._at(midpoint(corners, number));
      const grab = (event) => {
        const added = this.insertCorner(name, number);
        if (added !== null) this._grab(event, { name, number: added });
      };
      return svg("circle", { class: "side", cx, cy, r: SIDE_PX * this.scale, onpointerdown: grab });
    });
    const handles = corners.map((corner, number) => {
      const [cx, cy] = this._at(corner);
      const [left, top] = corner.map(_percent);
      const label = `corner ${number + 1} of ${name}, ${left} from the left, ${top} from the top`;
      const grab = (event) => {
        this._grab(event, { name, number });
        this._focus(number);
      };
      return svg("circle", {
        class: "corner",
        cx,
        cy,
        r: CORNER_PX * this.scale,
        tabindex: 0,
        role: "button",
        "aria-label": label,
        "data-corner": number,
        onpointerdown: grab,
      });
    });
    return [sides, handles];
  }

  /** The whole drawing captures the pointer: a handle is drawn again while it is dragged. */
  _grab(event, grip) {
    event.preventDefault();
    this.node.setPointerCapture(event.pointerId);
    this.grip = grip;
  }

  /** In shares of the frame. */
  _point(event) {
    const frame = this.node.getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  }

  _drag(event) {
    if (!this.grip) return;
    const { name, number, last } = this.grip;
    const [x, y] = this._point(event);
    if (number !== undefined) return this.moveCorner(name, number, x, y);
    this._shift(name, x - last[0], y - last[1]);
    this.grip.last = [x, y];
  }

  /** The whole zone, no further than the frame's edge, so that it keeps its form. */
  _shift(name, dx, dy) {
    const corners = this.zones[name];
    const limit = (axis, delta) => {
      const values = corners.map((corner) => corner[axis]);
      return Math.min(Math.max(delta, -Math.min(...values)), 1 - Math.max(...values));
    };
    const [right, down] = [limit(0, dx), limit(1, dy)];
    this.zones[name] = corners.map(([x, y]) => [share(x + right), share(y + down)]);
    this._update();
  }

  _key(event) {
    const number = Number(event.target.dataset?.corner);
    if (!this.chosen || !Number.isInteger(number)) return;
    const [x, y] = this.zones[this.chosen][number];
    const step = event.shiftKey ? LARGE_STEP : STEP;
    if (event.key in ARROWS)
      this.moveCorner(this.chosen, number, x + ARROWS[event.key][0] * step, y + ARROWS[event.key][1] * step);
    else if (event.key === "Insert" || event.key === "+") this._focus(this.insertCorner(this.chosen, number) ?? number);
    else if (event.key === "Delete" || event.key === "Backspace") this.removeCorner(this.chosen, number);
    else return;
    event.preventDefault();
  }
}

function _percent(value) {
  return `${(value * 100).toFixed(1)} %`;
}
