"""The ledger: what the lane wrote is what a reader finds, alive or dead, and the parts of the time add up."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import ledger
from agent.ledger import COUNTERS, PARTS, ROW_TYPE, ROWS, Ledger, parts, quantiles, read, snapshot
from agent.ledger_text import table

MS = 1_000_000


@pytest.fixture
def arm(tmp_path):
    made = Ledger(tmp_path / "arm.ledger", "arm", 2.5)
    yield made
    made.close()


def book_row(ledger, sequence, sent=0):
    """Capture at `sequence` ms; every later stamp is 1 ms on."""
    t = sequence * MS
    ledger.write(sequence, t, t + MS, t + 2 * MS, t + 3 * MS, t + 4 * MS, t + 5 * MS, sent and t + 6 * MS)


def test_a_reader_finds_what_was_written(arm, tmp_path):
    arm.state = ledger.RUNNING
    arm.count[ledger.SAMPLES] += 7
    arm.count[ledger.FAULTS] += 1
    arm.note_evidence("deviation", 0.75, 123)
    book_row(arm, 3)
    told = read(tmp_path / "arm.ledger")
    assert (told.lane, told.pid, told.budget_ms, told.state) == ("arm", os.getpid(), 2.5, "running")
    assert told.counts == dict.fromkeys(COUNTERS, 0) | {"samples": 7, "faults": 1}
    assert (told.label, told.score, told.t_evidence) == ("deviation", 0.75, 123)
    assert told.rows.tolist() == [[3, 3 * MS, 4 * MS, 5 * MS, 6 * MS, 7 * MS, 8 * MS, 0, 0]]


def test_a_new_one_is_empty(arm, tmp_path):
    told = read(tmp_path / "arm.ledger")
    assert (told.state, told.label, len(told.rows)) == ("closed", "", 0)
    assert not any(told.counts.values())


def test_counters_have_their_names():
    names = {name.upper(): number for number, name in enumerate(COUNTERS)} | {"ACKNOWLEDGED": COUNTERS.index("applied")}
    for name in (
        "SAMPLES",
        "INFERENCES",
        "DECISIONS",
        "SENT",
        "ACKNOWLEDGED",
        "LOST",
        "SKIPPED",
        "GATED",
        "STALE",
        "REPEATED",
        "LATE",
        "UNDELIVERED",
        "REFUSED",
        "UNACKNOWLEDGED",
        "FAULTS",
    ):
        assert getattr(ledger, name) == names[name]


def test_an_acknowledgement_completes_its_row(arm):
    for sequence in range(3):
        at = arm.next_row()
        book_row(arm, sequence, sent=1)
        if sequence == 1:
            wanted = at
    arm.record_applied(wanted, 99 * MS)
    assert snapshot(arm.memory).rows["applied"].tolist() == [0, 99 * MS, 0]


def test_the_ring_keeps_the_newest_rows_in_order(arm):
    for sequence in range(ROWS - 1):
        book_row(arm, sequence)
    for sequence in range(ROWS - 1, ROWS + 5):
        book_row(arm, sequence)
        rows = snapshot(arm.memory).rows
        assert len(rows) == min(sequence + 1, ROWS)
        assert rows["sequence"][0] == max(0, sequence - ROWS + 1)
        assert rows["sequence"][-1] == sequence
        assert (np.diff(rows["sequence"]) == 1).all()


def test_one_in_memory_needs_no_file():
    ledger = Ledger(None, "arm", 1.0)
    book_row(ledger, 1)
    assert snapshot(ledger.memory).rows["sequence"][0] == 1
    ledger.close()


def test_a_file_may_be_read_while_it_is_written(arm, tmp_path):
    done = threading.Event()
    written = [0]

    def write(count):
        for _ in range(count):
            book_row(arm, written[0])
            arm.count[ledger.SAMPLES] += 1
            written[0] += 1

    def keep_writing():  # some 100 kHz, a hundred times what a lane does
        while not done.wait(0.001):
            write(100)

    write(ROWS - 1000)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(50):
            before = written[0]
            told = read(tmp_path / "arm.ledger")
            assert told.counts["samples"] >= before - 1
            settled = told.rows[-ROWS // 2 :]  # meanwhile the writer may have been at the oldest ones
            assert (settled[:, 6] - settled[:, 1] == 5 * MS).all()
            assert (np.diff(settled[:, 0]) == 1).all()
    finally:
        done.set()
        writer.join()


def test_the_ledger_of_a_process_that_was_killed(tmp_path):
    path = tmp_path / "arm.ledger"
    write = (
        "import os, signal, sys; from pathlib import Path; from agent import ledger as book\n"
        "arm = book.Ledger(Path(sys.argv[1]), 'arm', 1.0); arm.state = book.RUNNING; arm.count[book.SAMPLES] = 5\n"
        "arm.write(1, 2, 3, 4, 5, 6, 7, 8); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.Popen([sys.executable, "-c", write, str(path)])
    assert killed.wait(60) == -9
    told = read(path)
    assert (told.pid, told.state, told.counts["samples"]) == (killed.pid, "running", 5)
    assert told.rows.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 0]]


def test_a_reader_of_the_old_run_keeps_the_old_file(arm, tmp_path):
    path = tmp_path / "arm.ledger"
    book_row(arm, 41)
    with open(path, "rb") as old:
        again = Ledger(path, "arm", 2.5)
        assert snapshot(old.read()).rows["sequence"][0] == 41
        assert len(read(path).rows) == 0
        again.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["arm.ledger"]


@pytest.mark.parametrize("cut", [0, 1, 8, 4095, 4096, -1])
def test_a_truncated_file_is_no_ledger(arm, tmp_path, cut):
    path = tmp_path / "arm.ledger"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a ledger of this version"):
        read(path)


@pytest.mark.parametrize("change", ["first byte", "version", "one byte more", "zeros", "text"])
def test_a_foreign_file_is_no_ledger(arm, tmp_path, change):
    path = tmp_path / "arm.ledger"
    raw = path.read_bytes()
    path.write_bytes(
        {
            "first byte": b"x" + raw[1:],
            "version": raw[:7] + b"\xff" + raw[8:],
            "one byte more": raw + b"\0",
            "zeros": bytes(len(raw)),
            "text": b"node: cell\n",
        }[change]
    )
    with pytest.raises(ValueError, match="not a ledger"):
        read(path)


@given(st.binary(max_size=200))
def test_a_damaged_header_is_told_or_refused(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("ledger") / "x.ledger"
    size = ledger.HEADER + ROWS * ledger.ROW.size
    with open(path, "wb") as file:
        file.write(ledger.MAGIC)
        file.seek(ledger.COUNTS_AT)
        file.write(junk * 2)
        file.truncate(size)
    try:
        assert len(read(path).rows) <= ROWS
    except ValueError:
        pass


def test_no_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.ledger")


def test_a_full_disk_shows_at_once():
    with pytest.raises(OSError):
        ledger.new_file(ledger.Path("/proc/none/x.ledger"), 4096)


# -- parts --------------------------------------------------------------------------------------------------------------


def stamps(*rows):
    return np.array([tuple(row) for row in rows], ROW_TYPE)


def test_the_parts_of_one_sample():
    # captured at 10 while the lane was busy until 13, handed over at 14, prepared 16, inferred 20, decided 21, applied 23
    found = parts(stamps([0, 10 * MS, 13 * MS, 14 * MS, 16 * MS, 20 * MS, 21 * MS, 22 * MS, 23 * MS]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "queueing": [3.0],
        "transport": [1.0],
        "preprocess": [2.0],
        "inference": [4.0],
        "decision": [3.0],
        "total": [13.0],
    }


def test_a_lane_that_waited_for_its_sample_did_not_queue():
    found = parts(stamps([0, 10 * MS, 5 * MS, 14 * MS, 16 * MS, 20 * MS, 21 * MS, 0, 0]))
    assert (found["queueing"][0], found["transport"][0]) == (0.0, 4.0)
    assert found["total"][0] == 11.0  # nothing was applied: it ends when decided


@given(
    st.lists(st.tuples(*[st.integers(0, 10**9)] * 8), min_size=1, max_size=20), st.integers(0, 10**15), st.booleans()
)
def test_the_parts_add_up_to_the_total_exactly(steps, start, applied):
    made = []
    for ask, *later in steps:
        t = [start + one for one in np.cumsum(later).tolist()]
        capture, read_, prepared, inferred, decided, sent, done = t
        made.append(
            [
                0,
                capture,
                max(0, capture - 5 * 10**8 + ask) if ask % 2 else min(read_, capture + ask),
                read_,
                prepared,
                inferred,
                decided,
                sent,
                done * applied,
            ]
        )
    rows = stamps(*made)
    found = parts(rows)
    nanoseconds = {name: np.rint(values * 1e6).astype(np.int64) for name, values in found.items()}
    end = rows["applied"] if applied else rows["decided"]
    assert (sum(nanoseconds[name] for name in PARTS) == nanoseconds["total"]).all()
    assert (nanoseconds["total"] == end - rows["capture"]).all()


def test_quantiles():
    assert quantiles(np.array([])) == {}
    found = quantiles(np.arange(1001.0))
    assert (found["p50"], found["p99"], found["max"]) == (500.0, 990.0, 1000.0)


def test_the_table_names_every_reason_and_part(arm):
    for number in range(len(COUNTERS)):
        arm.count[number] = number + 1
    at = arm.next_row()
    book_row(arm, 1, sent=1)
    arm.record_applied(at, 9 * MS)
    text = table(snapshot(arm.memory))
    for word in (*COUNTERS, *PARTS, "total", "lane arm"):
        assert word in text


def test_the_table_of_nothing(arm):
    assert "dropped: none" in table(snapshot(arm.memory))
