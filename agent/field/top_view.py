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

from agent.field import board, status
from agent.field.top import Line, lines

PERIOD_S = 1.0
TONES = {
    "": Style(),
    "head": Style(bold=True),
    "bad": Style(color="red", bold=True),
    "dim": Style(color="bright_black"),
}
QUIT = Line("q quits", "dim")


class Sheet(ScrollView, can_focus=True):
    """Lines of text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = [Line("looking ...")]

    def replace(self, fresh: list[Line]) -> None:
        """Redraw the columns that differ, line by line."""
        old, self.lines = self.lines, fresh
        if len(old) != len(fresh):
            self.virtual_size = Size(max(len(one.text) for one in fresh), len(fresh))
            self.refresh()
            return
        for y, (before, after) in enumerate(zip(old, fresh)):
            for start, end in changes(before, after):
                self.refresh(Region(start - self.scroll_offset.x, y - self.scroll_offset.y, end - start, 1))

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        if not 0 <= y + top < len(self.lines):
            return Strip.blank(self.size.width)
        one = self.lines[y + top]
        text = one.text[x : x + self.size.width].ljust(self.size.width)
        return Strip([Segment(text, TONES[one.tone])], self.size.width)


def changes(before: Line, after: Line, gap: int = 8) -> list[tuple[int, int]]:
    """Where a line differs, [start, end). Closer than `gap` is one change: to move the cursor costs as many bytes."""
    width = max(len(before.text), len(after.text))
    if before.tone != after.tone:
        return [(0, width)]
    a, b = before.text.ljust(width), after.text.ljust(width)
    found: list[tuple[int, int]] = []
    for x in range(width):
        if a[x] != b[x]:
            near = found and x - found[-1][1] < gap
            start = found.pop()[0] if near else x
            found.append((start, x + 1))
    return found


class Top(App[int]):
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "leave", "Quit"), Binding("ctrl+c", "leave", show=False)]
    CSS = "Screen, Sheet { background: ansi_default; } Sheet { scrollbar-size: 0 0; }"

    def __init__(self, path: Path) -> None:
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self.path = path
        self.box = board.Board()
        self.code = status.RUNNING

    def compose(self) -> ComposeResult:
        yield Sheet()

    def on_mount(self) -> None:
        self.run_worker(self.follow(), exclusive=True)

    async def follow(self) -> None:
        """A look a second; it may take a while, so it has a thread of its own."""
        sheet = self.query_one(Sheet)
        sheet.focus()
        while True:
            now = await asyncio.to_thread(status.take, self.path, self.box)
            self.code = status.exit_code(now)
            sheet.replace([*lines(now), QUIT])
            await asyncio.sleep(PERIOD_S)

    def action_leave(self) -> None:
        self.exit(self.code)


def run(path: Path) -> int:
    os.nice(10)  # never ahead of a lane
    # Mouse reports would go back and forth over the link for nothing.
    return Top(path).run(mouse=False) or status.RUNNING
