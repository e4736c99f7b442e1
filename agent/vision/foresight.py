"""Will a label be found soon? First-order counts: how often it was, within some seconds of each other label."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from agent.decoders.base import Finding

LIKELY = 0.8
MIN_MOMENTS = 10  # of a label, before its share counts
MAX_LABELS = 256
STEP_NS = 1_000_000_000  # one moment a second: neighbouring samples say the same
NOTHING = ""


class Foresight:
    """Of one label, learnt from what its lane finds; constant memory. Time comes with the samples."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_ns = int(ahead_s * 1e9)
        self._counts: dict[str, list[int]] = {}  # of each label: how often the awaited one came in time, how often not
        self._open: deque[tuple[int, str]] = deque()  # moments whose outcome is not known yet

    def learn(self, t_capture: int, findings: Sequence[Finding], came: bool) -> None:
        """findings: of one sample. came: the awaited label is among them."""
        if self._open and t_capture < self._open[-1][0]:
            self._open.clear()  # a recording has begun again
        while self._open and (came or t_capture - self._open[0][0] > self.ahead_ns):
            t, label = self._open.popleft()
            self._count(label, came and t_capture - t <= self.ahead_ns)
        newest = self._open[-1][0] if self._open else t_capture - STEP_NS
        if not came and t_capture - newest >= STEP_NS:
            self._open.append((t_capture, strongest(findings)))

    def _count(self, label: str, came: bool) -> None:
        if label in self._counts or len(self._counts) < MAX_LABELS:
            self._counts.setdefault(label, [0, 0])[not came] += 1

    def likely(self, findings: Sequence[Finding]) -> bool:
        """After what these say, it has mostly come."""
        came, not_so = self._counts.get(strongest(findings), (0, 0))
        return came + not_so >= MIN_MOMENTS and came > LIKELY * (came + not_so)


def strongest(findings: Sequence[Finding]) -> str:
    """The label with the highest score; NOTHING where there is none."""
    best = max(findings, key=lambda finding: finding.score, default=None)
    return best.label if best else NOTHING
