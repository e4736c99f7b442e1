"""The load ahead: a rise is continued, and fades; a level stays; noise is smoothed."""

from __future__ import annotations

import numpy as np
import pytest

from agent.forecast import AHEAD_S, BusyAhead, DampedHolt


def after(values: list[float], **gains: float) -> DampedHolt:
    model = DampedHolt(**gains)
    for value in values:
        model.observe(value)
    return model


def test_before_the_first_value_nothing_is_expected() -> None:
    assert DampedHolt().ahead(10) == 0.0


def test_a_steady_load_is_expected_to_stay() -> None:
    assert after([0.4] * 50).ahead(10) == pytest.approx(0.4)


def test_a_rise_is_continued_and_less_so_the_further_ahead() -> None:
    model = after([0.002 * second for second in range(200)])
    near, far, very_far = model.ahead(1), model.ahead(10), model.ahead(1000)
    assert model.level is not None and model.level < near < far < very_far
    assert far - near < 9 * (near - model.level)  # damped
    assert very_far - model.level < model.trend / (1 - model.damping)


def test_the_steps_are_those_of_the_published_formulas() -> None:
    """By hand: gains of a half, damping 0.8, after 1, 2, 4."""
    model = after([1.0, 2.0, 4.0], level_gain=0.5, trend_gain=0.5, damping=0.8)
    assert model.level == pytest.approx(0.5 * 4 + 0.5 * (1.5 + 0.8 * 0.25))
    assert model.trend == pytest.approx(0.5 * (2.85 - 1.5) + 0.5 * 0.8 * 0.25)
    assert model.ahead(2) == pytest.approx(2.85 + (0.8 + 0.64) * model.trend)


def test_a_load_is_never_expected_below_zero() -> None:
    assert after([1.0 - 0.1 * step for step in range(11)], level_gain=0.5, trend_gain=0.5).ahead(10) == 0.0


def test_what_is_no_number_is_left_out() -> None:
    clean = after([0.1, 0.2, 0.3])
    assert after([float("nan"), 0.1, 0.2, float("inf"), 0.3]).ahead(5) == clean.ahead(5)


def test_noise_around_a_level_moves_the_forecast_less_than_the_load() -> None:
    random = np.random.default_rng(0)
    model, said = DampedHolt(), []
    for value in random.normal(0.5, 0.1, 2000):
        model.observe(float(value))
        said.append(model.ahead(10))
    assert np.std(said[100:]) < 0.05 and np.mean(said[100:]) == pytest.approx(0.5, abs=0.02)


def test_a_box_whose_load_rises_counts_as_busy_before_it_is() -> None:
    ahead = BusyAhead()
    said = [ahead(0.01 * second, 0.0, float(second)) for second in range(70)]
    assert all(expected >= 0.01 * second for second, expected in enumerate(said))
    early = next(second for second, expected in enumerate(said) if expected > 0.5)
    assert 50 - AHEAD_S <= early < 48


def test_work_that_was_handed_over_is_no_fall_of_the_load() -> None:
    ahead = BusyAhead()
    for second in range(100):
        ahead(0.7, 0.0, float(second))
    for second in range(100, 120):
        assert ahead(0.5, 0.2, float(second)) == pytest.approx(0.5)


def test_the_rate_of_the_calls_and_a_pause_do_not_matter() -> None:
    slow, quick = BusyAhead(), BusyAhead()
    for second in range(60):
        expected = slow(0.01 * second, 0.0, float(second))
    for tenth in range(600):
        again = quick(0.01 * (tenth / 10), 0.0, tenth / 10)
    assert again == pytest.approx(expected, abs=0.03)
    assert quick(0.2, 0.0, 1e6) <= 1.0


def test_no_box_is_more_than_busy() -> None:
    ahead = BusyAhead()
    assert max(ahead(min(1.0, 0.1 * second), 0.0, float(second)) for second in range(30)) == 1.0
