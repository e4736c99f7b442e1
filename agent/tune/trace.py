"""What was measured of one lane with one set of settings, and the latencies that follow at the samples' own times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agent.data import Evidence
from agent.ledger import PARTS

WARM_UP = 16  # samples whose times do not count: `shrink: auto` measures on the first ones, caches are cold
Milliseconds = npt.NDArray[np.float64]


class Step(NamedTuple):
    """One sample through the lane, times in ns. t_capture: since the recording's first sample.

    evidence: None where no inference was due.
    """

    t_capture: int
    transport: int
    preprocess: int
    inference: int
    decision: int
    evidence: tuple[Evidence, ...] | None


class Trace(NamedTuple):
    """Of a lane, its samples in order.

    frame, network: height and width of the pictures, and of the model's input. int8: the model's input is quantised.
    """

    lane: str
    steps: Sequence[Step]
    frame: tuple[int, int] | None = None
    network: tuple[int, int] | None = None
    int8: bool = False

    @property
    def inferences(self) -> int:
        return sum(step.evidence is not None for step in self.steps)


def taken(steps: Sequence[Step]) -> Iterator[tuple[Step, int]]:
    """The samples that a lane takes that is handed the newest whenever it is free, each with its queueing in ns.

    A lane that is slower than its source passes samples over, and those it takes have waited: this is counted with the
    times of the samples, as the recording itself is measured faster or slower than it was.
    """
    free = 0
    for index, step in enumerate(steps):
        arrival = step.t_capture + step.transport
        if index + 1 < len(steps) and steps[index + 1].t_capture + steps[index + 1].transport <= free:
            continue
        queueing = max(0, free - step.t_capture)
        free = max(free, arrival) + step.preprocess + step.inference + step.decision
        yield step, queueing


def at_usual_speed(steps: Sequence[Step]) -> list[Step]:
    """With the median of each time: which samples a lane passes over does not depend on a stall of this machine."""
    times: dict[bool, list[list[int]]] = {True: [], False: []}
    for step in steps:
        times[step.evidence is not None].append([step.transport, step.preprocess, step.inference, step.decision])
    usual = {kind: np.median(np.array(rows), axis=0).astype(int).tolist() for kind, rows in times.items() if rows}
    made = []
    for step in steps:
        transport, preprocess, inference, decision = usual[step.evidence is not None]
        made.append(Step(step.t_capture, transport, preprocess, inference, decision, step.evidence))
    return made


def parts(trace: Trace) -> dict[str, Milliseconds]:
    """Milliseconds of each part of the latency and their total, captured to decided, a value per inference."""
    inferred = [(step, queueing) for step, queueing in taken(trace.steps) if step.evidence is not None]
    counted = inferred[WARM_UP:] if len(inferred) > 4 * WARM_UP else inferred
    rows = [
        (queueing, max(0, step.transport - queueing), step.preprocess, step.inference, step.decision)
        for step, queueing in counted
    ]
    table = np.array(rows, np.float64).reshape(len(rows), len(PARTS)) / 1e6
    return {**dict(zip(PARTS, table.T)), "total": table.sum(axis=1)}


class Latency(NamedTuple):
    """Milliseconds. costly: the part that takes most of the slow samples; costly_ms: of such a sample."""

    p50: float
    p99: float
    costly: str
    costly_ms: float
    shares: dict[str, float]


def latency(trace: Trace) -> Latency | None:
    """None where nothing was inferred."""
    by_part = parts(trace)
    total = by_part.pop("total")
    if not len(total):
        return None
    p50, p99 = (float(value) for value in np.percentile(total, (50, 99)))
    # The median sample says what the work is; the slowest ones would say what else ran on the machine.
    medians = {name: float(np.median(values)) for name, values in by_part.items()}
    costly = max(medians, key=lambda name: medians[name])
    whole = sum(medians.values()) or 1.0
    return Latency(p50, p99, costly, medians[costly], {name: ms / whole for name, ms in medians.items()})
