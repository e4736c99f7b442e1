"""Processor time of programs and of the processes that they start, by what these do: valid on a busy machine, too."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping

import psutil

POLL_S = 0.25
# A part of a child's command line -> its name here; others count to the program that started them.
CHILDREN = {"agent.recorder.recorder": "recorder", "agent.workers.process": "lanes"}


class ProcessorTime:
    """Cores used by each part, on average."""

    def __init__(self, programs: Mapping[str, int]) -> None:
        """programs: process ids, by name."""
        self._programs = programs
        self._names: dict[int, str] = {}
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._began = self._ended = 0.0

    def follow(self, program: subprocess.Popen[bytes], after_s: float, timeout_s: float) -> None:
        """Until this program ends, from so long after the start."""
        start = time.monotonic()
        while program.poll() is None and time.monotonic() - start < timeout_s:
            if time.monotonic() - start > after_s:
                self._read()
            time.sleep(POLL_S)

    def _read(self) -> None:
        now = time.monotonic()
        self._began, self._ended = self._began or now, now
        for name, pid in self._programs.items():
            try:
                for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
                    self._add(name, process)
            except psutil.Error:
                continue  # it has ended

    def _add(self, name: str, process: psutil.Process) -> None:
        if process.pid not in self._names:
            line = " ".join(process.cmdline())
            self._names[process.pid] = next((own for part, own in CHILDREN.items() if part in line), name)
        times = process.cpu_times()
        self._last[process.pid] = times.user + times.system
        self._first.setdefault(process.pid, self._last[process.pid])

    def shares(self) -> dict[str, float]:
        """Cores used by each part: 1.0 is one core, all the time."""
        seconds = max(self._ended - self._began, POLL_S)
        used: dict[str, float] = {}
        for pid, name in self._names.items():
            used[name] = used.get(name, 0.0) + (self._last[pid] - self._first[pid]) / seconds
        return {name: round(cores, 3) for name, cores in sorted(used.items())}
