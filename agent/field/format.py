"""Figures and times in few columns, readable at a glance."""

from __future__ import annotations

import textwrap

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
    """Two decimals below 10 ms, where a reflex is; then fewer."""
    if value is None:
        return "-"
    decimals = 2 if value < 9.995 else 1 if value < 999.5 else 0
    return f"{value:.{decimals}f}"


def bar(share: float, width: int) -> str:
    """[####--]: filled up to 1; over it an exclamation mark ends the bar."""
    full = min(width, int(share * width + 0.5))
    return "[" + "#" * full + "-" * (width - full) + ("!" if share > 1 else "]")


def sparkline(values: list[float | None], top: float) -> str:
    """A column each, from nothing to `top` and above; a gap where there was nothing."""
    steps = len(SPARKS) - 1
    levels = [None if value is None else min(steps, max(0, int(value / top * steps + 0.5))) for value in values]
    return "".join(" " if level is None else SPARKS[level] for level in levels)


def clip(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def wrapped(text: str, first: str) -> list[str]:
    """Lines of at most 80 columns: `first` begins the first one and indents the others; none of an empty text."""
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first)) if text else []


def plain(text: str) -> str:
    """Without the characters that would control a terminal: labels and messages come from files and devices."""
    return "".join(character if character.isprintable() else "?" for character in text)
