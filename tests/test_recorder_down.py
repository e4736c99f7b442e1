"""A recorder that is killed, again and again and for long: no decision is missing, and what is missing is counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent import ledger
from agent.recorder.recording import RecordingContents, read
from tests.processes import Cell, Process, arm
from tests.recordings import arm_cell, files, replayed, start_recording
from tests.waiting import until


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    """Beside the arm of all recordings, a lane each of whose samples is a decision."""
    with arm_cell(tmp_path) as cell:
        cell.config["lanes"]["busy"] = arm(rate_hz=100)
        always = [{"lane": "busy", "label": "deviation", "score": 0.5, "absent": absent} for absent in (False, True)]
        cell.config["rules"]["always"] = {"any": always, "actuator": "robot", "verb": "run", "every_sample": True}
        yield cell


def recorder_of(daemon: Process) -> int:
    """Its process id; 0 while there is none."""
    for child in psutil.Process(daemon.popen.pid).children():
        try:
            if "agent.recorder" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                return child.pid
        except psutil.Error:
            continue
    return 0


def contents(cell: Cell) -> list[RecordingContents]:
    return [read(path) for path in files(cell.folder / "state")]


def check_complete(cell: Cell, lanes: tuple[str, ...] = ("arm", "busy")) -> None:
    """Every decision in the ledgers is recorded once; every sample is recorded or counted as lost."""
    recordings = contents(cell)
    messages = [message for recording in recordings for message in recording.messages]
    numbers = [decision["number"] for _, message in messages for decision in message["decisions"]]
    counts = [cell.counts(lane) for lane in lanes]
    assert sorted(numbers) == list(range(1, sum(count["decisions"] for count in counts) + 1))
    assert sum(recording.lost_decisions for recording in recordings) == 0
    rows = sum(len(message.get("readings", ())) for _, message in messages)
    missing = sum(count["samples"] for count in counts) - rows
    lost = sum(recording.lost for recording in recordings)
    assert lost <= missing <= 16 * lost, (lost, missing)  # a slot of the tape has up to 16 readings


@pytest.mark.slow
def test_kind_no_decision_is_missing_after_a_recorder_was_killed_at_any_time(cell: Cell) -> None:
    daemon = start_recording(cell)
    for number in range(6):
        recorder = until(lambda: recorder_of(daemon), cell.logs)
        cell.wait_for_count("busy", "decisions", cell.counts("busy")["decisions"] + 37 * number)
        os.kill(recorder, signal.SIGKILL)
        daemon.wait_for("recorder ended with -9", times=number + 1)
    assert daemon.lines("restarting it at once")
    until(lambda: recorder_of(daemon), cell.logs)
    cell.wait_for_count("busy", "decisions", cell.counts("busy")["decisions"] + 50)
    assert daemon.stop() == 0
    check_complete(cell)


@pytest.mark.slow
def test_kind_a_recorder_that_is_stopped_is_replaced_and_no_decision_is_lost(cell: Cell) -> None:
    daemon = start_recording(cell)
    recorder = until(lambda: recorder_of(daemon), cell.logs)
    os.kill(recorder, signal.SIGSTOP)
    daemon.wait_for("recorder ended with -9 (it was stopped for 3 s and was killed); restarting it at once")
    until(lambda: recorder_of(daemon) not in (0, recorder), cell.logs)
    cell.wait_for_count("busy", "decisions", cell.counts("busy")["decisions"] + 50)
    assert daemon.stop() == 0
    assert len(daemon.lines("recorder ended")) == 1
    check_complete(cell)


@pytest.mark.slow
def test_samples_beyond_the_tape_are_lost_counted_and_said_and_no_decision_is(cell: Cell) -> None:
    """The recorder stands still for longer than its tapes hold: 4 s of the arm's samples."""
    daemon = start_recording(cell)
    until(lambda: recorder_of(daemon), cell.logs)
    enough = cell.counts("arm")["samples"] + 6000

    def without_recorder() -> bool:
        """Stopped, and so are those that replace it."""
        if recorder := recorder_of(daemon):
            os.kill(recorder, signal.SIGSTOP)
        return cell.counts("arm")["samples"] >= enough

    until(without_recorder, cell.logs)
    os.kill(until(lambda: recorder_of(daemon), cell.logs), signal.SIGKILL)
    daemon.wait_for("samples, no decision: the recorder was away or too slow")
    assert daemon.stop() == 0
    assert sum(recording.lost for recording in contents(cell)) > 1000
    check_complete(cell)
    for path in files(cell.folder / "state"):
        if not read(path).messages:
            continue  # the recorder was stopped before it wrote a sample
        code, text = replayed(path)
        assert code == 0, text


@pytest.mark.slow
def test_a_daemon_that_stops_while_its_recorder_is_away_loses_nothing(cell: Cell) -> None:
    """In the pause after repeated deaths, and just after a start."""
    daemon = start_recording(cell)
    for times in range(1, 6):
        os.kill(until(lambda: recorder_of(daemon), cell.logs), signal.SIGKILL)
        daemon.wait_for("recorder ended", times=times)
    assert "restarting it in " in daemon.lines("recorder ended")[-1]
    assert daemon.stop() == 0
    check_complete(cell)


@pytest.mark.slow
def test_what_a_recorder_left_that_died_with_its_daemon_is_recorded_at_the_next_start(cell: Cell) -> None:
    daemon = start_recording(cell)
    cell.wait_for_count("busy", "decisions", 100)
    recorder = until(lambda: recorder_of(daemon), cell.logs)
    os.kill(recorder, signal.SIGSTOP)
    cell.wait_for_count("busy", "decisions", cell.counts("busy")["decisions"] + 50)
    os.kill(recorder, signal.SIGKILL)
    daemon.signal(signal.SIGKILL)
    daemon.exit_code()
    decisions = sum(cell.counts(lane)["decisions"] for lane in ("arm", "busy"))
    again = cell.run()
    again.wait_for("lanes arm, busy")
    until(lambda: len(files(cell.folder / "state")) == 2 or len(again.lines("agent.recorder")), cell.logs)
    until(lambda: recorder_of(again), cell.logs)
    cell.wait_for_count("busy", "decisions", 50)
    assert again.stop() == 0
    recorded: list[int] = []
    for recording in contents(cell):
        recorded += [each["number"] for _, message in recording.messages for each in message["decisions"]]
    total = decisions + sum(cell.counts(lane)["decisions"] for lane in ("arm", "busy"))
    assert len(recorded) in (total, total - 1, total - 2)  # a lane counts, then writes; it was killed in between


@pytest.mark.slow
def test_a_reload_while_the_recorder_is_away_loses_no_decision(cell: Cell) -> None:
    daemon = start_recording(cell)
    cell.wait_for_count("busy", "decisions", 50)
    os.kill(until(lambda: recorder_of(daemon), cell.logs), signal.SIGSTOP)
    before = ledger.read(cell.run_dir / "busy.ledger").counts["decisions"]
    cell.config["lanes"]["busy"]["source"]["rate_hz"] = 200  # the lane starts again: its tape is another
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("lanes restarted: busy")
    cell.wait_for_count("busy", "decisions", 30)
    os.kill(until(lambda: recorder_of(daemon), cell.logs), signal.SIGKILL)
    daemon.wait_for("recorder ended")
    until(lambda: len(files(cell.folder / "state")) > 1, cell.logs)
    assert daemon.stop() == 0
    numbers = [each["number"] for part in contents(cell) for _, m in part.messages for each in m["decisions"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)) and len(numbers) > before + 30


@pytest.mark.slow
def test_a_recorder_that_always_dies_is_tried_less_and_less_often(cell: Cell) -> None:
    (cell.folder / "state").write_text("in the way")
    _, daemon = cell.start_both()
    daemon.wait_for("recorder ended with 1 (the disk may be full); restarting it at once")
    daemon.wait_for("restarting it in 0.25 s")
    daemon.wait_for("restarting it in 0.5 s")
    assert daemon.stop() == 0
