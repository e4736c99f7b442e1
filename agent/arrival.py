"""What arrives from a lane's source: counted, and accepted only where it is a sign of life."""

from __future__ import annotations

import time

from agent import ledger
from agent.data import FUTURE_NS, Sample
from agent.gates.frozen import FrozenPictures
from agent.ledger import Ledger
from agent.perception import Perception
from drivers.base import Camera, DeviceTimeout, Stream

FROZEN = "frozen?"
FROZEN_PICTURE = "the picture is frozen: the same bits for {:.0f} ms (frozen_ms; 0 where that is normal)"


class Arrivals:
    """Drops samples that repeat an old one, have an impossible time, or show a frozen picture."""

    def __init__(self, source: Stream, perception: Perception, timeout_ns: int, own_ledger: Ledger) -> None:
        """timeout_ns: a sample older than this is stale."""
        self.source = source
        self.perception = perception
        self.timeout_ns = timeout_ns
        self.count = own_ledger.count
        # Recordings that run "as fast as possible" carry their own time; their commands count from when they are sent.
        self.recorded_time = getattr(source.options, "pace", "real") == "fast"
        self.camera = source if isinstance(source, Camera) and source.frozen_ms else None
        self.frozen = FrozenPictures(self.camera.frozen_ms) if self.camera else None
        self.discontinuity = True  # the next sample does not follow directly on the one before
        self.last_sequence = -1
        self.t_accepted = 0  # when the newest good sample arrived
        self.good_samples = 0  # since open
        self.needed = 1
        self.reason = FROZEN  # why no good sample arrives, for messages

    def restart(self, healthy: bool) -> None:
        """The source is open. healthy: False after a fault."""
        self.last_sequence, self.good_samples, self.reason, self.discontinuity = -1, 0, FROZEN, True
        self.t_accepted = time.monotonic_ns()
        # A stuck device often gives one picture each time it is opened; that is no sign of life.
        self.needed = 1 if healthy else 2

    def accept(self, sample: Sample, now: int) -> bool:
        """False if it is no sign of life, or the first since a fault. Raises DeviceTimeout once pictures are frozen."""
        count = self.count
        age = now - sample.t_capture
        if sample.sequence <= self.last_sequence:
            count[ledger.REPEATED] += 1
            self.reason = "it repeats the old one: frozen?"
            return False
        self._count(sample)
        # Older than the silence allowed, or from the future: the device's clock jumped, or it handed out a leftover.
        if not -FUTURE_NS < age < self.timeout_ns and not self.recorded_time:
            count[ledger.STALE] += 1
            direction = "old" if age > 0 else "ahead"
            self.reason = f"its time stamps are {abs(age) / 1e6:.0f} ms {direction}: did its clock jump?"
            return False
        if self.frozen and self.camera and self.frozen(sample.payload, sample.t_capture, self.camera.comparable):
            self._drop_frozen(sample.t_capture - self.frozen.since)
            return False
        self.t_accepted = now
        self.good_samples += 1
        return self.good_samples >= self.needed

    def skip(self, sample: Sample) -> None:
        """Drop a sample while the model is at fault."""
        if sample.sequence > self.last_sequence:
            self._count(sample)
            self.count[ledger.SKIPPED] += self._delivered(sample)

    def resume(self) -> None:
        """The model is tried again with the next sample."""
        self.discontinuity, self.t_accepted = True, time.monotonic_ns()

    def _delivered(self, sample: Sample) -> int:
        return len(sample.payload) if self.perception.preparation.rows else 1

    def _count(self, sample: Sample) -> None:
        count, delivered = self.count, self._delivered(sample)
        count[ledger.SAMPLES] += delivered
        count[ledger.SKIPPED] += sample.skipped
        lost = sample.sequence - self.last_sequence - delivered - sample.skipped
        if lost > 0:
            count[ledger.LOST] += lost
            self.perception.preparation.reset()  # a window must not join readings with a hole between them
            self.discontinuity = True
        self.last_sequence = sample.sequence

    def _drop_frozen(self, frozen_ns: int) -> None:
        self.count[ledger.STALE] += 1
        self.reason = FROZEN_PICTURE.format(frozen_ns / 1e6)
        if self.good_samples:  # at once: the silence that is allowed has passed many times
            raise DeviceTimeout(self.reason)
