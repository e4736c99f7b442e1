// A canvas for a frame and what is detected in it. Colours are those of Okabe and Ito (2008), as in
// agent/view/drawing.py: readable with any colour vision.

export const COLOURS = {
  detected: "#56B4E9", // sky blue
  counted: "#E69F00", // orange: a rule's condition holds for it
  limbs: "#F0E442", // yellow
  zone: "#CC79A7", // reddish purple
  dim: "#969696",
  blank: "#1c1c1c",
};

const MAX_PIXELS_WIDE = 1600;
const LABEL_ROWS = [0, 1, -1, 2, -2, 3, -3]; // where a label may go, in its heights

/** A canvas with the frame's shape at the screen's own resolution, so that text and lines stay sharp. */
export class Board {
  /** alpha: what is below the canvas shows through. */
  constructor(canvas, { alpha = false } = {}) {
    Object.assign(this, { canvas, alpha, labels: [] });
    this.context = canvas.getContext("2d", { alpha });
    this.shown_width = canvas.clientWidth;
    this.observer = new ResizeObserver(([entry]) => (this.shown_width = entry.contentRect.width));
    this.observer.observe(canvas);
  }

  close() {
    this.observer.disconnect();
  }

  /** The picture, or a blank of its shape. part: left, top, right and bottom of what the image shows of it, in shares. */
  clear(width, height, image, [left, top, right, bottom] = [0, 0, 1, 1]) {
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
    this.labels = [];
    if (this.alpha) return this.context.clearRect(0, 0, wide, high);
    this.context.fillRect(0, 0, wide, high);
    if (image) this.context.drawImage(image, left * wide, top * high, (right - left) * wide, (bottom - top) * high);
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

  /** Black text on a plate of that colour, drawn by drawLabels. x, y: lower left corner, pixels. */
  label(text, x, y, colour) {
    const width = this.context.measureText(text).width + this.size * 0.8;
    const height = this.size * 1.5;
    const left = Math.max(0, Math.min(x, this.canvas.width - width));
    this.labels.push({ text, colour, left, width, height, bottom: y });
  }

  /** Above all lines and shades, so that none covers them; of two in one place the later one stays there. */
  drawLabels() {
    const placed = [];
    for (const label of this.labels.reverse()) {
      const { text, colour, left, width, height } = label;
      const bottoms = LABEL_ROWS.map((row) => this._inside(label.bottom + row * height, height));
      const free = (bottom) => !placed.some((other) => _covers(other, { ...label, bottom }));
      const bottom = bottoms.find(free) ?? bottoms[0];
      placed.push({ ...label, bottom });
      this.context.fillStyle = colour;
      this.context.fillRect(left, bottom - height, width, height);
      this.context.fillStyle = "#000";
      this.context.fillText(text, left + this.size * 0.4, bottom - this.size * 0.42);
    }
    this.labels = [];
  }

  _inside(bottom, height) {
    return Math.max(height, Math.min(bottom, this.canvas.height));
  }
}

function _covers(a, b) {
  const beside = a.left >= b.left + b.width || b.left >= a.left + a.width;
  return !beside && Math.abs(a.bottom - b.bottom) < b.height - 0.5;
}

/** A picture that is kept after its own end. canvas: of the copy before it, to be used again. */
export function copyOf(image, canvas) {
  const copy = canvas || document.createElement("canvas");
  Object.assign(copy, { width: image.width, height: image.height });
  copy.getContext("2d").drawImage(image, 0, 0);
  return copy;
}
