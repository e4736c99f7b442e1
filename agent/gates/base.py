"""Samples that cannot matter are dropped before they cost an inference; events are followed until they end.

A gate stands between a lane's source and its preparation. It is pure: it knows the samples, their times and the
findings in those that it let through. The time without an inference is bounded: by `idle_interval_ms` without
findings, by `active_interval_ms` with findings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from agent.data import Array, Sample
from agent.decoders.base import Finding
from agent.gates.config import GateConfig
from agent.prepare.base import Preparation

MS = 1_000_000  # ns
LONG_AGO = -(1 << 62)


class Gate(ABC):
    """Decides for each sample of one lane whether it is inferred."""

    def __init__(self, config: GateConfig) -> None:
        self.idle_interval_ns = int(config.idle_interval_ms * MS)
        self.active_interval_ns = int(config.active_interval_ms * MS)
        self.burst_ns = int(config.burst_ms * MS)
        self.t_inferred = self.t_change = LONG_AGO  # t_change: findings began or ended
        self.findings: Sequence[Finding] = ()
        self.gated = False  # the gate alone held the newest sample back

    @abstractmethod
    def __call__(self, sample: Sample, view: Array) -> bool:
        """As the preparation behind it: True when the tensor is filled and an inference is due. Raises DeviceFault."""

    @abstractmethod
    def set_preparation(self, preparation: Preparation) -> None:
        """Stand before another one of the same kind from the next sample on."""

    def accept_findings(self, findings: Sequence[Finding]) -> None:
        """Accept the findings in the sample that was let through."""
        if bool(findings) != bool(self.findings):
            self.t_change = self.t_inferred
        self.findings = findings

    def due(self, now: int) -> bool:
        """Time to infer, whatever the sample contains. A clock that went back starts the intervals again."""
        if 0 <= now - self.t_change < self.burst_ns:  # rules count hits and must not wait an interval for each
            return True
        return not 0 <= now - self.t_inferred < (self.active_interval_ns if self.findings else self.idle_interval_ns)
