"""sensor.gpio with a scripted chip: edges, levels, stamps, lost edges; test_gpio_kernel.py has chips of the kernel."""

import errno
import time

import gpiod
import pytest
from gpiod.line import Bias, Clock, Direction, Edge
from pydantic import ValidationError

from drivers.base import DeviceFault, DeviceMissing, load
from drivers.sensor import gpio
from tests.gpio_fixtures import Kernel
from tests.waiting import until

LINES = [{"line": "horn"}, {"line": 2, "name": "gate", "active_low": True}]


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(gpiod, "Chip", kernel.chip)
    yield kernel
    kernel.close()


@pytest.fixture
def gate(kernel, open_driver):
    def make(**options):
        options = {"lines": LINES, "rate_hz": 0.1, "timeout_ms": 20_000} | options
        driver = gpio.Driver(gpio.Options.model_validate(options), "gate")
        return open_driver(driver)

    return make


def read(driver):
    return until(lambda: driver.read(0.02), "a sample")


def test_the_first_look_is_at_once(kernel, gate):
    kernel.levels = {4: True, 2: False}
    driver = gate()
    assert driver.channels == ("horn", "gate", "horn_edges", "gate_edges")
    sample = driver.read(0.0)
    assert sample.payload.tolist() == [[1, 1, 0, 0]] and sample.sequence == 0
    assert driver.read(0.0) is None


def test_every_edge_is_a_reading_with_the_kernels_stamp(kernel, gate):
    driver = gate()
    read(driver)
    stamp = time.monotonic_ns()
    for step, (line, active) in enumerate([(4, True), (4, False), (2, True)]):
        kernel.edge(line, active, stamp + step)
    sample = read(driver)
    assert sample.payload.tolist() == [[1, 1, 1, 0], [0, 1, 2, 0], [0, 1, 2, 1]]
    assert (sample.sequence, sample.skipped, sample.t_capture) == (3, 0, stamp + 2)


def test_without_edges_the_levels_are_read_as_a_sign_of_life(kernel, gate):
    driver = gate(rate_hz=1000)
    numbers = [read(driver).sequence for _ in range(5)]
    assert numbers == [0, 1, 2, 3, 4] and driver.lost == 0


def test_lost_edges_are_counted_from_the_numbers_of_the_line(kernel, gate):
    driver = gate()
    read(driver)
    kernel.edge(4, True, 1, lost=3)
    kernel.edge(2, True, 2)
    sample = read(driver)
    assert driver.lost == 3 and sample.sequence == 5  # of 6 readings, 3 were lost
    assert sample.payload[-1].tolist() == [1, 1, 4, 1]


def test_a_level_is_right_again_after_lost_edges(kernel, gate):
    driver = gate(rate_hz=1000)
    read(driver)
    kernel.edge(4, True, time.monotonic_ns())
    kernel.levels[4] = False  # an edge that the kernel had no room for, and none follows
    until(lambda: read(driver).payload[-1, 0] == 0)


def test_many_edges_come_in_parts(kernel, gate):
    driver = gate()
    read(driver)
    for step in range(100):
        kernel.edge(4, not step % 2, step)
    assert [len(read(driver).payload) for _ in range(2)] == [64, 36] and driver.sequence == 100


def test_stamps_never_go_back(kernel, gate):
    """A debounced edge is stamped when its debouncing ends, and others come between."""
    driver = gate()
    first = read(driver).t_capture
    kernel.edge(4, True, first - 1000)
    assert read(driver).t_capture == first


def test_counts_stay_exact_in_float32(kernel, gate):
    driver = gate()
    kernel.edge(4, True, 1, lost=(1 << 24) + 4)
    assert read(driver).payload[0, 2] == 5


def test_settings_reach_the_kernel(kernel, gate):
    gate(lines=[{"line": 3, "edges": "falling", "bias": "pull_up", "debounce_us": 2000, "active_low": True}])
    settings = kernel.settings[3]
    assert settings.direction is Direction.INPUT and settings.edge_detection is Edge.FALLING and settings.active_low
    assert settings.bias is Bias.PULL_UP and settings.event_clock is Clock.MONOTONIC
    assert settings.debounce_period.total_seconds() == 0.002


@pytest.mark.parametrize("at_an_edge", [False, True])
def test_a_chip_that_is_unplugged_and_comes_back(kernel, gate, at_an_edge):
    driver = gate(rate_hz=1000)
    read(driver)
    kernel.edge(4, True, 1)
    read(driver)
    if at_an_edge:
        kernel.edge(4, False, 2)
    kernel.failing = errno.ENODEV
    with pytest.raises(DeviceMissing, match="is not there"):
        until(lambda: driver.read(0.02) and False)
    driver.close()
    driver.close()
    with pytest.raises(DeviceMissing, match="is not there"):
        driver.open()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.read(0.0)
    kernel.failing = 0
    kernel.events.clear()
    driver.open()
    assert driver.sequence == -1 and driver.counts == [0, 0] and driver.lost == 0


def test_a_bias_that_the_chip_has_not(kernel, gate):
    kernel.failing = errno.EOPNOTSUPP
    with pytest.raises(DeviceFault, match="does not support these settings of horn, 2"):
        gate()


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"lines": []}, "at least 1"),
        ({"lines": [{"line": 1}, {"line": 1, "name": "a"}]}, "the line 1 is given twice"),
        ({"lines": [{"line": 1, "name": "a"}, {"line": 2, "name": "a"}]}, "the name a is given twice"),
        ({"lines": [{"line": 1, "debounce_us": -1}]}, "greater than or equal"),
        ({"lines": [{"line": 1, "edges": "none"}]}, "both"),
        ({"rate_hz": 1}, "shorter than the pause"),
        ({"buffer": 5000}, "less than or equal to 1024"),
    ],
)
def test_invalid_options(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        gpio.Options.model_validate({"lines": LINES} | options)
    assert load("sensor.gpio") is gpio
