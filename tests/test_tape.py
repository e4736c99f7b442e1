"""The tape in shared memory: what a lane writes, the recorder reads once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.data import Evidence
from agent.packages import package
from agent.recorder.tape_reader import Record, TapeReader
from agent.tapes import format as tape_format
from agent.tapes.format import DISCONTINUITY, INFERRED
from agent.tapes.tape import Tape
from tests.recordings import CHANNELS, arm_engine, sample


@pytest.fixture(scope="module")
def engine() -> Any:
    return arm_engine()


def read_settled(reader: TapeReader) -> list[Record]:
    """Read twice: what was written before one read is settled at the next."""
    return [*reader.read(), *reader.read()]


def test_what_is_written_is_read_once(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = TapeReader(tmp_path / "arm.tape")
    assert (reader.header.lane, reader.header.channels, reader.started) == ("arm", CHANNELS, 7)
    evidence = [Evidence("arm", "deviation", 0.75, 1000)]
    written.write(sample(1), 5, True, evidence, [])
    written.write(sample(2), 5, False, None, [])
    first, second = read_settled(reader)
    assert np.frombuffer(first.body, np.float32).tolist() == sample(1).payload[0].tolist()
    assert (first.order, first.sequence, first.flags) == (5, 1, DISCONTINUITY | INFERRED)
    assert first.evidence == [["deviation", 0.75, None, ""]]
    assert (second.sequence, second.flags, second.evidence) == (2, 0, [])
    assert read_settled(reader) == []


def test_many_readings_at_once_are_split_into_slots(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "t.tape", "arm", [engine], CHANNELS, False, 7)
    reader = TapeReader(tmp_path / "t.tape")
    written.write(sample(1, rows=40), 1, True, [Evidence("arm", "a", 0.5, 1)], [])
    parts = read_settled(reader)
    assert [bool(part.flags & tape_format.MORE) for part in parts] == [True, True, False]
    assert [bool(part.flags & DISCONTINUITY) for part in parts] == [True, False, False]
    assert (
        np.frombuffer(b"".join(part.body for part in parts), np.float32).tolist()
        == sample(1, 40).payload.ravel().tolist()
    )


def test_a_slow_reader_loses_the_oldest_and_counts_them(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = TapeReader(tmp_path / "arm.tape")
    for number in range(tape_format.MANY + 100):
        written.write(sample(number), number, False, None, [])
    records = read_settled(reader)
    assert records[-1].sequence == tape_format.MANY + 99
    assert len(records) + reader.lost == tape_format.MANY + 100
    assert reader.lost == 101


@pytest.mark.parametrize("raw", [b"", b"x" * 50_000, tape_format.MAGIC + b"\0" * 20_000])
def test_a_file_that_is_no_tape_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "arm.tape").write_bytes(raw)
    with pytest.raises((ValueError, OSError)):
        TapeReader(tmp_path / "arm.tape")


def test_evidence_that_is_too_long_costs_the_evidence_and_not_the_lane(tmp_path: Path, engine: Any) -> None:
    written = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = TapeReader(tmp_path / "arm.tape")
    written.write(sample(1), 1, True, [Evidence("arm", "l" * 30, 0.5, 1)] * 100, [])
    assert [record.evidence for record in read_settled(reader)] == [[]]


def test_another_engine_with_such_tensors_is_read_from_the_next_sample_on(tmp_path: Path) -> None:
    one, two = arm_engine(), arm_engine()  # without channels: as of pictures, a slot holds the outputs
    tape = Tape(tmp_path / "door.tape", "door", [one], (), False, 7)
    reader = TapeReader(tmp_path / "door.tape")
    one.input(0)[...], two.input(0)[...] = 0, 90
    for engine in (one, two):
        engine.invoke()
    tape.write(sample(1), 1, True, [], [])
    assert tape.exchange([two])
    tape.write(sample(2), 2, False, [], [])
    first, second = read_settled(reader)
    assert (bytes(first.body), bytes(second.body)) == (one.output(0).tobytes(), two.output(0).tobytes())
    assert first.body != second.body


def test_an_engine_with_other_tensors_needs_another_tape(tmp_path: Path) -> None:
    one, other = arm_engine(), package.open_package(package.find("person-coarse")).engine
    tape = Tape(tmp_path / "door.tape", "door", [one], (), False, 7)
    assert not tape.exchange([other])
    assert not tape.exchange([one, one])
    assert Tape(tmp_path / "arm.tape", "arm", [one], CHANNELS, False, 7).exchange([other])  # it holds readings
