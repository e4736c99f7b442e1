"""`reflexd trace`: the slowest samples as text, and a file that Perfetto opens."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from agent import ledger
from agent.errors import ConfigError
from agent.field import perfetto, trace
from agent.ledger import Ledger
from tests.field_fixtures import MS, exit_code, configuration, reflexd, write_ledger
from tests.processes import Cell, arm
from tests.waiting import until


def traced(path: Path, *words: str) -> Result:
    return reflexd("trace", "-c", str(path), *words)


def test_the_worst_come_first_over_all_lanes(tmp_path: Path) -> None:
    write_ledger(tmp_path, "quick", stages=(0, 1, 1, 1, 1))
    write_ledger(tmp_path, "slow", stages=(3, 1, 2, 9, 1), sent=True)
    answer = json.loads(traced(configuration(tmp_path), "--worst", "12", "--json").stdout)
    worst = answer["worst"]
    assert [one["lane"] for one in worst] == ["slow"] * 10 + ["quick"] * 2
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
    assert "total" in lines[8] and "4.000  over 2, captured to decided" in lines[8]
    assert max(map(len, lines)) <= 80


def test_one_lane_or_a_mistake(tmp_path: Path) -> None:
    write_ledger(tmp_path, "arm")
    write_ledger(tmp_path, "leg")
    path = configuration(tmp_path)
    assert {one["lane"] for one in json.loads(traced(path, "--lane", "leg", "--json").stdout)["worst"]} == {"leg"}
    with pytest.raises(ConfigError, match="no ledger of a lane 'log'; there is: arm, leg"):
        traced(path, "--lane", "log")


def test_only_the_newest_minutes_even_of_the_dead(tmp_path: Path) -> None:
    write_ledger(
        tmp_path, count=601, every_ms=1000, last=time.monotonic_ns() - 3_600_000 * MS
    )  # ten minutes, ended an hour ago
    answer = json.loads(traced(configuration(tmp_path), "--minutes", "2", "--worst", "1000", "--json").stdout)
    assert len(answer["worst"]) == 120 and min(one["sequence"] for one in answer["worst"]) == 481


@pytest.mark.parametrize("content", [b"", b"reflexd\x01" + bytes(100), bytes(3_000_000)])
def test_ledgers_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = configuration(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/arm.ledger").write_bytes(content)
    result = traced(path)
    assert exit_code(result) == 1 and "not a ledger" in result.stdout and "no samples" in result.stdout
    assert exit_code(traced(path, "--perfetto", str(tmp_path / "t.json"))) == 1
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"] == []


def test_no_run_dir(tmp_path: Path) -> None:
    result = traced(configuration(tmp_path))
    assert exit_code(result) == 1 and "No such file" in result.stdout


def test_a_row_that_was_half_overwritten_is_left_out(tmp_path: Path) -> None:
    now = time.monotonic_ns()
    made = Ledger(tmp_path / "run/arm.ledger", "arm", 2.0)
    made.write(1, *(now + step * MS for step in range(6)), 0)
    made.write(2, now, now, now + 9 * MS, now, now, now - 99 * MS, 0)  # decided before it was read
    made.close()
    assert [one["sequence"] for one in json.loads(traced(configuration(tmp_path), "--json").stdout)["worst"]] == [1]


def events(path: Path) -> list[dict[str, Any]]:
    told = json.loads(path.read_text(encoding="utf-8"))
    assert set(told) == {"displayTimeUnit", "traceEvents"} and told["displayTimeUnit"] == "ms"
    found: list[dict[str, Any]] = told["traceEvents"]
    for event in found:  # what "Trace Event Format" asks of each phase
        assert {"ph", "name", "pid", "tid"} <= set(event) and isinstance(event["name"], str)
        if event["ph"] == "X":
            assert event["ts"] > 0 and event["dur"] >= 0 and isinstance(event["cat"], str)
        elif event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name") and isinstance(event["args"]["name"], str)
        else:
            assert event["ph"] == "i" and event["s"] == "t" and event["ts"] > 0
    return found


def test_perfettos_tracks_and_spans(tmp_path: Path) -> None:
    write_ledger(tmp_path, "arm", stages=(3, 1, 2, 9, 1), count=2, every_ms=100, sent=True)
    write_ledger(tmp_path, "leg", count=1)
    result = traced(configuration(tmp_path), "--perfetto", str(tmp_path / "t.json"))
    assert exit_code(result) == 0 and "ui.perfetto.dev" in result.stdout
    found = events(tmp_path / "t.json")
    assert {(one["tid"], one["args"]["name"]) for one in found if one["ph"] == "M"} == {
        (0, "reflexd cell-1"),
        (1, "arm"),
        (2, "leg"),
    }
    first = [one for one in found if one["tid"] == 1 and one["ph"] != "M"][:7]
    assert [one["name"] for one in first] == [
        "sample 0",
        "transport",
        "preprocess",
        "inference",
        "decide",
        "send",
        "applied",
    ]
    assert [one["dur"] for one in first[:-1]] == [14_000, 1000, 2000, 9000, 1000, 1000]  # us; 3 ms were queueing
    assert first[0]["args"] == {"sequence": 0, "captured_ms_before": 3.0, "captured_to_applied_ms": 18.0}
    assert [one["name"] for one in found if one["tid"] == 2 and one["ph"] == "X"][-1] == "decide"  # nothing left


def test_spans_of_a_track_nest_and_do_not_overlap(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        cell.both()
        cell.counted("arm", "inferences", 500)
        until(lambda: exit_code(traced(cell.write(), "--perfetto", str(tmp_path / "t.json"))) == 0, "a trace")
    spans = [one for one in events(tmp_path / "t.json") if one["ph"] == "X"]
    assert len(spans) > 2000
    samples = [one for one in spans if one["name"].startswith("sample")]
    for before, after in zip(samples, samples[1:]):
        assert before["ts"] + before["dur"] <= after["ts"] + 0.001
    whole = {"ts": 0.0, "dur": 0.0}
    end = 0.0
    for one in spans:
        if one["name"].startswith("sample"):
            whole, end = one, one["ts"]
        else:
            assert (
                one["ts"] == pytest.approx(end, abs=0.002)
                and one["ts"] + one["dur"] <= whole["ts"] + whole["dur"] + 0.002
            )
            end = one["ts"] + one["dur"]


def test_a_capture_that_was_awaited_begins_when_it_came() -> None:
    asked, captured = 1_000_000, 3_000_000
    (sample, transport, *_) = perfetto.sample(1, [7, captured, asked, 4_000_000, 5_000_000, 6_000_000, 7_000_000, 0, 0])
    assert (sample["ts"], sample["dur"], transport["dur"]) == (3000.0, 4000.0, 1000.0)
    assert perfetto.sample(1, [7, captured, asked, 0, 0, 0, 1, 0, 0]) == []  # ends before it begins
    assert ledger.STAMPS[3:8] == ("read", "prepared", "inferred", "decided", "sent")  # what STAGES counts on
    assert [column for _, column in perfetto.STAGES] == [3, 4, 5, 6, 7]
