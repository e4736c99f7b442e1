"""The ledger: a reader gets what the lane wrote, alive or dead, and the parts of the latency add up."""

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
from agent.ledger_text import counted, table

MS = 1_000_000
COUNTER_CONSTANTS = (
    "SAMPLES INFERENCES DECISIONS SENT ACKNOWLEDGED LOST SKIPPED GATED STALE REPEATED LATE UNDELIVERED REFUSED"
    " UNACKNOWLEDGED FAULTS SHED THINNED"
)


@pytest.fixture
def arm(tmp_path):
    made = Ledger(tmp_path / "arm.ledger", "arm", 2.5)
    yield made
    made.close()


def write_row(ledger, sequence, sent=0):
    """Capture at `sequence` ms; every later stamp is 1 ms on."""
    t = sequence * MS
    ledger.write(sequence, t, t + MS, t + 2 * MS, t + 3 * MS, t + 4 * MS, t + 5 * MS, sent and t + 6 * MS)


def test_a_reader_gets_what_was_written(arm, tmp_path):
    arm.state = ledger.RUNNING
    arm.count[ledger.SAMPLES] += 7
    arm.count[ledger.FAULTS] += 1
    arm.record_evidence("deviation", 0.75, 123)
    write_row(arm, 3)
    contents = read(tmp_path / "arm.ledger")
    assert (contents.lane, contents.pid, contents.budget_ms, contents.state) == ("arm", os.getpid(), 2.5, "running")
    assert contents.counts == dict.fromkeys(COUNTERS, 0) | {"samples": 7, "faults": 1}
    assert (contents.label, contents.score, contents.t_evidence) == ("deviation", 0.75, 123)
    assert contents.rows.tolist() == [(3, 3 * MS, 4 * MS, 5 * MS, 6 * MS, 7 * MS, 8 * MS, 0, 0)]


def test_a_new_one_is_empty(arm, tmp_path):
    contents = read(tmp_path / "arm.ledger")
    assert (contents.state, contents.label, len(contents.rows)) == ("closed", "", 0)
    assert not any(contents.counts.values())


def test_counters_have_their_names():
    names = {name.upper(): number for number, name in enumerate(COUNTERS)} | {"ACKNOWLEDGED": COUNTERS.index("applied")}
    for name in COUNTER_CONSTANTS.split():
        assert getattr(ledger, name) == names[name]


def test_an_acknowledgement_completes_its_row(arm):
    for sequence in range(3):
        at = arm.next_row()
        write_row(arm, sequence, sent=1)
        if sequence == 1:
            middle = at
    arm.record_applied(middle, 99 * MS)
    assert snapshot(arm.memory).rows["applied"].tolist() == [0, 99 * MS, 0]


def test_the_ring_keeps_the_newest_rows_in_order(arm):
    for sequence in range(ROWS - 1):
        write_row(arm, sequence)
    for sequence in range(ROWS - 1, ROWS + 5):
        write_row(arm, sequence)
        rows = snapshot(arm.memory).rows
        assert len(rows) == min(sequence + 1, ROWS)
        assert rows["sequence"][0] == max(0, sequence - ROWS + 1)
        assert rows["sequence"][-1] == sequence
        assert (np.diff(rows["sequence"]) == 1).all()


def test_a_ledger_in_memory_needs_no_file():
    ledger = Ledger(None, "arm", 1.0)
    write_row(ledger, 1)
    assert snapshot(ledger.memory).rows["sequence"][0] == 1
    ledger.close()


def test_a_file_may_be_read_while_it_is_written(arm, tmp_path):
    done = threading.Event()
    written = [0]

    def write(count):
        for _ in range(count):
            write_row(arm, written[0])
            arm.count[ledger.SAMPLES] += 1
            written[0] += 1

    def keep_writing():  # about 100,000 rows a second, a hundred times a lane's rate
        while not done.wait(0.001):
            write(100)

    write(ROWS - 1000)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(50):
            before = written[0]
            contents = read(tmp_path / "arm.ledger")
            assert contents.counts["samples"] >= before - 1
            settled = contents.rows[-ROWS // 2 :]  # meanwhile the writer may have been at the oldest ones
            assert (settled["decided"] - settled["capture"] == 5 * MS).all()
            assert (np.diff(settled["sequence"]) == 1).all()
    finally:
        done.set()
        writer.join()


def test_the_ledger_of_a_process_that_was_killed(tmp_path):
    path = tmp_path / "arm.ledger"
    write = (
        "import os, signal, sys; from pathlib import Path; from agent import ledger\n"
        "arm = ledger.Ledger(Path(sys.argv[1]), 'arm', 1.0); arm.state = ledger.RUNNING\n"
        "arm.count[ledger.SAMPLES] = 5\n"
        "arm.write(1, 2, 3, 4, 5, 6, 7, 8); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.Popen([sys.executable, "-c", write, str(path)])
    assert killed.wait(60) == -9
    contents = read(path)
    assert (contents.pid, contents.state, contents.counts["samples"]) == (killed.pid, "running", 5)
    assert contents.rows.tolist() == [(1, 2, 3, 4, 5, 6, 7, 8, 0)]


def test_a_reader_of_the_old_run_keeps_the_old_file(arm, tmp_path):
    path = tmp_path / "arm.ledger"
    write_row(arm, 41)
    with open(path, "rb") as old:
        again = Ledger(path, "arm", 2.5)
        assert snapshot(old.read()).rows["sequence"][0] == 41
        assert len(read(path).rows) == 0
        again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arm.ledger"]


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
def test_a_damaged_header_is_read_or_refused(tmp_path_factory, junk):
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


def test_a_file_that_cannot_be_made_is_an_error_at_once():
    with pytest.raises(OSError):
        ledger.new_file(ledger.Path("/proc/none/x.ledger"), 4096)


# -- parts of the latency -----------------------------------------------------------


def stamps(*rows):
    return np.array([tuple(row) for row in rows], ROW_TYPE)


def test_the_parts_of_one_sample():
    # captured at 10 while the lane was busy until 13, read at 14, prepared 16, inferred 20, decided 21, applied 23
    latencies = parts(stamps([0, 10 * MS, 13 * MS, 14 * MS, 16 * MS, 20 * MS, 21 * MS, 22 * MS, 23 * MS]))
    assert {name: values.tolist() for name, values in latencies.items()} == {
        "queueing": [3.0],
        "transport": [1.0],
        "preprocess": [2.0],
        "inference": [4.0],
        "decision": [3.0],
        "total": [13.0],
    }


def test_nothing_queued_where_the_lane_waited_for_its_sample():
    latencies = parts(stamps([0, 10 * MS, 5 * MS, 14 * MS, 16 * MS, 20 * MS, 21 * MS, 0, 0]))
    assert (latencies["queueing"][0], latencies["transport"][0]) == (0.0, 4.0)
    assert latencies["total"][0] == 11.0  # nothing was applied: it ends when decided


@given(
    st.lists(st.tuples(*[st.integers(0, 10**9)] * 8), min_size=1, max_size=20), st.integers(0, 10**15), st.booleans()
)
def test_the_parts_add_up_to_the_total_exactly(steps, start, applied):
    made = []
    for ask, *later in steps:
        t = [start + step for step in np.cumsum(later).tolist()]
        capture, read_, prepared, inferred, decided, sent, done = t
        asked = max(0, capture - 5 * 10**8 + ask) if ask % 2 else min(read_, capture + ask)
        made.append([0, capture, asked, read_, prepared, inferred, decided, sent, done * applied])
    rows = stamps(*made)
    latencies = parts(rows)
    nanoseconds = {name: np.rint(values * 1e6).astype(np.int64) for name, values in latencies.items()}
    end = rows["applied"] if applied else rows["decided"]
    assert (sum(nanoseconds[name] for name in PARTS) == nanoseconds["total"]).all()
    assert (nanoseconds["total"] == end - rows["capture"]).all()


def test_quantiles():
    assert quantiles(np.array([])) == {}
    latencies = quantiles(np.arange(1001.0))
    assert (latencies["p50"], latencies["p99"], latencies["max"]) == (500.0, 990.0, 1000.0)


def test_the_table_names_every_reason_and_part(arm):
    for number in range(len(COUNTERS)):
        arm.count[number] = number + 2
    at = arm.next_row()
    write_row(arm, 1, sent=1)
    arm.record_applied(at, 9 * MS)
    text = table(snapshot(arm.memory))
    for word in (*COUNTERS, *PARTS, "total", "lane arm"):
        assert word in text


def test_one_of_a_kind_is_singular(arm):
    assert (counted(0, "lane"), counted(1, "lane"), counted(2, "lane")) == ("0 lanes", "1 lane", "2 lanes")
    for number in range(5):
        arm.count[number] = 1
    at = arm.next_row()
    write_row(arm, 1, sent=1)
    arm.record_applied(at, 9 * MS)
    text = table(snapshot(arm.memory))
    assert "lane arm: 1 sample, 1 inference, 1 decision, 1 sent, 1 applied" in text
    assert "   1 sample\n" in text and "   1 command, captured to applied\n" in text


def test_the_table_of_an_empty_ledger(arm):
    assert "dropped: none" in table(snapshot(arm.memory))
