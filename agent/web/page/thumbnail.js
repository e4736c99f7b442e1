// A small live view of a lane, while it is on the screen.

import { Board } from "./board.js";
import { RollingPlot } from "./charts.js";
import { element, setText } from "./dom.js";
import { drawFrame } from "./draw.js";
import { LiveStream, whileVisible } from "./live.js";

const RATE_HZ = 2;
const WIDTH = 240;
const PLOT_HEIGHT = 210; // about as high as a picture beside it
const MOST_CHANNELS = 3;

export class Thumbnail {
  /** kind: "picture", "readings" or "sound". */
  constructor(lane, kind) {
    const label = kind === "picture" ? `live picture of lane ${lane}` : `the last 20 seconds of lane ${lane}`;
    this.canvas = element("canvas", { role: "img", "aria-label": label });
    this.note = element("figcaption");
    this.node = element("figure", { class: `thumbnail ${kind}` }, this.canvas, this.note);
    this.lane = { zones: {}, conditions: [] };
    if (kind === "picture") this.board = new Board(this.canvas);
    else this.plot = new RollingPlot(this.canvas, { height: PLOT_HEIGHT, most: MOST_CHANNELS });
    const handlers = {
      lane: (message) => this._lane(message),
      state: (live, reason) => this._state(live, reason),
      frame: (frame) => this._frame(frame),
    };
    this.close = whileVisible(this.node, () => new LiveStream(lane, { rate: RATE_HZ, width: WIDTH }, handlers));
  }

  _lane(lane) {
    this.lane = lane;
    this.plot?.setChannels(lane.kind === "sound" ? ["level", "peak"] : lane.channels);
    this.why = lane.why;
    setText(this.note, lane.why || "");
  }

  _state(live, reason) {
    this.node.classList.toggle("stale", !live);
    setText(this.note, live ? this.why || "" : `old: ${reason || "the lane writes nothing"}`);
  }

  _frame(frame) {
    if (this.board) return drawFrame(this.board, frame, this.lane);
    this.plot.push(frame.rows || [[frame.t, frame.level, frame.peak]]);
    this.plot.draw();
  }
}
