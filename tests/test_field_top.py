"""`reflexd top`: in 80x24, over a slow link, and without textual."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from agent.field import board, status, top, top_lines
from agent.field.top_lines import Line
from tests.field_fixtures import configuration, exit_code, reflexd, write_ledger
from tests.processes import Cell, arm
from tests.waiting import DEADLINE_S, until

textual = pytest.importorskip("textual", reason="textual is not installed: pip install 'reflexd[top]'")


def test_once_prints_and_exits(tmp_path: Path) -> None:
    for number in range(8):
        write_ledger(tmp_path, f"lane{number}", count=500, every_ms=20)
    result = reflexd("top", "--once", "-c", str(configuration(tmp_path, lanes={}, rules={})))
    assert exit_code(result) == status.DEAD
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 24
    assert (
        sum("stopped" in line for line in lines) == 8
        and "evidence normal 0.90" in result.stdout
        and "█" in result.stdout
    )


def test_without_a_terminal_it_prints_once(tmp_path: Path) -> None:
    write_ledger(tmp_path)
    assert "evidence normal" in reflexd("top", "-c", str(configuration(tmp_path))).stdout


def test_without_textual_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delitem(sys.modules, "agent.field.top_view", raising=False)
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    with pytest.raises(click.ClickException, match=r"scripts/setup top, or pip install 'reflexd\[top\]'"):
        top.show(configuration(tmp_path), once=False)


def test_a_terminal_without_blocks_gets_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "sys", type("S", (), {"stdout": type("O", (), {"encoding": "ascii"})}))
    assert top.printable(["▁▅█ x"]) == [" =# x"]


def test_a_line_of_trouble_stands_out(tmp_path: Path) -> None:
    write_ledger(tmp_path, "slow", stages=(0, 1, 1, 9, 1))
    lines = top_lines.lines(status.read_status(configuration(tmp_path, lanes={}, rules={}), board.BoardMonitor()))
    assert [line.tone for line in lines if line.text.startswith("slow")] == ["bad"]
    assert lines[0].tone == "bad" and "NOT RUNNING" in lines[0].text


def test_only_changed_characters_are_drawn() -> None:
    from agent.field.top_view import changes

    assert changes(Line("abc 1.00 def"), Line("abc 1.00 def")) == []
    assert changes(Line("abc 1.00 def"), Line("abc 1.07 def")) == [(7, 8)]
    assert changes(Line("1" + 20 * " " + "2"), Line("3" + 20 * " " + "4")) == [(0, 1), (21, 22)]
    assert changes(Line("1 2"), Line("3 4")) == [(0, 3)]  # near enough to be a single change
    assert changes(Line("ab"), Line("abcd")) == [(2, 4)]
    assert changes(Line("ab", "dim"), Line("ab", "bad")) == [(0, 2)]


def test_the_live_view_fits_80_by_24_and_quits_with_q(tmp_path: Path) -> None:
    from agent.field.top_view import Sheet, Top

    for number in range(12):
        write_ledger(tmp_path, f"lane{number}")
    app = Top(configuration(tmp_path, lanes={}, rules={}))

    async def screenshots() -> list[str]:
        async with app.run_test(size=(80, 24)) as pilot:
            sheet = app.query_one(Sheet)
            while len(sheet.lines) < 10:
                await pilot.pause(0.01)
            first = app.export_screenshot()
            await pilot.press("end")  # 12 lanes take more than 24 lines
            while sheet.scroll_offset.y < sheet.max_scroll_y:
                await pilot.pause(0.01)
            last = app.export_screenshot()
            await pilot.press("q")
        return [first.replace("&#160;", " "), last.replace("&#160;", " ")]

    first, last = asyncio.run(screenshots())
    assert "NOT RUNNING" in first and "lane0 " in first and "q quits" not in first
    assert "q quits" in last and "lane11" in last
    assert app.return_value == status.DEAD


@pytest.mark.slow
def test_a_slow_link_is_not_flooded(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm(), "leg": arm()}) as cell:
        cell.start_both()
        drawn, code = watch(cell.write())
    first, later = drawn[0], drawn[3:-1]
    assert b"arm" in b"".join(drawn) and code in (status.RUNNING, status.DEGRADED)
    # 9600 baud carry 960 bytes a second
    assert len(first) < 16_000 and later and max(map(len, later)) < 960, [len(chunk) for chunk in drawn]


def watch(path: Path, seconds: int = 8) -> tuple[list[bytes], int]:
    """The bytes that `reflexd top` writes to a terminal each second, and its exit code after a q."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-m", "agent", "top", "-c", str(path)]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    try:
        drawn = [receive(master, DEADLINE_S, b"LANE")]
        drawn += [receive(master, 1.0) for _ in range(seconds)]
        os.write(master, b"q")
        until(lambda: receive(master, 0.05) is not None and process.poll() is not None, "the end after q")
        return drawn, process.returncode
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)


def receive(master: int, seconds: float, enough: bytes = b"\0none") -> bytes:
    """Everything written within this time, or until `enough` is in it."""
    received, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and enough not in received:
        if select.select([master], [], [], left)[0]:
            try:
                received += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
    return received
