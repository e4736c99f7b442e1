"""The tape of decisions: all of them, in order, whatever becomes of the samples, the lane, and the recorder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.data import Decision, Evidence
from agent.recorder.decision_reader import Decided, DecisionReader
from agent.recorder.lane_reader import LaneReader, Position
from agent.recorder.tape_reader import Record
from agent.tapes import format as tape_format
from agent.tapes.decision_tape import DecisionTape
from agent.tapes.tape import Tape
from tests.recordings import CHANNELS, arm_engine, sample


@pytest.fixture(scope="module")
def engine() -> Any:
    return arm_engine()


def decision(number: int, reasons: int = 1) -> Decision:
    evidence = tuple(Evidence("arm", "deviation", 0.75, 1000) for _ in range(reasons))
    return Decision(
        number=number,
        rule="off",
        actuator="robot",
        verb="stop",
        arguments={},
        evidence=evidence,
        t_capture=1000,
        deadline=0,
    )


def read_settled(reader: DecisionReader) -> list[Decided]:
    return [*reader.read(), *reader.read()]


def numbers(records: list[Decided] | list[Record]) -> list[int]:
    return [number for record in records for number, *_ in record.decisions]


def test_what_is_written_is_read_once(tmp_path: Path) -> None:
    tape = DecisionTape(tmp_path / "arm.decisions")
    reader = DecisionReader(tmp_path / "arm.decisions")
    first = decision(3)
    tape.write(5, 6, 7, 8, [first, decision(4, reasons=0)], [first])
    (record,) = read_settled(reader)
    assert (record.generation, record.slot, record.order, record.sequence, record.t_capture) == (1, 5, 6, 7, 8)
    assert record.decisions == [
        [3, "off", "robot", "stop", True, "deviation 0.75 at 0 ms"],
        [4, "off", "robot", "stop", False, "no evidence"],
    ]
    assert read_settled(reader) == [] and reader.lost == 0


@pytest.mark.slow
def test_it_goes_round_and_a_late_reader_knows_how_many_it_lost(tmp_path: Path) -> None:
    """Records of every length, so that some end behind the ring."""
    random = np.random.default_rng(0)
    tape = DecisionTape(tmp_path / "arm.decisions")
    prompt, late = (DecisionReader(tmp_path / "arm.decisions") for _ in range(2))
    read: list[int] = []
    total = 60_000
    for number in range(total):
        tape.write(number, number, number, number, [decision(number, int(random.integers(0, 40)))], [])
        if number % 1000 == 0:
            read += numbers(read_settled(prompt))
    read += numbers(read_settled(prompt))
    assert read == list(range(total)) and prompt.lost == 0
    rest = numbers(read_settled(late))
    assert rest == list(range(total - len(rest), total)) and 3000 < len(rest) < total
    assert late.lost == total - len(rest)


def test_it_holds_half_a_minute_of_a_decision_a_millisecond(tmp_path: Path) -> None:
    tape = DecisionTape(tmp_path / "arm.decisions")
    for number in range(30_000):
        tape.write(number, number, number, 10**15, [decision(number)], [])
    reader = DecisionReader(tmp_path / "arm.decisions")
    assert numbers(read_settled(reader)) == list(range(30_000)) and reader.lost == 0


def test_the_next_lane_continues_it(tmp_path: Path) -> None:
    path = tmp_path / "arm.decisions"
    first = DecisionTape(path)
    first.write(0, 1, 1, 1, [decision(1)], [])
    reader = DecisionReader(path)
    first.close()
    DecisionTape(path).write(0, 2, 2, 2, [decision(2)], [])
    assert [(record.generation, record.sequence) for record in read_settled(reader)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("raw", [b"", b"x" * 100, b"\0" * tape_format.DECISION_SIZE])
def test_a_file_that_is_none_is_replaced_and_not_read(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "arm.decisions"
    path.write_bytes(raw)
    with pytest.raises(ValueError):
        DecisionReader(path)
    DecisionTape(path).write(0, 1, 1, 1, [decision(1)], [])
    assert numbers(read_settled(DecisionReader(path))) == [1]


def test_damage_costs_decisions_and_neither_the_lane_nor_the_recorder(tmp_path: Path) -> None:
    """Any byte may be anything: another process wrote into the file."""
    random = np.random.default_rng(1)
    for case in range(40):
        path = tmp_path / f"{case}.decisions"
        tape = DecisionTape(path)
        reader = DecisionReader(path)
        for number in range(50):
            tape.write(number, number, number, number, [decision(number)], [])
        for at in random.integers(tape_format.DECISION_HEADER, tape_format.DECISION_HEADER + 5000, 200):
            tape.memory[int(at)] = int(random.integers(256))
        read_settled(reader)
        for number in range(50, 100 if case else 50_000):  # once around the damage
            tape.write(number, number, number, number, [decision(number)], [])
        assert numbers(read_settled(reader))[-1] == (99 if case else 49_999)


# -- together with the samples ----------------------------------------------------------------------------


def read_lane(reader: LaneReader) -> list[Record]:
    return [*reader.find(), *reader.read(), *reader.read()]


def test_a_sample_has_its_decisions_and_a_lost_one_leaves_them(tmp_path: Path, engine: Any) -> None:
    tape = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = LaneReader(tmp_path, "arm", Position())
    assert read_lane(reader) == []
    total = tape_format.MANY + 500
    for number in range(total):
        decided = [decision(number)] if number % 10 == 0 else []
        tape.write(sample(number, rows=40 if number == 700 else 1), number, False, [], decided)
    records = read_lane(reader)
    lost = [record for record in records if record.flags & tape_format.LOST]
    assert numbers(records) == list(range(0, total, 10))
    assert lost == records[: len(lost)] and len(lost) == -(-(reader.lost[0] - 2) // 10)  # 40 rows take three slots
    assert all(record.sequence == record.decisions[0][0] for record in records if record.decisions)
    assert reader.lost[1] == 0


def test_evidence_that_is_too_long_costs_no_decision(tmp_path: Path, engine: Any) -> None:
    tape = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = LaneReader(tmp_path, "arm", Position())
    tape.write(sample(1), 1, True, [Evidence("arm", "l" * 30, 0.5, 1)] * 100, [decision(1)])
    (record,) = read_lane(reader)
    assert record.evidence == [] and numbers([record]) == [1]


def test_decisions_of_a_tape_that_is_gone_are_read_before_those_of_the_next(tmp_path: Path, engine: Any) -> None:
    """The lane, or the whole daemon, was started again while no recorder ran."""
    for started in (7, 8):
        tape = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, started)
        for number in range(3):
            tape.write(sample(number), number, False, [], [decision(10 * started + number)])
    records = read_lane(LaneReader(tmp_path, "arm", Position()))
    assert numbers(records) == [70, 71, 72, 80, 81, 82]
    assert [bool(record.flags & tape_format.LOST) for record in records] == [True] * 3 + [False] * 3


def test_a_lane_that_starts_again_is_read_without_a_gap(tmp_path: Path, engine: Any) -> None:
    first = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = LaneReader(tmp_path, "arm", Position())
    read_lane(reader)
    first.write(sample(1), 1, False, [], [decision(1)])
    second = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 8)
    second.write(sample(1), 2, False, [], [decision(2)])
    records = [*read_lane(reader), *read_lane(reader)]
    assert numbers(records) == [1, 2] and not any(record.flags & tape_format.LOST for record in records)


def test_another_reader_continues_from_its_position(tmp_path: Path, engine: Any) -> None:
    tape = Tape(tmp_path / "arm.tape", "arm", [engine], CHANNELS, False, 7)
    reader = LaneReader(tmp_path, "arm", Position())
    for number in range(10):
        tape.write(sample(number), number, False, [], [decision(number)])
        if number == 5:
            assert numbers(read_lane(reader)) == [0, 1, 2, 3, 4, 5]
    another = LaneReader(tmp_path, "arm", reader.position(0))
    assert numbers(read_lane(another)) == [6, 7, 8, 9] and another.lost == (0, 0)
