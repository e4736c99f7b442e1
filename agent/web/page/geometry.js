// Points and polygons, in shares of the frame.

const BELOW_ONE = 1 - 1e-9; // a box that touches the frame's lower edge stands in a zone that goes down to it

/** Where a zone counts a box: its foot, or its middle; outside the frame: the nearest point in it. */
export function anchor([left, top, right, bottom], by) {
  const near = (value) => Math.min(Math.max(value, 0), BELOW_ONE);
  return [near((left + right) / 2), near(by === "middle" ? (top + bottom) / 2 : bottom)];
}

/** As agent/rules/zones.py: a ray to the left crosses the outline an odd number of times. */
export function insideZone(box, corners, by = "foot") {
  const [x, y] = anchor(box, by);
  let inside = false;
  corners.forEach((corner, n) => {
    const next = corners[(n + 1) % corners.length];
    const [upper, lower] = corner[1] <= next[1] ? [corner, next] : [next, corner];
    if (y < upper[1] || y >= lower[1]) return;
    const slope = (lower[0] - upper[0]) / (lower[1] - upper[1]);
    if (upper[0] + slope * (y - upper[1]) <= x) inside = !inside;
  });
  return inside;
}

/** To the nearest thousandth, within the frame: finer than any pixel that matters, short to read. */
export function share(value) {
  return Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;
}

/** In the middle of the side that begins at that corner. */
export function midpoint(corners, number) {
  const [x1, y1] = corners[number];
  const [x2, y2] = corners[(number + 1) % corners.length];
  return [share((x1 + x2) / 2), share((y1 + y2) / 2)];
}
