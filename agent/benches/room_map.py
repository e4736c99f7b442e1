"""`python -m agent.benches.room_map`: draws agent/rooms.svg, the rooms of agent/ and their imports, from the code."""

from __future__ import annotations

from html import escape
from pathlib import Path

from agent.benches.imports import room_imports

PICTURE = Path(__file__).resolve().parents[1] / "rooms.svg"

# From high to low, as on the picture: (what the row is, its rooms with a few words each).
LANE = "the lane"  # highlighted
ROWS: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "commands",
        {
            "cli": "arguments, exit codes",
            "field": "status, top, doctor ...",
            "view": "draws what a lane finds",
            "web": "live view in a browser",
            "tune": "meets a budget",
            "demo": "the simulated cell",
            "benches": "measurements, proofs",
        },
    ),
    (
        "tools",
        {
            "replay": "recomputes a recording",
            "modeltools": "model init, show, bench",
            "scenes": "example configurations",
            "pool": "a folder by many workers",
            "rollout": "many boxes, one file",
        },
    ),
    (
        "control plane",
        {
            "daemon": "start, watch, stop",
            "reload": "a changed configuration",
            "workers": "lanes in processes",
            "group": "lanes in a process",
            "runner": "a lane on its thread",
            "health": "lane state to box state",
            "overload": "sheds load by priority",
            "report": "the answer to status",
        },
    ),
    (
        "beside the lanes",
        {
            "metrics": "Prometheus",
            "recorder": "tapes into files",
            "drift": "is input as it was?",
            "site": "boxes that see each other",
            "offload": "work for and from others",
            "update": "a model's versions",
        },
    ),
    (
        "assembly",
        {"build": "configuration to objects", "config": "reflexd.yaml, checked", "control": "the control socket"},
    ),
    (
        LANE,
        {
            "lane": "from sample to command",
            "arrival": "which samples count",
            "perception": "gate, models",
            "offline": "a lane without a daemon",
            "tapes": "what the recorder reads",
        },
    ),
    (
        "the steps",
        {
            "prepare": "samples into tensors",
            "gates": "which samples to infer",
            "vision": "refine, tracks, poses",
            "rules": "evidence to decisions",
            "commands": "decisions to the device",
        },
    ),
    (
        "models, figures",
        {
            "packages": "models on disk, checked",
            "backends": "engines",
            "decoders": "outputs to findings",
            "ledger": "latencies and counts",
            "keys": "CURVE keys",
            "forecast": "load some seconds ahead",
            "compression": "tensors in few bytes",
        },
    ),
    (
        "foundation",
        {
            "drivers": "a file for each device",
            "box": "signals, cores, systemd",
            "yamlfile": "YAML, line numbers",
            "section": "wrong keys and values",
            "options": "shared options",
            "redact": "secrets masked",
            "data": "samples to commands",
            "errors": "exit codes 1 and 2",
        },
    ),
)

WIDTH, LEFT, ROW, BOX, TOP = 1280, 120, 112, (136, 50), 34  # pixels; LEFT: for the rows' names
# Drawn with another one.
SMALL = {
    "ledger_text": "ledger",
    "isolated": "box",
    "__main__": "cli",
    "children": "daemon",
    "endpoints": "keys",
    "web_keys": "keys",
    "site_keys": "keys",
    "open_inference": "backends",
    "http_server": "box",
}


def _places() -> dict[str, tuple[float, float]]:
    """Middle of each room's box."""
    places: dict[str, tuple[float, float]] = {}
    for number, (_, rooms) in enumerate(ROWS):
        step = (WIDTH - LEFT) / len(rooms)
        for column, room in enumerate(rooms):
            places[room] = (LEFT + step * (column + 0.5), TOP + ROW * number + 62)
    return places


def _needed(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges that no longer path replaces (transitive reduction): enough to see what depends on what."""
    below: dict[str, set[str]] = {}
    for high, low in edges:
        below.setdefault(high, set()).add(low)

    def reaches(start: str, goal: str) -> bool:
        return any(room == goal or reaches(room, goal) for room in below.get(start, ()))

    return {(high, low) for high, low in edges if not any(reaches(room, low) for room in below[high] - {low})}


def _draw() -> str:
    """The picture as SVG."""
    places = _places()
    edges = {(SMALL.get(high, high), SMALL.get(low, low)) for high, low in room_imports()}
    missing = {room for pair in edges for room in pair} - set(places) - {"models.train"}
    if missing:
        raise SystemExit(f"room_map: no place for {', '.join(sorted(missing))}: add them to ROWS")
    ground = ROWS[-1][1].keys()
    arrows = _needed({(high, low) for high, low in edges if high != low and low not in ground and high in places})
    height = TOP + ROW * len(ROWS) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="Helvetica, Arial, sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5" markerHeight="5" orient="auto">'
        '<path d="M0 0 6 3 0 6z" fill="#8a94a6"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="20" font-size="13" fill="#5b6675">{len(places)} rooms. An arrow means: imports, never '
        "upwards. Left out: imports that a longer path shows, and imports of the foundation.</text>",
    ]
    for number, (title, _) in enumerate(ROWS):
        y, shade = TOP + ROW * number, "#f4f7fb" if number % 2 == 0 else "#ffffff"
        parts.append(f'<rect y="{y}" width="{WIDTH}" height="{ROW}" fill="{shade}"/>')
        parts.append(
            f'<text x="12" y="{y + 66}" font-size="13" font-weight="bold" fill="#5b6675">{escape(title)}</text>'
        )
    parts += [_arrow(places[high], places[low]) for high, low in sorted(arrows)]
    parts += [_box(room, text, places[room]) for _, rooms in ROWS for room, text in rooms.items()]
    return "\n".join([*parts, "</svg>\n"])


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y), half = start, end, BOX[1] / 2
    if y == to_y:  # side by side: over the tops of the boxes between
        rise = 14 + abs(to_x - x) / 40
        x, to_x, y = x + (20 if to_x > x else -20), to_x - (20 if to_x > x else -20), y - half
        path = f"M{x:.0f} {y:.0f} C{x:.0f} {y - rise:.0f} {to_x:.0f} {y - rise:.0f} {to_x:.0f} {y:.0f}"
    else:
        y, to_y = y + half, to_y - half
        bend = (to_y - y) / 2
        path = f"M{x:.0f} {y:.0f} C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}"
    return f'<path d="{path}" fill="none" stroke="#8a94a6" stroke-width="1.1" marker-end="url(#tip)"/>'


def _box(room: str, text: str, middle: tuple[float, float]) -> str:
    (x, y), (width, height) = middle, BOX
    fill = "#dbe8fd" if room in dict(ROWS)[LANE] else "#ffffff"
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" height="{height}" rx="6" fill="{fill}"'
        f' stroke="#33405a"/><text x="{x:.0f}" y="{y - 3:.0f}" font-size="15" font-weight="bold" text-anchor="middle"'
        f' fill="#1d2636">{escape(room)}</text><text x="{x:.0f}" y="{y + 14:.0f}" font-size="9.6" text-anchor="middle"'
        f' fill="#44506a">{escape(text)}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(_draw(), encoding="utf-8")
    print(PICTURE)
