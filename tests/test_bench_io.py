"""`reflexd bench io`: each protocol is measured, or the reason why it is not is stated."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from agent.benches.io import bench
from agent.cli import cli
from tests.shared import ROOT


@pytest.mark.slow
def test_each_protocol_is_measured_or_says_why_not() -> None:
    result = CliRunner().invoke(cli, ["bench", "io", "--times", "20", "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    for key in ("modbus_tcp", "opcua", "mqtt", "http", "can", "gpio"):
        if report[key] is None:
            assert report["reasons"][key]
        else:
            assert 0 < report[key]["p50"] <= report[key]["p99"]
    assert report["modbus_tcp"] and report["opcua"] and report["http"]  # their counterparts are Python packages
    picture = report["rtsp_first_picture_s"]
    assert report["reasons"]["rtsp_first_picture_s"] if picture is None else 0 < picture["p50"] <= picture["max"]
    assert len(bench.text(report).splitlines()) == 8


def test_no_rtsp_server_is_null_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MODULES", {})
    monkeypatch.setattr(bench.rtsp, "SYSTEM_PYTHON", "/nonexistent/python3")
    report = bench.measure(1)
    assert report["rtsp_first_picture_s"] is None
    assert report["reasons"] == {"rtsp_first_picture_s": "/nonexistent/python3 does not run"}
    assert "rtsp        not run: /nonexistent/python3 does not run" in bench.text(report)


def test_the_image_trial_measures_as_the_bench_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP stands for CAN and GPIO, which most machines lack."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts/image.d"))
    import box_io

    monkeypatch.setattr(box_io, "CALLS", 10)
    row = box_io.figures("http")
    assert 0 < row["p50"] <= row["p99"]
    monkeypatch.setattr("agent.benches.io.http.reason", lambda: "nothing listens")
    with pytest.raises(SystemExit, match="not met: nothing listens"):
        box_io.figures("http")
    sys.modules.pop("box_io")
