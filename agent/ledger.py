"""A lane's ledger: one row of time stamps for each sample, and a count of everything that was dropped.

The ledger of a lane is a memory-mapped file. The lane writes it without a lock or a system call; `status`, `bench`
and the metrics process read it from outside, also when the daemon is dead.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.box.mapped import new_file
from agent.data import Array

MAGIC = b"reflexd\x02"
ROWS = 1 << 15
HEADER = 4096
GROUP = 0o040  # `reflexd status` of the box's group reads it

STAMPS = ("sequence", "capture", "asked", "read", "prepared", "inferred", "decided", "sent", "applied")
ROW = struct.Struct(f"={len(STAMPS)}q")
ROW_TYPE = np.dtype([(name, np.int64) for name in STAMPS])
APPLIED = ROW.size - 8  # where in the row the acknowledgement writes

# What is counted. From "lost" on: reasons why a sample or a decision was dropped; the last is none, the configuration
# wants it so (`every`).
COUNTERS = (
    "samples",
    "inferences",
    "decisions",
    "sent",
    "applied",
    "lost",
    "skipped",
    "gated",
    "stale",
    "repeated",
    "late",
    "undelivered",
    "refused",
    "unacknowledged",
    "faults",
    "shed",
    "overruled",
    "thinned",
)
SAMPLES, INFERENCES, DECISIONS, SENT, ACKNOWLEDGED = range(5)
LOST, SKIPPED, GATED, STALE, REPEATED, LATE, UNDELIVERED, REFUSED, UNACKNOWLEDGED, FAULTS, SHED, OVERRULED = range(
    5, 17
)
THINNED = 17
DROPS = COUNTERS[5:THINNED]
TOTALS = (*COUNTERS[:5], COUNTERS[THINNED])

# What was not computed again, and heads that were loaded on demand, ahead, or ahead in vain.
REUSE = ("cache_hits", "cache_misses", "cache_saved_us", "head_loads", "prefetches", "wrong_prefetches")

STATES = ("closed", "opening", "running", "gone", "ended", "failed")
CLOSED, OPENING, RUNNING, GONE, ENDED, FAILED = range(len(STATES))

PARTS = ("queueing", "transport", "preprocess", "inference", "decision")

IDENTITY = struct.Struct("=8s64sqqd")  # magic, lane, pid, started (ns, CLOCK_REALTIME), budget_ms
EVIDENCE = struct.Struct("=32sdq")  # label, score, t_capture
REUSE_COUNTS = struct.Struct(f"={len(REUSE)}q")
COUNTS_AT, STATE_AT, EVIDENCE_AT, REUSE_AT = 256, 512, 576, 640
STATE, HEAD, PROGRESS, CRITICAL, DEADLINE, TROUBLED = range(6)  # the cells from STATE_AT on


class Ledger:
    """Written by one lane. `count` is indexed by the counter constants: ledger.count[SKIPPED] += 1."""

    def __init__(self, path: Path | None, lane: str, budget_ms: float, critical: bool = True) -> None:
        """Path None keeps it in memory only. Raises OSError when the file cannot be made (disk full)."""
        size = HEADER + ROWS * ROW.size
        if path is None:
            self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        else:
            self.memory = new_file(path, size, GROUP)
        IDENTITY.pack_into(self.memory, 0, MAGIC, lane.encode()[:64], os.getpid(), time.time_ns(), budget_ms)
        self.view = memoryview(self.memory)
        self.count = self.view[COUNTS_AT : COUNTS_AT + 8 * len(COUNTERS)].cast("q")
        self.cells = self.view[STATE_AT : STATE_AT + 48].cast("q")
        self.cells[PROGRESS], self.cells[CRITICAL] = time.monotonic_ns(), critical
        self.head = 0

    @property
    def state(self) -> int:
        return self.cells[STATE]

    @state.setter
    def state(self, state: int) -> None:
        self.cells[STATE] = state

    def start_call(self, limit_s: float) -> None:
        """The driver's open or close begins: no progress of the lane's loop until it returns, limit_s at most."""
        now = self.cells[PROGRESS] = time.monotonic_ns()
        self.cells[DEADLINE] = now + int(limit_s * 1e9)

    def end_call(self) -> None:
        self.cells[PROGRESS], self.cells[DEADLINE] = time.monotonic_ns(), 0

    def next_row(self) -> int:
        """Where the next `write` will go, for commands that leave before their sample is written."""
        return HEADER + (self.head % ROWS) * ROW.size

    def write(
        self, sequence: int, capture: int, asked: int, read: int, prepared: int, inferred: int, decided: int, sent: int
    ) -> None:
        """Write the row of one sample. sent: 0 where no command left."""
        ROW.pack_into(
            self.memory, self.next_row(), sequence, capture, asked, read, prepared, inferred, decided, sent, 0
        )
        self.head += 1
        self.cells[HEAD] = self.head

    def record_applied(self, at: int, t_applied: int) -> None:
        """at: the row, as `next_row` returned it."""
        struct.pack_into("=q", self.memory, at + APPLIED, t_applied)

    def record_evidence(self, label: str, score: float, t_capture: int) -> None:
        EVIDENCE.pack_into(self.memory, EVIDENCE_AT, _encoded(label), score, t_capture)

    def record_reuse(self, counts: Sequence[int]) -> None:
        """counts: as in REUSE, since the lane was made."""
        REUSE_COUNTS.pack_into(self.memory, REUSE_AT, *counts)

    def close(self) -> None:
        self.count.release()
        self.cells.release()
        self.view.release()
        self.memory.close()


@cache
def _encoded(label: str) -> bytes:
    return label.encode()[:32]


class LedgerSnapshot(NamedTuple):
    """A ledger at one moment. rows: [n] of ROW_TYPE, a field for each of STAMPS, oldest first."""

    lane: str
    pid: int
    started: int
    budget_ms: float
    critical: bool
    state: str
    t_progress: int  # when the lane's loop last made progress, ns of CLOCK_MONOTONIC
    t_deadline: int  # when the driver's open or close counts as hung; 0 while neither runs
    head: int  # rows written since the start, of which the newest are kept
    troubled: int  # actuators that do not acknowledge its commands, or refuse them
    counts: dict[str, int]
    label: str
    score: float
    t_evidence: int
    rows: Array
    reuse: dict[str, int] = {}  # by the names of REUSE


def read(path: Path) -> LedgerSnapshot:
    """Raises OSError; ValueError where the file is not a ledger of this version."""
    with open(path, "rb") as file:
        raw = file.read()
    if len(raw) != HEADER + ROWS * ROW.size or raw[:8] != MAGIC:
        raise ValueError(f"{path}: not a ledger of this version")
    return snapshot(raw)


def mapped(path: Path) -> mmap.mmap:
    """A lane's ledger, to be read while another process writes it. Raises OSError."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def read_all(run_dir: Path) -> Iterator[LedgerSnapshot]:
    """Every ledger of a run_dir, without those that are just being created or are of another version."""
    for path in sorted(run_dir.glob("*.ledger")):
        try:
            yield read(path)
        except (OSError, ValueError):
            continue


def snapshot(raw: bytes | memoryview | mmap.mmap, newest: int = ROWS) -> LedgerSnapshot:
    """newest: how many rows to copy out."""
    _, lane, pid, started, budget = IDENTITY.unpack_from(raw, 0)
    counts = struct.unpack_from(f"={len(COUNTERS)}q", raw, COUNTS_AT)
    state, head, progress, critical, deadline, troubled = struct.unpack_from("=6q", raw, STATE_AT)
    label, score, t_evidence = EVIDENCE.unpack_from(raw, EVIDENCE_AT)
    ring = np.frombuffer(raw, ROW_TYPE, ROWS, HEADER)
    rows = ring[np.arange(head - min(head, newest, ROWS), head) % ROWS]
    return LedgerSnapshot(
        lane=_text(lane),
        pid=pid,
        started=started,
        budget_ms=budget,
        critical=bool(critical),
        state=STATES[state % len(STATES)],
        t_progress=progress,
        t_deadline=deadline,
        troubled=troubled,
        head=head,
        counts=dict(zip(COUNTERS, counts)),
        label=_text(label),
        score=score,
        t_evidence=t_evidence,
        rows=rows,
        reuse=dict(zip(REUSE, REUSE_COUNTS.unpack_from(raw, REUSE_AT))),
    )


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode(errors="replace")


def parts(rows: Array) -> dict[str, npt.NDArray[np.float64]]:
    """Milliseconds of each latency part and their total, one value per row.

    queueing: ready while the lane was busy; transport: device to lane; preprocess: into the input tensor; inference:
    model and decoder; decision: rules, wire, actuator until applied. Rows without an acknowledgement end at `decided`.
    """
    capture, read_at, prepared, inferred = (rows[name] for name in ("capture", "read", "prepared", "inferred"))
    queued = np.clip(rows["asked"] - capture, 0, None)
    end = np.where(rows["applied"] > 0, rows["applied"], rows["decided"])
    nanoseconds = {
        "queueing": queued,
        "transport": read_at - capture - queued,
        "preprocess": prepared - read_at,
        "inference": inferred - prepared,
        "decision": end - inferred,
        "total": end - capture,
    }
    return {name: part / 1e6 for name, part in nanoseconds.items()}


def quantiles(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """p50, p99, p99.9 and max of milliseconds; empty where there are no values."""
    if not len(values):
        return {}
    p50, p99, p999 = np.percentile(values, (50, 99, 99.9))
    return {"p50": float(p50), "p99": float(p99), "p99.9": float(p999), "max": float(values.max())}
