"""Where the milliseconds went: one row of time stamps per sample, and a count of everything that was dropped.

The ledger of a lane is a memory-mapped file. The lane writes it without a lock or a system call; `status`, `bench`
and the metrics process read it from outside, also when the daemon is dead.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.data import Array

MAGIC = b"reflexd\x02"
ROWS = 1 << 15
HEADER = 4096

STAMPS = ("sequence", "capture", "asked", "read", "prepared", "inferred", "decided", "sent", "applied")
ROW = struct.Struct(f"={len(STAMPS)}q")
ROW_TYPE = np.dtype([(name, np.int64) for name in STAMPS])
APPLIED = ROW.size - 8  # where in the row the acknowledgement writes

# What is counted. From "lost" on these are reasons why a sample or a decision went no further.
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
)
SAMPLES, INFERENCES, DECISIONS, SENT, ACKNOWLEDGED = range(5)
LOST, SKIPPED, GATED, STALE, REPEATED, LATE, UNDELIVERED, REFUSED, UNACKNOWLEDGED, FAULTS = range(5, 15)
DROPS = COUNTERS[5:]

STATES = ("closed", "opening", "running", "gone", "ended", "failed")
CLOSED, OPENING, RUNNING, GONE, ENDED, FAILED = range(len(STATES))

PARTS = ("queueing", "transport", "preprocess", "inference", "decision")

IDENTITY = struct.Struct("=8s64sqqd")  # magic, lane, pid, started (ns, CLOCK_REALTIME), budget_ms
EVIDENCE = struct.Struct("=32sdq")  # label, score, t_capture
COUNTS_AT, STATE_AT, EVIDENCE_AT = 256, 512, 576
STATE, HEAD, PROGRESS, CRITICAL = range(4)  # the cells from STATE_AT on


class Ledger:
    """Written by one lane. `count` is indexed by the counter constants: ledger.count[SKIPPED] += 1."""

    def __init__(self, path: Path | None, lane: str, budget_ms: float, critical: bool = True) -> None:
        """path None keeps it in memory only. Raises OSError when the file cannot be made (disk full)."""
        size = HEADER + ROWS * ROW.size
        if path is None:
            self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        else:
            self.memory = new_file(path, size)
        IDENTITY.pack_into(self.memory, 0, MAGIC, lane.encode()[:64], os.getpid(), time.time_ns(), budget_ms)
        self.view = memoryview(self.memory)
        self.count = self.view[COUNTS_AT : COUNTS_AT + 8 * len(COUNTERS)].cast("q")
        self.cells = self.view[STATE_AT : STATE_AT + 32].cast("q")
        self.cells[PROGRESS], self.cells[CRITICAL] = time.monotonic_ns(), critical
        self.head = 0

    @property
    def state(self) -> int:
        return self.cells[STATE]

    @state.setter
    def state(self, state: int) -> None:
        self.cells[STATE] = state

    def next_row(self) -> int:
        """Where the next `write` will go, for commands that leave before their sample is booked."""
        return HEADER + (self.head % ROWS) * ROW.size

    def write(
        self, sequence: int, capture: int, asked: int, read: int, prepared: int, inferred: int, decided: int, sent: int
    ) -> None:
        """Book one sample. sent: 0 where no command left."""
        ROW.pack_into(
            self.memory, self.next_row(), sequence, capture, asked, read, prepared, inferred, decided, sent, 0
        )
        self.head += 1
        self.cells[HEAD] = self.head

    def book_applied(self, at: int, t_applied: int) -> None:
        struct.pack_into("=q", self.memory, at + APPLIED, t_applied)

    def note_evidence(self, label: str, score: float, t_capture: int) -> None:
        EVIDENCE.pack_into(self.memory, EVIDENCE_AT, _encoded(label), score, t_capture)

    def close(self) -> None:
        self.count.release()
        self.cells.release()
        self.view.release()
        self.memory.close()


def new_file(path: Path, size: int) -> mmap.mmap:
    """A mapped file of zeros whose blocks exist, so that a full disk shows here and not as SIGBUS in the lane."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        _allocate(fd, size, path)
        # Populated: the first write to a page must not be a page fault in the lane.
        memory = mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(fd)
    os.replace(fresh, path)  # readers of the old run keep the old file
    return memory


def _allocate(fd: int, size: int, path: Path) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:  # the kernel does not say which file
        raise OSError(error.errno, f"{error.strerror}, a ledger takes {size / 1e6:.1f} MB", str(path)) from error


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
    t_progress: int  # when the lane's loop last made progress, CLOCK_MONOTONIC ns
    head: int  # rows written since the start, of which the newest are kept
    counts: dict[str, int]
    label: str
    score: float
    t_evidence: int
    rows: Array


def read(path: Path) -> LedgerSnapshot:
    """Raises OSError, ValueError when it is no ledger."""
    with open(path, "rb") as file:
        raw = file.read()
    if len(raw) != HEADER + ROWS * ROW.size or raw[:8] != MAGIC:
        raise ValueError(f"{path}: not a ledger of this version")
    return snapshot(raw)


def read_all(run_dir: Path) -> Iterator[LedgerSnapshot]:
    """Every ledger of a run_dir; not one that is just being made, or of another version."""
    for path in sorted(run_dir.glob("*.ledger")):
        try:
            yield read(path)
        except (OSError, ValueError):
            continue


def snapshot(raw: bytes | memoryview | mmap.mmap, newest: int = ROWS) -> LedgerSnapshot:
    """newest: how many rows to copy out."""
    _, lane, pid, started, budget = IDENTITY.unpack_from(raw, 0)
    counts = struct.unpack_from(f"={len(COUNTERS)}q", raw, COUNTS_AT)
    state, head, progress, critical = struct.unpack_from("=4q", raw, STATE_AT)
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
        head=head,
        counts=dict(zip(COUNTERS, counts)),
        label=_text(label),
        score=score,
        t_evidence=t_evidence,
        rows=rows,
    )


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode(errors="replace")


def parts(rows: Array) -> dict[str, npt.NDArray[np.float64]]:
    """Milliseconds of each latency part and their total, one value per row.

    queueing: ready while the lane was busy; transport: device to lane; preprocess: into the input tensor; inference:
    model and decoder; decision: rules, wire, actuator until applied. Rows without an acknowledgement end at `decided`.
    """
    capture, taken, prepared, inferred = (rows[name] for name in ("capture", "read", "prepared", "inferred"))
    queued = np.clip(rows["asked"] - capture, 0, None)
    end = np.where(rows["applied"] > 0, rows["applied"], rows["decided"])
    nanoseconds = (
        queued,
        taken - capture - queued,
        prepared - taken,
        inferred - prepared,
        end - inferred,
        end - capture,
    )
    return {name: part / 1e6 for name, part in zip((*PARTS, "total"), nanoseconds)}


def quantiles(values: npt.NDArray[np.float64]) -> dict[str, float]:
    """p50, p99, p99.9 and max of milliseconds; empty of nothing."""
    if not len(values):
        return {}
    p50, p99, p999 = np.percentile(values, (50, 99, 99.9))
    return {"p50": float(p50), "p99": float(p99), "p99.9": float(p999), "max": float(values.max())}


def table(snapshot: LedgerSnapshot) -> str:
    """One lane as text: counts, drops by reason, the five parts, the worst sample explained."""
    counts = snapshot.counts
    kept = ", ".join(f"{counts[name]} {name}" for name in COUNTERS[:5])
    drops = ", ".join(f"{counts[name]} {name}" for name in DROPS if counts[name]) or "none"
    lines = [f"lane {snapshot.lane}: {kept}", f"  dropped: {drops}"]
    if not len(snapshot.rows):
        return "\n".join(lines)
    latencies, answered = parts(snapshot.rows), snapshot.rows["applied"] > 0
    of_commands = {"decision": "commands, decoded to applied", "total": "commands, captured to applied"}
    lines.append(f"  {'ms':<16}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}   of")
    for name, values in latencies.items():
        counted = values[answered] if name in of_commands else values
        figures = "".join(f"{value:9.3f}" for value in quantiles(counted).values())
        if figures:
            lines.append(f"  {name:<16}{figures}   {len(counted)} {of_commands.get(name, 'samples')}")
    return "\n".join([*lines, _worst(snapshot, latencies)])


def _worst(snapshot: LedgerSnapshot, latencies: dict[str, npt.NDArray[np.float64]]) -> str:
    """The slowest sample in the ring, part by part, largest first."""
    at = int(latencies["total"].argmax())
    split = sorted(((float(latencies[part][at]), part) for part in PARTS), reverse=True)
    listed = ", ".join(f"{part} {ms:.3f}" for ms, part in split if ms > 0.0005)
    return f"  worst: sample {snapshot.rows['sequence'][at]}, {latencies['total'][at]:.3f} ms: {listed}"
