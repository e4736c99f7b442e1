"""The live view: only the characters that have changed go over the link."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agent.field import status
from agent.field.board import BoardMonitor
from agent.field.top_lines import Line, lines

PERIOD_S = 1.0
TONES = {
    "": Style(),
    "head": Style(bold=True),
    "bad": Style(color="red", bold=True),
    "dim": Style(color="bright_black"),
}
QUIT = Line("q quits", "dim")


class Sheet(ScrollView, can_focus=True):
    """Lines of text that scroll."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = [Line("reading ...")]

    def replace(self, lines: list[Line]) -> None:
        """Redraw the columns that differ, line by line."""
        old, self.lines = self.lines, lines
        if len(old) != len(lines):
            self.virtual_size = Size(max(len(line.text) for line in lines), len(lines))
            self.refresh()
            return
        for y, (before, after) in enumerate(zip(old, lines)):
            for start, end in changes(before, after):
                self.refresh(Region(start - self.scroll_offset.x, y - self.scroll_offset.y, end - start, 1))

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        if not 0 <= y + top < len(self.lines):
            return Strip.blank(self.size.width)
        line = self.lines[y + top]
        text = line.text[x : x + self.size.width].ljust(self.size.width)
        return Strip([Segment(text, TONES[line.tone])], self.size.width)


def changes(before: Line, after: Line, gap: int = 8) -> list[tuple[int, int]]:
    """Where a line differs, [start, end). Closer than `gap` is one change: to move the cursor costs as many bytes."""
    width = max(len(before.text), len(after.text))
    if before.tone != after.tone:
        return [(0, width)]
    a, b = before.text.ljust(width), after.text.ljust(width)
    spans: list[tuple[int, int]] = []
    for x in range(width):
        if a[x] != b[x]:
            near = spans and x - spans[-1][1] < gap
            start = spans.pop()[0] if near else x
            spans.append((start, x + 1))
    return spans


class Top(App[int]):
    """The application; it returns the exit code of the last status."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "exit", "Quit"), Binding("ctrl+c", "exit", show=False)]
    CSS = "Screen, Sheet { background: ansi_default; } Sheet { scrollbar-size: 0 0; }"

    def __init__(self, path: Path) -> None:
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self.path = path
        self.monitor = BoardMonitor()
        self.code = status.RUNNING

    def compose(self) -> ComposeResult:
        yield Sheet()

    def on_mount(self) -> None:
        self.run_worker(self._update(), exclusive=True)

    async def _update(self) -> None:
        """Read and draw the status each second; reading may take long, so it runs on another thread."""
        sheet = self.query_one(Sheet)
        sheet.focus()
        while True:
            current = await asyncio.to_thread(status.read_status, self.path, self.monitor)
            self.code = status.exit_code(current)
            sheet.replace([*lines(current), QUIT])
            await asyncio.sleep(PERIOD_S)

    def action_exit(self) -> None:
        self.exit(self.code)


def run(path: Path) -> int:
    os.nice(10)  # never ahead of a lane
    # Mouse reports would only load the link.
    return Top(path).run(mouse=False) or status.RUNNING
