"""A lane's newest evidence for other boxes: one slot, written whole, and a wake-up where something has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.data import Box, Evidence
from agent.tapes.evidence_tape import MAX_FOUND, SUFFIX, WAKE, EvidenceReader, EvidenceTape, open_wake

HAND = Evidence("cam", "hand", 0.9, 5, Box(0.1, 0.2, 0.3, 0.4), "near")


class Slot:
    def __init__(self, folder: Path) -> None:
        self.path, self.wake = folder / f"cam{SUFFIX}", folder / WAKE
        self.tape = EvidenceTape(self.path, self.wake)
        self.reader = EvidenceReader(self.path)
        self.reader.refresh()
        self._pipe = open_wake(self.wake)

    def woken(self) -> bool:
        try:
            return bool(os.read(self._pipe, 1000))
        except BlockingIOError:
            return False


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(tmp_path)


def test_the_newest_inference_is_read(slot: Slot) -> None:
    assert slot.reader.read() is None
    slot.tape.write(5, [HAND])
    newest = slot.reader.read()
    assert newest and newest.t_capture == 5 and newest.found == [["hand", 0.9, [0.1, 0.2, 0.3, 0.4], "near"]]
    slot.tape.write(6, [])
    newest = slot.reader.read()
    assert newest and (newest.number, newest.t_capture, newest.found) == (2, 6, [])


def test_only_a_change_wakes_the_link(slot: Slot) -> None:
    for evidence, changed in (
        ([], False),
        ([HAND], True),
        ([HAND], False),
        ([HAND._replace(score=0.92)], False),
        ([HAND._replace(score=0.97)], True),
        ([HAND._replace(label="arm")], True),
        ([HAND, HAND], True),
        ([], True),
    ):
        slot.tape.write(1, evidence)
        assert slot.woken() == changed, evidence


def test_of_many_findings_the_best_are_kept(slot: Slot) -> None:
    slot.tape.write(1, [HAND._replace(score=n / 100) for n in range(100)])
    newest = slot.reader.read()
    assert newest and len(newest.found) == MAX_FOUND and newest.found[0][1] == 0.99
    slot.tape.write(2, [HAND._replace(label="x" * 600, score=n / 100) for n in range(32)])
    newest = slot.reader.read()
    assert newest and 0 < len(newest.found) < MAX_FOUND and newest.found[0][1] == 0.31


def test_a_slot_in_the_middle_of_a_write_is_not_read(slot: Slot) -> None:
    slot.tape.write(1, [HAND])
    before = bytes(slot.tape.memory[:])
    slot.tape.write(2, [HAND._replace(label="arm")])
    after = bytes(slot.tape.memory[:])
    whole = 0
    for end in range(16, 120):
        slot.tape.memory[:] = after[:end] + before[end:]
        newest = slot.reader.read()
        assert newest is None or newest.found[0][0] == {1: "hand", 2: "arm"}[newest.t_capture]
        whole += newest is not None
    assert 0 < whole < 104


def test_a_pipe_that_nobody_reads_stops_no_lane(slot: Slot) -> None:
    for number in range(70_000):
        slot.tape.write(number, [HAND] if number % 2 else [])
    newest = slot.reader.read()
    assert newest and newest.t_capture == 69_999


def test_the_evidence_of_a_lane_that_ended_is_gone(slot: Slot) -> None:
    slot.tape.write(1, [HAND])
    slot.tape.close()
    slot.reader.refresh()
    assert slot.reader.read() is None and not slot.path.exists()
    EvidenceTape(slot.path, slot.wake).write(2, [])
    slot.reader.refresh()
    newest = slot.reader.read()
    assert newest and newest.t_capture == 2


def test_what_is_no_slot_is_not_read(slot: Slot) -> None:
    slot.tape.close()
    for content in (b"x" * 4096, b"", b"x"):
        slot.path.unlink(missing_ok=True)
        slot.path.write_bytes(content)
        slot.reader.refresh()
        assert slot.reader.read() is None


def test_only_its_user_reads_it(slot: Slot) -> None:
    assert slot.path.stat().st_mode & 0o077 == 0 and slot.wake.stat().st_mode & 0o077 == 0
