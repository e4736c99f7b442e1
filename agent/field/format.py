"""Figures and times as a tired person reads them, in few columns."""

from __future__ import annotations

WIDTH = 80
SPARKS = "▁▂▃▄▅▆▇█"


def ago(seconds: float | None) -> str:
    """0.2 s, 14 s, 3 min, 5 h, 2 d; never more than seven columns."""
    if seconds is None:
        return "?"
    for limit, unit, size in ((10, "s", 1), (120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds:.1f} {unit}" if limit == 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def rate(hertz: float) -> str:
    return f"{hertz:.0f}" if hertz >= 99.5 else f"{hertz:.1f}"


def ms(value: float | None) -> str:
    """Two figures behind the point below 10 ms; a reflex is shorter."""
    return (
        "-"
        if value is None
        else f"{value:.2f}"
        if value < 9.995
        else f"{value:.1f}"
        if value < 999.5
        else f"{value:.0f}"
    )


def bar(share: float, width: int) -> str:
    """[####--]: filled up to 1; over it an exclamation mark ends the bar."""
    full = min(width, int(share * width + 0.5))
    return "[" + "#" * full + "-" * (width - full) + ("!" if share > 1 else "]")


def sparkline(values: list[float | None], top: float) -> str:
    """A column each, from nothing to `top` and above; a gap where there was nothing."""
    steps = len(SPARKS) - 1
    return "".join(" " if one is None else SPARKS[min(steps, max(0, int(one / top * steps + 0.5)))] for one in values)


def clip(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def plain(text: str) -> str:
    """Without the characters that would steer a terminal: labels and messages come from files and devices."""
    return "".join(one if one.isprintable() else "?" for one in text)
