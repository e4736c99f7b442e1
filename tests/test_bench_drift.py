"""`reflexd bench drift`: no false alarm on looped recordings, every change reported in time, and its end."""

from __future__ import annotations

import json

import pytest

from agent.benches.drift import bench, plot
from agent.benches.drift.changes import cases
from agent.benches.drift.loops import recorded
from tests.field_fixtures import reflexd
from tests.shared import DATA, needs_recordings


@pytest.mark.slow
def test_simulated_recordings_give_no_false_alarm_and_each_change_is_reported() -> None:
    result = reflexd("bench", "drift", "--short", "--json")
    figures = json.loads(result.output)
    assert (figures["false_alarms"], figures["not_reported"], figures["not_ended"]) == (0, 0, 0), result.output
    reported = {(row["recording"], row["case"].partition(" ")[0]) for row in figures["cases"]}
    assert {("room", "darkened"), ("room", "blurred"), ("room", "shifted"), ("room", "swapped")} <= reported
    assert {("arm", "all"), ("arm", "one"), ("arm", "swapped"), ("hall", "gain"), ("hall", "covered")} <= reported
    assert figures["slowest"] <= figures["within"] and not bench.failed(figures) and result.return_value == 0


@pytest.mark.slow
@needs_recordings
def test_a_real_camera_gives_no_false_alarm_in_hours_and_each_change_is_reported() -> None:
    (loop,) = [loop for loop in recorded(DATA) if loop.name == "one-by-one-person-detection"]
    assert bench.day(loop, bench.SHORT_S)["false_alarms"] == 0
    for case in cases(loop):
        row = bench.run_case(loop, case)
        assert row["delay"] is not None and row["delay"] <= bench.WITHIN and row["ends_after_s"] is not None, row


@pytest.mark.slow
def test_the_picture_of_the_readme_shows_both_reports() -> None:
    _, _, reports, _ = plot.played()
    begun = {report.statistic: report.began for report in reports}
    assert plot.DARK[0] < begun["brightness"] < plot.DARK[0] + bench.WITHIN
    assert plot.PUSHED[0] < begun["view"] < plot.PUSHED[0] + bench.WITHIN
    assert plot.draw().shape == (2 * 34 + 4 * plot.HEIGHT, plot.WIDTH, 3)
