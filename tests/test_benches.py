"""`reflexd bench`: its options, its texts and its arithmetic. The measurements themselves are no tests."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agent.benches import arc, faults, fusion, gating, perimeter, restart, senses, soak
from agent.benches.soak import Usage
from agent.cli import cli

BENCHES = ("arc", "heads", "soak", "faults", "hostile", "restart", "senses", "swap")


@pytest.mark.parametrize("bench", BENCHES)
def test_every_bench_can_be_short_and_print_json(bench: str) -> None:
    result = CliRunner().invoke(cli, ["bench", bench, "--help"], catch_exceptions=False)
    assert "--short" in result.output and "--json" in result.output


@pytest.mark.parametrize("bench", BENCHES)
def test_a_missing_psutil_is_one_clear_message(bench: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("agent.benches.") and name != "agent.benches.cli"]:
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(sys.modules["agent.benches"], module.rpartition(".")[2], raising=False)
    monkeypatch.setitem(sys.modules, "psutil", None)
    result = CliRunner().invoke(cli, ["bench", bench])
    assert result.exit_code == 1
    assert "reflexd bench needs psutil: scripts/setup bench, or pip install 'reflexd[bench]'" in result.output


def test_a_missing_recording_is_one_clear_message(tmp_path: Any) -> None:
    with pytest.raises(Exception, match="no such recording: give --data DIR") as missing:
        senses.measure(tmp_path)
    assert type(missing.value).__name__ == "DataError"


def test_the_slope_is_that_after_the_start() -> None:
    start = [Usage(samples=n, kilobytes=5.0 * n, files=3, threads=1) for n in range(0, 100, 10)]
    rest = [
        Usage(samples=n, kilobytes=1000 + 0.5 * n, files=18, threads=8 + n % 200 // 100) for n in range(100, 1000, 100)
    ]
    summary = soak._summary([*start, *rest, Usage(1000, 0.0, 0, 0)], 1000)
    assert summary["slope_kb_per_million"] == pytest.approx(500_000)
    assert summary["open_files"] == [18, 18] and summary["threads"] == [8, 9]


def test_decisions_without_a_known_outcome_are_counted() -> None:
    counts = {"decisions": 10, "sent": 9, "undelivered": 1}
    counts |= {"applied": 5, "overruled": 1, "refused": 2, "unacknowledged": 1}
    assert faults.uncounted(counts) == 0
    assert faults.uncounted({**counts, "applied": 4}) == 1
    assert faults.uncounted({**counts, "overruled": 0}) == 1
    assert faults.uncounted({**counts, "undelivered": 0}) == 1


def test_a_fault_is_read_from_the_daemons_log() -> None:
    read: list[faults.Fault] = []
    faults._read_log(
        [b"01:02:03.500 WARNING camera-freeze: injecting fault 'freeze' at 3.100 s\n", b"01:02:04 other\n"], read
    )
    assert read == [faults.Fault("camera-freeze", "freeze", 3723.5)]


def test_an_appearance_starts_after_a_pause_and_lasts() -> None:
    absent = [False] * gating.APART
    assert gating._appearances([*absent, True, True, True, False, True, True, True]) == [gating.APART]
    assert gating._appearances([*absent, True, False, *absent, True, True, True]) == [2 * gating.APART + 2]
    assert gating._in_force([None, True, None, False, None]) == [False, True, True, False, False]
    assert gating._delay([False, True, False, True], 2) == 1 and gating._delay([True, False], 1) is None


def test_frames_near_an_edge_do_not_count() -> None:
    since, until = perimeter.PRESENT[0]
    assert [perimeter._near_an_edge(t) for t in (since + 0.5, since + 1, until + 1.5, until + 2)] == [
        True,
        False,
        True,
        False,
    ]


def test_the_texts_have_the_figures() -> None:
    seconds = {"median": 0.5, "max": 0.75}
    killed = restart.text({"machine": "M", "times": 3, "safe_s": seconds, "deciding_s": {"median": 1.5, "max": 2.5}})
    assert killed == "M\nkill -9, 3 times: safe after 0.5 s (longest 0.75), deciding again after 1.5 s (longest 2.5)"
    row = {"p50": 1.0, "p99": 2.0, "p99.9": 3.0, "max": 4.0, "samples": 5}
    bare = {**row, "p50": 0.5, "p99": 4.0}
    ratios = arc._ratios(bare, {"reflexd": row, "minimal": row, "monitored": {**row, "p99": 3.0}})
    assert ratios == {"ratio_p50": 2.0, "ratio_p99": 0.5, "monitored_ratio_p50": 1.0, "monitored_ratio_p99": 1.5}
    lines = arc._comparison(
        "camera", {"bare": bare, "reflexd": row, "minimal": row, "monitored": row, **ratios, "lost": 0}
    )
    assert [line.split()[1] for line in lines[:4]] == ["bare", "reflexd", "minimal", "monitored"]
    assert lines[4:] == [
        "  ratio p50 2.0, p99 0.5, lost 0",
        "  with recorder and metrics against without: p50 1.0, p99 1.5",
    ]
    assert senses._quantiles({"lanes": 3, "p50_ms": 0.1, "max_ms": 2}) == "p50 0.1 ms, max 2 ms"


def test_a_late_actuator_is_late_by_what_exceeds_the_bound(tmp_path: Any) -> None:
    import json
    import time

    midnight = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
    rows = [{"unix_s": midnight + t, "verb": verb} for t, verb in ((10.0, "go"), (10.35, "safe"), (11.0, "go"))]
    (tmp_path / "lane.jsonl").write_text("\n".join(map(json.dumps, rows)))
    silences = [faults.Fault("lane", "freeze", t) for t in (10.0, 12.0, 10.5)]
    late = faults._lateness(silences, tmp_path)
    assert late[0] == pytest.approx(50.0, abs=0.01) and np.isinf(late[1])  # the bound is 0.3 s
    assert late[2] == pytest.approx(-300.0)  # safe already


def test_the_fused_lanes_all_have_evidence() -> None:
    assert fusion.LANES.keys() == fusion.EVIDENCE.keys()
