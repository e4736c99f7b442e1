"""`reflexd trace`: the slowest samples as text, and a file that Perfetto opens."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from agent import ledger
from agent.errors import ConfigError
from agent.field import perfetto, trace
from agent.ledger import Ledger
from tests.field_fixtures import MS, configuration, exit_code, reflexd, write_ledger
from tests.processes import Cell, arm
from tests.waiting import until


def traced(path: Path, *options: str) -> Result:
    return reflexd("trace", "-c", str(path), *options)


def test_the_worst_come_first_over_all_lanes(tmp_path: Path) -> None:
    write_ledger(tmp_path, "quick", stages=(0, 1, 1, 1, 1))
    write_ledger(tmp_path, "slow", stages=(3, 1, 2, 9, 1), sent=True)
    answer = json.loads(traced(configuration(tmp_path), "--worst", "12", "--json").stdout)
    worst = answer["worst"]
    assert [sample["lane"] for sample in worst] == ["slow"] * 10 + ["quick"] * 2
    assert worst[0]["parts"] == {"queueing": 3, "transport": 1, "preprocess": 2, "inference": 9, "decision": 3}
    assert worst[0]["total_ms"] == 18 and worst[0]["applied"] and not worst[-1]["applied"]
    assert worst[0]["clock"] == pytest.approx(time.time(), abs=60)


def test_a_bar_for_every_stage(tmp_path: Path) -> None:
    write_ledger(tmp_path, stages=(0, 1, 1, 1, 1), count=1)
    lines = traced(configuration(tmp_path), "--worst", "1").stdout.splitlines()
    assert lines[2].startswith("lane arm, sample 0, ") and lines[2].endswith("ago")
    bars = [(line.split()[0], line[22:]) for line in lines[3:8]]
    quarter = trace.BAR // 4
    assert bars == [
        ("queueing", ""),
        ("transport", "  " + "#" * quarter),
        ("preprocess", "  " + " " * quarter + "#" * quarter),
        ("inference", "  " + " " * 2 * quarter + "#" * quarter),
        ("decision", "  " + " " * 3 * quarter + "#" * quarter),
    ]
    assert "total" in lines[8] and "4.000  over the budget of 2, captured to decided" in lines[8]
    assert max(map(len, lines)) <= 80


def test_one_lane_or_an_error(tmp_path: Path) -> None:
    write_ledger(tmp_path, "arm")
    write_ledger(tmp_path, "leg")
    path = configuration(tmp_path)
    assert {sample["lane"] for sample in json.loads(traced(path, "--lane", "leg", "--json").stdout)["worst"]} == {"leg"}
    with pytest.raises(ConfigError, match="no ledger of a lane 'log'; there is: arm, leg"):
        traced(path, "--lane", "log")


def test_only_the_newest_minutes_also_of_a_dead_daemon(tmp_path: Path) -> None:
    write_ledger(
        tmp_path, count=601, every_ms=1000, last=time.monotonic_ns() - 3_600_000 * MS
    )  # ten minutes, ended an hour ago
    answer = json.loads(traced(configuration(tmp_path), "--minutes", "2", "--worst", "1000", "--json").stdout)
    assert len(answer["worst"]) == 120 and min(sample["sequence"] for sample in answer["worst"]) == 481


@pytest.mark.parametrize("content", [b"", b"reflexd\x01" + bytes(100), bytes(3_000_000)])
def test_files_that_are_not_ledgers(tmp_path: Path, content: bytes) -> None:
    path = configuration(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/arm.ledger").write_bytes(content)
    result = traced(path)
    assert exit_code(result) == 1 and "not a ledger" in result.stdout and "no samples" in result.stdout
    assert exit_code(traced(path, "--perfetto", str(tmp_path / "t.json"))) == 1
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"] == []


def test_no_run_dir(tmp_path: Path) -> None:
    result = traced(configuration(tmp_path))
    assert exit_code(result) == 1 and "does not exist" in " ".join(result.stdout.split())


def test_a_row_that_was_half_overwritten_is_left_out(tmp_path: Path) -> None:
    now = time.monotonic_ns()
    written = Ledger(tmp_path / "run/arm.ledger", "arm", 2.0)
    written.write(1, *(now + step * MS for step in range(6)), 0)
    written.write(2, now, now, now + 9 * MS, now, now, now - 99 * MS, 0)  # decided before it was read
    written.close()
    assert [sample["sequence"] for sample in json.loads(traced(configuration(tmp_path), "--json").stdout)["worst"]] == [
        1
    ]


def read_events(path: Path) -> list[dict[str, Any]]:
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert set(trace) == {"displayTimeUnit", "traceEvents"} and trace["displayTimeUnit"] == "ms"
    events: list[dict[str, Any]] = trace["traceEvents"]
    for event in events:  # the fields that "Trace Event Format" requires of each phase
        assert {"ph", "name", "pid", "tid"} <= set(event) and isinstance(event["name"], str)
        if event["ph"] == "X":
            assert event["ts"] > 0 and event["dur"] >= 0 and isinstance(event["cat"], str)
        elif event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
        else:
            assert event["ph"] == "i" and event["s"] == "t" and event["ts"] > 0
    return events


def test_perfettos_tracks_and_spans(tmp_path: Path) -> None:
    write_ledger(tmp_path, "arm", stages=(3, 1, 2, 9, 1), count=2, every_ms=100, sent=True)
    write_ledger(tmp_path, "leg", count=1)
    result = traced(configuration(tmp_path), "--perfetto", str(tmp_path / "t.json"))
    assert exit_code(result) == 0 and "ui.perfetto.dev" in result.stdout
    events = read_events(tmp_path / "t.json")
    assert {(event["tid"], event["args"]["name"]) for event in events if event["ph"] == "M"} == {
        (0, "reflexd cell-1"),
        (1, "arm"),
        (2, "leg"),
    }
    first = [event for event in events if event["tid"] == 1 and event["ph"] != "M"][:7]
    assert [event["name"] for event in first] == [
        "sample 0",
        "transport",
        "preprocess",
        "inference",
        "decide",
        "send",
        "applied",
    ]
    assert [event["dur"] for event in first[:-1]] == [14_000, 1000, 2000, 9000, 1000, 1000]  # us; 3 ms were queueing
    assert first[0]["args"] == {"sequence": 0, "captured_ms_before": 3.0, "captured_to_applied_ms": 18.0}
    last = [event["name"] for event in events if event["tid"] == 2 and event["ph"] == "X"][-1]
    assert last == "decide"  # no command left


def test_spans_of_a_track_nest_and_do_not_overlap(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.start_both()
        cell.wait_for_count("arm", "inferences", 500)
        until(lambda: exit_code(traced(cell.write(), "--perfetto", str(tmp_path / "t.json"))) == 0, "a trace")
    spans = [event for event in read_events(tmp_path / "t.json") if event["ph"] == "X"]
    assert len(spans) > 2000
    samples = [span for span in spans if span["name"].startswith("sample")]
    for before, after in zip(samples, samples[1:]):
        assert before["ts"] + before["dur"] <= after["ts"] + 0.001
    sample = {"ts": 0.0, "dur": 0.0}
    end = 0.0
    for span in spans:
        if span["name"].startswith("sample"):
            sample, end = span, span["ts"]
        else:
            assert span["ts"] == pytest.approx(end, abs=0.002)
            assert span["ts"] + span["dur"] <= sample["ts"] + sample["dur"] + 0.002
            end = span["ts"] + span["dur"]


def test_a_capture_that_was_awaited_begins_when_it_came() -> None:
    asked, captured = 1_000_000, 3_000_000
    stamps = [
        (7, captured, asked, 4_000_000, 5_000_000, 6_000_000, 7_000_000, 0, 0),
        (8, captured, asked, 0, 0, 0, 1, 0, 0),
    ]
    first, second = np.array(stamps, ledger.ROW_TYPE)
    (sample, transport, *_) = perfetto.sample(1, first)
    assert (sample["ts"], sample["dur"], transport["dur"]) == (3000.0, 4000.0, 1000.0)
    assert perfetto.sample(1, second) == []  # ends before it begins
    assert [stamp for _, stamp in perfetto.STAGES] == ["read", "prepared", "inferred", "decided", "sent"]
    assert ledger.STAMPS[3:8] == tuple(stamp for _, stamp in perfetto.STAGES)  # each stage ends where the next begins
