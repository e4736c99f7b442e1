"""`reflexd bench site`: its parts, what they compute where the recordings are not here, and its texts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agent.benches.site import bench, compression, forecast, morning_peak, pool, traffic
from agent.cli import cli
from agent.errors import DataError

HEAD = "holiday,temp,rain_1h,snow_1h,clouds_all,weather_main,weather_description,date_time,traffic_volume\n"


def test_a_part_that_there_is_not_is_named() -> None:
    result = CliRunner().invoke(cli, ["bench", "site", "--only", "nothing"])
    assert result.exit_code == 2 and "no part 'nothing': there are region, shed, compression" in result.output


def test_a_part_that_cannot_run_here_says_why_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(short: bool) -> dict[str, Any]:
        raise DataError("needs two cores")

    monkeypatch.setattr(pool, "measure", refuse)
    monkeypatch.setattr(compression, "measure", lambda short: {"compression": {}})
    result = bench.measure(["compression", "pool"], short=True)
    assert result["not_run"] == {"pool": "needs two cores"} and result["compression"] == {}
    monkeypatch.setattr(compression, "text", lambda result: "its lines")
    assert bench.text(result).split("\n\n")[1:] == ["its lines", "pool: not run: needs two cores"]


def test_without_the_trace_there_is_one_synthetic_day(tmp_path: Path) -> None:
    (day,) = traffic.days(tmp_path)
    assert day.name == "synthetic" and day.hourly.shape == (24,)


def write_trace(folder: Path, days: dict[str, list[int]]) -> None:
    rows = [
        f"None,280,0,0,40,Clouds,few clouds,{date} {hour:02}:00:00,{count}"
        for date, counts in days.items()
        for hour, count in enumerate(counts)
    ]
    path = folder / traffic.TRACE
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt") as file:
        file.write(HEAD + "\n".join(rows) + "\n")


def test_only_whole_weekdays_with_a_morning_peak_are_played(tmp_path: Path) -> None:
    usual, holiday = list(traffic.SYNTHETIC), [20] * 6 + [5] * 4 + [80] * 14
    days = {"2016-05-02": usual, "2016-05-03": usual[:20], "2016-05-04": holiday, "2016-05-07": usual}
    write_trace(tmp_path, days)
    assert [day.name for day in traffic.days(tmp_path)] == ["2016-05-02"]  # one is cut, one a holiday, one a Saturday


def test_a_day_is_played_at_its_pace_up_to_its_peak() -> None:
    (day,) = traffic.days(Path("/nonexistent"))
    rate = traffic.rate(day, 60.0, 50.0)
    assert len(rate) == 23 * 60 and rate.max() == pytest.approx(50.0)
    assert rate[8 * 60] == pytest.approx(50.0 * 84 / 98)
    assert traffic.rate(day, 60.0, 50.0, 4.0, 10.0)[0] == pytest.approx(50.0 * 12 / 98)


def test_the_forecast_is_nearer_than_the_load_of_now_on_the_synthetic_day() -> None:
    days = traffic.days(Path("/nonexistent"))
    for hour_s, peak in ((60.0, 50.0), (150.0, 200.0)):
        errors = forecast._errors(days, hour_s, peak)
        assert errors["damped_holt"] < errors["same_as_now"], (hour_s, peak)


def test_in_a_simulated_morning_the_forecast_leaves_fewer_frames_late() -> None:
    result = morning_peak.measure(traffic.days(Path("/nonexistent")))
    assert result["forecast"]["late"] < result["no_forecast"]["late"]
    assert result["forecast"]["frames"] == result["no_forecast"]["frames"]  # the same frames
    lines = morning_peak.text(result).splitlines()
    assert lines[0].startswith("simulation: 1 mornings") and len(lines) == 4


def test_without_sharing_the_peak_is_more_than_one_box_can_do() -> None:
    (day,) = traffic.days(Path("/nonexistent"))
    alone = morning_peak._play(day, 0, start=100.0, forecast=False)
    shared = morning_peak._play(day, 0, start=morning_peak.START, forecast=False)
    assert alone.away_s == 0 and alone.late > 10 * shared.late


def test_more_workers_are_linear_until_the_caller_is_busy() -> None:
    assert pool.simulated(1, 0.008, 1e-6) == pytest.approx(1.0, abs=0.01)
    assert pool.simulated(8, 0.008, 0.0001) > 0.95
    assert pool.simulated(64, 0.008, 0.001) == pytest.approx(0.008 / 0.001 / 64, rel=0.05)  # the caller's own limit


def test_an_activation_that_is_packed_is_measured_against_itself() -> None:
    values = np.random.default_rng(0).normal(0, 1, (16, 16, 32)).astype(np.float32)
    ratio, error = compression._packed(values, 0.021)
    assert 4 < ratio < 8 and error <= 0.021
    row = compression._row([compression.Activation("conv", values)], 0.035)
    assert row["worst"] == "conv" and row["error_max"] <= 0.035


@pytest.mark.slow
def test_the_activations_of_a_bundled_network_meet_the_goals() -> None:
    figures = compression.measure(short=True)["compression"]
    for model, row in figures["models"].items():
        assert row["tensors"] > 10, model
        assert row["4x"]["error_max"] <= 0.021 and row["6x"]["error_max"] <= 0.035
        assert row["4x"]["ratio_min"] >= 4 and row["6x"]["ratio_min"] >= 6, model
    assert len(compression.text({"compression": figures}).splitlines()) == 1 + 2 * 3 + len(compression.LEVELS)


@pytest.mark.slow
def test_a_pool_is_measured_with_one_and_more_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SHORT_PICTURES", 40)
    monkeypatch.setattr(pool, "WORKERS", (1, 2))
    result = pool.measure(short=True)
    figures = result["pool"]
    assert figures["1"]["of_linear"] == 1.0 and figures["2"]["per_s"] > 0
    assert set(figures["simulated_of_linear"]) == {"4", "8", "16", "32", "64"}
    assert len(pool.text(result).splitlines()) == 4
