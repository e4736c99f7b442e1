"""actuator.gpio with a scripted chip: levels, pulses, faults; test_gpio_kernel.py has chips of the kernel."""

import errno
import threading

import gpiod
import pytest
from pydantic import ValidationError

from drivers.actuator import gpio
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout, load
from tests.gpio_fixtures import Kernel
from tests.waiting import until

LINES = {"on": {"horn": True, 2: False}, "off": {"horn": False, 2: True}}


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(gpiod, "Chip", kernel.chip)
    yield kernel
    kernel.close()


@pytest.fixture
def horn(kernel, open_driver):
    def make(**options):
        driver = gpio.Driver(gpio.Options(**{"lines": LINES, "safe": "off"} | options), "horn")
        return open_driver(driver)

    return make


def test_levels_by_name_and_by_offset(kernel, horn):
    driver = horn()
    driver.apply("on", {})
    driver.safe()
    driver.safe()
    safe, on = {4: False, 2: True}, {4: True, 2: False}
    assert kernel.history == [safe, on, safe, safe]


def test_the_request_itself_has_the_safe_level(kernel, horn):
    """No moment of another level, also where another process makes it safe."""
    horn(active_low=["horn"])
    assert kernel.history == [{4: True, 2: True}]


def test_active_low(kernel, horn):
    driver = horn(active_low=["horn", 2])
    driver.apply("on", {})
    assert kernel.levels == {4: False, 2: True}


def test_a_line_that_a_verb_does_not_name_keeps_its_level(kernel, horn):
    driver = horn(lines={**LINES, "also": {2: True}})
    driver.apply("on", {})
    driver.apply("also", {})
    assert kernel.levels == {4: True, 2: True}


def test_digits_are_an_offset(kernel, horn):
    """The keys of a mapping are texts in the configuration that the standby gets, which is JSON."""
    horn(lines={"off": {"2": True}}, active_low=["2"])
    assert kernel.history == [{2: False}]


def test_a_pulse_ends_by_itself(kernel, horn):
    driver = horn(pulse_ms={"on": 5})
    driver.apply("on", {})
    until(lambda: driver.pulse is None)
    assert kernel.history == [{4: False, 2: True}, {4: True, 2: False}, {4: False, 2: True}]


def test_a_pulse_is_ended_by_the_next_command(kernel, horn):
    driver = horn(pulse_ms={"on": 60_000}, lines={**LINES, "hold": LINES["on"]})
    driver.apply("on", {})
    pulse = driver.pulse
    driver.apply("hold", {})
    until(lambda: not pulse.is_alive())
    driver._end_pulse(pulse, "on", {4: False})  # it was already waiting
    assert kernel.levels == {4: True, 2: False}
    driver.apply("on", {})
    pulse = driver.pulse
    driver.close()
    until(lambda: not pulse.is_alive())


def test_a_pulse_that_cannot_be_ended_is_an_error_that_the_host_asks_for(kernel, horn):
    driver = horn(pulse_ms={"on": 20})
    driver.apply("on", {})
    kernel.failing = errno.EIO
    until(lambda: driver.lost)
    kernel.failing = 0
    assert "the end of 'on': " in str(driver.lost)
    with pytest.raises(DeviceFault, match="Input/output error"):
        driver.apply("on", {})
    driver.safe()
    driver.apply("on", {})


def test_a_box_without_room_for_a_thread_starts_no_pulse(kernel, horn, monkeypatch):
    driver = horn(pulse_ms={"on": 60_000})

    def full(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(DeviceFault, match="could not be ended"):
        driver.apply("on", {})
    assert kernel.levels == {4: False, 2: True}


def test_a_short_circuit(kernel, horn):
    driver = horn(read_back=True)
    driver.apply("on", {})
    kernel.stuck = {4}
    with pytest.raises(DeviceFault, match="line 4 does not follow 'off'"):
        driver.safe()


@pytest.mark.parametrize(
    "code, expected, text",
    [
        (errno.ENODEV, DeviceMissing, "is not there"),
        (errno.EACCES, DeviceMissing, "group gpio"),
        (errno.EBUSY, DeviceMissing, "busy"),
        (errno.ENOTTY, DeviceFault, "not a GPIO chip"),
        (errno.EINVAL, DeviceFault, "does not support"),
        (errno.EIO, DeviceFault, "Input/output error"),
    ],
)
def test_what_the_kernel_says(kernel, horn, code, expected, text):
    driver = horn()
    kernel.failing = code
    for call in (lambda: driver.apply("on", {}), driver.safe, driver.open):
        with pytest.raises(expected, match=text):
            call()
    kernel.failing = 0
    driver.open()
    driver.apply("on", {})
    assert kernel.levels == {4: True, 2: False}


def test_lines_that_are_not_there_or_taken(kernel, horn):
    for lines, text in (({9: False}, "no line 9, only 8"), ({"siren": False}, "no line named 'siren'")):
        with pytest.raises(DeviceFault, match=text):
            horn(lines={"off": lines})
    with pytest.raises(DeviceFault, match="given twice"):
        horn(lines={"off": {"horn": False, 4: False}})
    driver = horn()
    with pytest.raises(DeviceMissing, match=r"busy, another program \(reflexd\) has one of horn, 2"):
        horn()
    driver.close()
    driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()
    with pytest.raises(DeviceFault, match="no verb 'fly'"):
        driver.apply("fly", {})


def test_the_end_of_a_pulse_that_hangs_holds_no_command(kernel, horn):
    driver = horn()
    with driver.lock:
        with pytest.raises(DeviceTimeout, match="hangs"):
            driver.safe()
        driver.close()
    driver.safe()


@pytest.mark.parametrize("path", ["/dev/nosuchchip", "/dev/null"])
def test_a_chip_that_is_none(path):
    """The library itself and the kernel."""
    driver = gpio.Driver(gpio.Options(chip=path, lines=LINES, safe="off"))
    with pytest.raises(DeviceMissing, match="is not there"):
        driver.open()
    driver.close()


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"safe": "halt"}, "'halt' is not among"),
        ({"safe": "on", "lines": {"on": {1: True}, "off": {2: True}}}, "does not name line 2"),
        ({"lines": {"off": {}}}, "at least 1"),
        ({"lines": {"off": {-1: True}}}, "greater than or equal"),
        ({"lines": {"off": {"x" * 32: True}}}, "at most 31"),
        ({"active_low": [7]}, "no verb names line 7"),
        ({"pulse_ms": {"off": 5}}, "not the safe one"),
        ({"pulse_ms": {"fly": 5}}, "names verbs"),
        ({"pulse_ms": {"on": 0}}, "greater than or equal to 1"),
        ({"chip": "gpiochip0"}, "pattern"),
        ({"line": 1}, "not permitted"),
    ],
)
def test_invalid_options(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        gpio.Options(**{"lines": LINES, "safe": "off"} | options)


def test_parts_of_a_chip():
    options = gpio.Options(lines=LINES, safe="off")
    other = gpio.Options(lines={"off": {"horn": False}}, safe="off")
    assert options.exclusive_device() == "/dev/gpiochip0" and 2 in options.exclusive_parts()
    assert options.exclusive_parts() & other.exclusive_parts()
    assert load("actuator.gpio") is gpio
