// What a lane detects, drawn onto a board: zones, boxes, skeletons, the way that boxes came. Coordinates are shares of
// the frame.

import { COLOURS } from "./board.js";
import { insideZone } from "./geometry.js";

const LIMB_SCORE = 0.2; // keypoints below this are not drawn

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

/**
 * @param {Board} board
 * @param {Object} frame as the box sends it
 * @param {{zones: Object, conditions: Array, trails: ?Trails}} lane
 */
export function drawFrame(board, frame, { zones = {}, conditions = [], trails = null }) {
  board.clear(frame.width, frame.height, frame.image, frame.part);
  drawZones(board, zones);
  trails?.draw(board, frame);
  if (frame.inferred) for (const person of frame.points || []) _drawSkeleton(board, person);
  for (const [box, evidence] of _byBox(frame.evidence)) {
    const counted = frame.inferred && evidence.some((item) => holds(item, conditions, zones));
    const kind = !frame.inferred ? "dim" : counted ? "counted" : "detected";
    drawBox(board, box, evidence.map(evidenceText).join(", "), kind);
  }
  board.drawLabels();
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
    labelZone(board, name, corners);
  }
}

/** Below its upper left corner. away: pixels from it, where a handle is on the corner. */
export function labelZone(board, name, corners, away = 0) {
  const upper = (corner) => corner[1] * 4 + corner[0];
  const [left, top] = board.at(...corners.reduce((best, corner) => (upper(corner) < upper(best) ? corner : best)));
  board.label(name, left + away, top + away + board.size * 1.5, COLOURS.zone);
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
