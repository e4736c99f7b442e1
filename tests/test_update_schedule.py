"""When an updater checks: jitter, back-off, and a maintenance window, also across midnight."""

from __future__ import annotations

from datetime import datetime

import pytest

from agent.update.fetching.schedule import RETRY_S, Schedule, Window, window_of


def at(text: str) -> datetime:
    return datetime.strptime(f"2026-11-30 {text}", "%Y-%m-%d %H:%M:%S")


def schedule(window: str = "", every_s: float = 3600.0, jitter: float = 0.2, draw: float = 0.0) -> Schedule:
    """draw: the share of each range that chance gives, from 0 to 1."""
    return Schedule(every_s, jitter, window_of(window), lambda low, high: low + draw * (high - low))


@pytest.mark.parametrize(
    ("window", "time", "wait_s"),
    [
        ("", "12:00:00", 0),
        ("01:00-03:00", "00:59:30", 30),
        ("01:00-03:00", "01:00:00", 0),
        ("01:00-03:00", "02:59:59", 0),
        ("01:00-03:00", "03:00:00", 22 * 3600),
        ("22:00-05:30", "21:59:00", 60),
        ("22:00-05:30", "23:59:59", 0),
        ("22:00-05:30", "00:00:00", 0),
        ("22:00-05:30", "05:29:59", 0),
        ("22:00-05:30", "05:30:00", 16.5 * 3600),
        ("00:00-00:01", "00:01:00", 86340),
    ],
)
def test_a_window_opens_and_closes(window: str, time: str, wait_s: float) -> None:
    assert window_of(window).wait_s(at(time)) == wait_s


def test_without_times_a_window_is_always_open() -> None:
    assert Window().wait_s(at("03:00:00")) == 0.0


@pytest.mark.parametrize(("draw", "wait_s"), [(0.0, 2880), (0.5, 3600), (1.0, 4320)])
def test_the_time_between_checks_varies_by_the_jitter(draw: float, wait_s: float) -> None:
    assert schedule(draw=draw).next_s(0, at("12:00:00")) == pytest.approx(wait_s)


def test_boxes_that_start_together_do_not_ask_together() -> None:
    assert [schedule(draw=draw).first_s(at("12:00:00")) for draw in (0.0, 0.5, 1.0)] == [0.0, 360.0, 720.0]


def test_after_a_failure_it_tries_again_soon_and_then_less_often() -> None:
    waits = [schedule(jitter=0.0).next_s(failures, at("12:00:00")) for failures in range(9)]
    assert waits == [3600, RETRY_S, 120, 240, 480, 960, 1920, 3600, 3600]
    assert schedule(jitter=0.0).next_s(10_000, at("12:00:00")) == 3600


def test_outside_of_the_window_it_waits_for_it_and_spreads_within() -> None:
    waits = [schedule("01:00-03:00", draw=draw).next_s(0, at("00:00:00")) for draw in (0.0, 1.0)]
    assert waits == [3600.0, 3600.0 + 720.0]
    assert schedule("01:00-01:02", draw=1.0).next_s(0, at("00:00:00")) == 4320.0
    assert schedule("22:00-05:30").first_s(at("12:00:00")) == 36_000.0
