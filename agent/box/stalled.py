"""A child process that does not go on: stopped by a signal, or hung. A slow disk is neither."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

POLL_S = 0.5
STOPPED_POLLS = 6  # 3 s; counted, since a daemon that was stopped together with its children looks late
HUNG_POLLS = 180  # 90 s without a sign of progress, though no disk holds it up: then it will not go on


async def kill_when_stalled(process: subprocess.Popen[bytes], progress: Path | None = None) -> str:
    """Returns once it is killed: why. progress: a file that it writes again and again; None: it may be idle.

    Killed where it is stopped (T or t in /proc/PID/stat) for 3 s, since another process can do its work meanwhile.
    One that is blocked in a disk (D) is left: the next one would be blocked in the same disk. So is one that is just
    slow: only after 90 s without progress and outside of the disk it counts as hung.
    """
    stopped = idle = 0
    before = -1
    while True:
        await asyncio.sleep(POLL_S)
        state, now = _state(process.pid), _changed(progress)
        stopped = stopped + 1 if state in ("T", "t") else 0
        idle = idle + 1 if progress and now == before and state != "D" else 0
        before = now
        if stopped >= STOPPED_POLLS or idle >= HUNG_POLLS:
            process.kill()
            polls, what = (stopped, "was stopped") if stopped >= STOPPED_POLLS else (idle, "made no progress")
            return f"it {what} for {polls * POLL_S:g} s and was killed"


def _state(pid: int) -> str:
    """A letter of proc(5); empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _changed(progress: Path | None) -> int:
    """When the file was written last, by the clock; 0 where it is not there."""
    try:
        return progress.stat().st_mtime_ns if progress else 0
    except OSError:
        return 0
