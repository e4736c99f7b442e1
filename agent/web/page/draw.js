// What a lane detects, drawn onto a canvas: zones, boxes, skeletons, the way that boxes came. Coordinates are shares of
// the frame. Colours are those of Okabe and Ito (2008), as in agent/view/drawing.py: readable with any colour vision.

import { insideZone } from "./geometry.js";

export const COLOURS = {
  detected: "#56B4E9", // sky blue
  counted: "#E69F00", // orange: a rule's condition holds for it
  limbs: "#F0E442", // yellow
  zone: "#CC79A7", // reddish purple
  dim: "#969696",
  blank: "#1c1c1c",
};

const LIMB_SCORE = 0.2; // keypoints below this are not drawn
const TRAIL_MS = 3000;
const SAME_OVERLAP = 0.15; // boxes of two frames that overlap by this are of the same object
const MAX_PIXELS_WIDE = 1600;

// Pairs of COCO keypoints that a bone joins. Order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles;
// left before right.
const BONES = [
  [0, 1],
  [0, 2],
  [1, 3],
  [2, 4],
  [5, 6],
  [5, 7],
  [7, 9],
  [6, 8],
  [8, 10],
  [5, 11],
  [6, 12],
  [11, 12],
  [11, 13],
  [13, 15],
  [12, 14],
  [14, 16],
];

/** A canvas with the frame's shape at the screen's own resolution, so that text and lines stay sharp. */
export class Board {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.shown_width = canvas.clientWidth;
    this.observer = new ResizeObserver(([entry]) => (this.shown_width = entry.contentRect.width));
    this.observer.observe(canvas);
  }

  close() {
    this.observer.disconnect();
  }

  /** The picture, or a blank of its shape. */
  clear(width, height, image) {
    const wide = Math.min(Math.round((this.shown_width || width) * devicePixelRatio), MAX_PIXELS_WIDE) || width;
    const high = Math.round((wide * height) / width);
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
      this.canvas.style.aspectRatio = `${width} / ${height}`;
    }
    this.stroke = Math.max(1.5, (Math.min(this.shown_width, 900) / 320) * devicePixelRatio);
    this.size = Math.max(11, Math.min(15, this.shown_width / 40)) * devicePixelRatio;
    this.context.font = `${this.size}px system-ui, sans-serif`;
    this.context.lineJoin = "round";
    this.context.fillStyle = COLOURS.blank;
    if (image) this.context.drawImage(image, 0, 0, wide, high);
    else this.context.fillRect(0, 0, wide, high);
  }

  at(x, y) {
    // what lies far outside is moved near
    const near = (share) => Math.min(Math.max(share, -1), 2);
    return [near(x) * this.canvas.width, near(y) * this.canvas.height];
  }

  path(points, closed) {
    this.context.beginPath();
    for (const [x, y] of points) this.context.lineTo(...this.at(x, y));
    if (closed) this.context.closePath();
  }

  /** Twice: a black line below the coloured one is seen on any background. */
  line(colour, width = 1) {
    for (const [style, extra] of [
      ["#000", 2 * devicePixelRatio],
      [colour, 0],
    ]) {
      this.context.strokeStyle = style;
      this.context.lineWidth = this.stroke * width + extra;
      this.context.stroke();
    }
  }

  /** Black text on a plate of that colour; moved inwards where it would not fit. x, y: lower left corner, pixels. */
  label(text, x, y, colour) {
    const { context, canvas, size } = this;
    const width = context.measureText(text).width + size * 0.8;
    const height = size * 1.5;
    const left = Math.max(0, Math.min(x, canvas.width - width));
    const bottom = Math.max(height, Math.min(y, canvas.height));
    context.fillStyle = colour;
    context.fillRect(left, bottom - height, width, height);
    context.fillStyle = "#000";
    context.fillText(text, left + size * 0.4, bottom - size * 0.42);
  }
}

/**
 * @param {Board} board
 * @param {Object} frame as the box sends it
 * @param {{zones: Object, conditions: Array, trails: ?Trails}} lane
 */
export function drawFrame(board, frame, { zones = {}, conditions = [], trails = null }) {
  board.clear(frame.width, frame.height, frame.image);
  drawZones(board, zones);
  trails?.draw(board, frame);
  if (frame.inferred) for (const person of frame.points || []) _drawSkeleton(board, person);
  for (const [box, evidence] of _byBox(frame.evidence)) {
    const counted = frame.inferred && evidence.some((item) => holds(item, conditions, zones));
    const kind = !frame.inferred ? "dim" : counted ? "counted" : "detected";
    drawBox(board, box, evidence.map(evidenceText).join(", "), kind);
  }
}

/** Whether a rule's condition would count this evidence: label, score, and where it is. */
export function holds(item, conditions, zones) {
  return conditions.some((condition) => {
    if (condition.absent || condition.label !== item.label || item.score < condition.score) return false;
    const corners = typeof condition.zone === "string" ? zones[condition.zone] : condition.zone;
    return !corners || !corners.length || Boolean(item.box && insideZone(item.box, corners, condition.zone_by));
  });
}

export function evidenceText(item) {
  return `${item.label} ${item.score.toFixed(2)}${item.mark ? ` (${item.mark})` : ""}`;
}

/** One box for all its labels. */
function _byBox(evidence) {
  const boxes = new Map();
  for (const item of evidence || []) {
    if (!item.box || !item.box.every(Number.isFinite)) continue;
    const key = item.box.join();
    if (!boxes.has(key)) boxes.set(key, [item.box, []]);
    boxes.get(key)[1].push(item);
  }
  return boxes.values();
}

/** kind: a name of COLOURS. */
export function drawBox(board, [left, top, right, bottom], text, kind) {
  board.path(
    [
      [left, top],
      [right, top],
      [right, bottom],
      [left, bottom],
    ],
    true,
  );
  board.line(COLOURS[kind], kind === "counted" ? 1.8 : 1);
  const [x, y] = board.at(left, top);
  board.label(text, x, y >= board.size * 1.5 ? y : y + board.size * 1.5, COLOURS[kind]);
}

export function drawZones(board, zones) {
  const { context } = board;
  for (const [name, corners] of Object.entries(zones)) {
    if (corners.length < 2) continue;
    board.path(corners, true);
    context.globalAlpha = 0.22;
    context.fillStyle = COLOURS.zone;
    context.fill();
    context.globalAlpha = 1;
    board.line(COLOURS.zone);
    const [x, y] = corners.reduce((best, corner) =>
      corner[1] * 4 + corner[0] < best[1] * 4 + best[0] ? corner : best,
    );
    const [left, top] = board.at(x, y);
    board.label(name, left, top + board.size * 1.5, COLOURS.zone);
  }
}

/** person: 17 times y, x, score. */
function _drawSkeleton(board, person) {
  const seen = (joint) => joint && joint[2] >= LIMB_SCORE && Number.isFinite(joint[0]) && Number.isFinite(joint[1]);
  for (const [start, end] of BONES) {
    if (!seen(person[start]) || !seen(person[end])) continue;
    board.path(
      [
        [person[start][1], person[start][0]],
        [person[end][1], person[end][0]],
      ],
      false,
    );
    board.line(COLOURS.limbs);
  }
  board.context.fillStyle = COLOURS.limbs;
  for (const joint of person.filter(seen)) {
    board.context.beginPath();
    board.context.arc(...board.at(joint[1], joint[0]), board.stroke * 1.4, 0, 7);
    board.context.fill();
  }
}

/** Where the feet of each box have been lately: boxes of consecutive frames with one label that overlap. */
export class Trails {
  constructor() {
    this.tracks = [];
  }

  draw(board, frame) {
    for (const item of frame.inferred ? frame.evidence : []) if (item.box) this._extend(item, frame.t);
    this.tracks = this.tracks.filter((track) => Math.abs(frame.t - track.t) < TRAIL_MS);
    board.context.setLineDash([board.stroke * 2, board.stroke * 2]);
    for (const track of this.tracks) {
      track.feet = track.feet.filter(([, , t]) => frame.t - t < TRAIL_MS);
      board.path(track.feet, false);
      board.line(COLOURS.detected, 0.6);
    }
    board.context.setLineDash([]);
  }

  _extend(item, t) {
    const same = (track) => track.label === item.label && track.t < t && overlap(track.box, item.box) > SAME_OVERLAP;
    let track = this.tracks.find(same);
    if (!track) this.tracks.push((track = { label: item.label, feet: [] }));
    const [left, , right, bottom] = item.box;
    Object.assign(track, { box: item.box, t });
    track.feet.push([(left + right) / 2, bottom, t]);
  }
}

/** Intersection over union. */
export function overlap(a, b) {
  const wide = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const high = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (wide <= 0 || high <= 0) return 0;
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  return (wide * high) / (area(a) + area(b) - wide * high);
}
