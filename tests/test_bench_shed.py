"""`reflexd bench site --only shed`: what it needs, and its lines."""

from __future__ import annotations

import os

import pytest

from agent.benches.site import bench, shed
from agent.errors import DataError


def test_two_boxes_need_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    with pytest.raises(DataError, match="two boxes need a core each"):
        shed.measure(short=True)


def test_its_lines_have_its_figures() -> None:
    assert "shed" in bench.PARTS
    figures = {"p50_ms": 9.5, "p99_ms": 31, "budget_ms": 100, "samples": 150, "handed": 140, "missed": 2, "lost": 0}
    text = shed.text({"shed_s": 0.4, "moved_lanes_late": 1, "shed": figures})
    assert "after 0.4 s; 140 inferences handed, 2 missed" in text and "1 of 150 late, 0 lost" in text
