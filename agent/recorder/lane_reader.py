"""Both tapes of a lane, read together: each sample with its decisions, and the decisions of samples that were lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent.recorder.decision_reader import Decided, DecisionReader
from agent.recorder.tape_reader import Record, TapeReader
from agent.tapes.format import LOST, WHOLE, TapeHeader


class Position(NamedTuple):
    """How far a lane is recorded. started, slot: on which tape of samples; the rest: on the decision tape."""

    started: int = 0
    slot: int = 0
    identity: int = 0
    offset: int = 0
    passed: int = 0  # decisions before that


class LaneReader:
    """The reading end of a lane in the recorder's process."""

    def __init__(self, run_dir: Path, lane: str, position: Position) -> None:
        """position: where the recorder before this one ended."""
        self.lane = lane
        self.samples: TapeReader | None = None
        self._path = run_dir / f"{lane}.tape"
        self._decisions: DecisionReader | None = None
        self._pending: deque[Decided] = deque()  # read before their samples
        self._position = position
        self._lost = [0, 0]  # of tapes that are closed

    @property
    def header(self) -> TapeHeader:
        """Of the samples; without a tape of them only the lane's name is known."""
        return self.samples.header if self.samples else TapeHeader(self.lane, [], [], [])

    @property
    def lost(self) -> tuple[int, int]:
        """Samples and decisions since the beginning."""
        samples = self.samples.lost if self.samples else 0
        decisions = self._decisions.lost if self._decisions else 0
        return self._lost[0] + samples, self._lost[1] + decisions

    def position(self, open_slots: int) -> Position:
        """open_slots: read already, but of a sample that goes on in a slot that is not."""
        started, slot = (self.samples.started, self.samples.next - open_slots) if self.samples else self._position[:2]
        if not self._decisions:
            return self._position._replace(started=started, slot=slot)
        offset, passed = self._decisions.next, self._decisions.passed
        if self._pending:
            offset, passed = self._pending[0].offset, passed - sum(len(each.decisions) for each in self._pending)
        return Position(started, slot, self._decisions.identity, offset, passed)

    def find(self, stopping: bool = False) -> Iterator[Record]:
        """Open new tapes; first the rest of the old ones. While stopping, another tape is the next daemon's."""
        self._decisions = self._decisions or self._open_decisions()
        try:
            newest = TapeReader(self._path)
        except (OSError, ValueError):
            return  # being made, or of another version
        if self.samples and (stopping or newest.started == self.samples.started):
            newest.close()
            return
        if self.samples:
            yield from self.read_rest()
            self._close_tapes()
        self._decisions = self._decisions or self._open_decisions()
        if newest.started == self._position.started:
            newest.next = self._position.slot
        self.samples = newest

    def _open_decisions(self) -> DecisionReader | None:
        try:
            reader = DecisionReader(self._path.with_suffix(".decisions"))
        except (OSError, ValueError):
            return None
        if reader.identity == self._position.identity:
            reader.next, reader.passed = self._position.offset, self._position.passed
        return reader

    def _close_tapes(self) -> None:
        """Keep how far they were read and what was lost."""
        self._position = self.position(0)
        self._lost = list(self.lost)
        self._pending.clear()
        for reader in (self.samples, self._decisions):
            if reader:
                reader.close()
        self.samples = self._decisions = None

    def read(self) -> Iterator[Record]:
        """What was written before the last call and was not read yet, in order."""
        # Each looks now where its tape ends, the samples' first: then no sample comes before its decisions.
        samples = self.samples.read() if self.samples else ()
        if self._decisions:
            self._pending.extend(self._decisions.read())
        for record in samples:
            if self._pending:  # few samples lead to a decision
                yield from self._without_sample(record.slot)
                record = record._replace(decisions=self._of(record.slot))
            yield record
        if self.samples:
            yield from self._without_sample(self.samples.next)

    def read_rest(self) -> Iterator[Record]:
        """All that is written: no sample follows. Two reads, as what was written last is settled at the second."""
        yield from self.read()
        yield from self.read()
        newest = self.samples.generation if self.samples else self._pending[-1].generation if self._pending else 0
        while self._pending and self._pending[0].generation <= newest:
            yield _only_decisions(self._pending.popleft())

    def _without_sample(self, slot: int) -> Iterator[Record]:
        """Of decisions before this slot: their samples were lost, or are on a tape that is gone."""
        assert self.samples
        place = self.samples.generation, slot
        while self._pending and (self._pending[0].generation, self._pending[0].slot) < place:
            yield _only_decisions(self._pending.popleft())

    def _of(self, slot: int) -> list[object]:
        assert self.samples
        if self._pending and (self._pending[0].generation, self._pending[0].slot) == (self.samples.generation, slot):
            return self._pending.popleft().decisions
        return []

    def remove(self) -> None:
        """The lane is no longer in the configuration."""
        self._close_tapes()
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(".decisions").unlink(missing_ok=True)


def _only_decisions(decided: Decided) -> Record:
    return Record(
        slot=decided.slot,
        order=decided.order,
        sequence=decided.sequence,
        t_capture=decided.t_capture,
        skipped=0,
        flags=LOST,
        frame=(0, 0),
        region=WHOLE,
        body=b"",
        evidence=[],
        decisions=decided.decisions,
    )
