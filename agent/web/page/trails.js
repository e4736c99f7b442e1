// The ways that boxes came.

import { COLOURS } from "./board.js";

const TRAIL_MS = 3000;
const SAME_OVERLAP = 0.15; // boxes of two frames that overlap by this are of the same object

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
