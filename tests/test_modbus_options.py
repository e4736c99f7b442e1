"""The options of the Modbus drivers, and what they make of them: requests, values."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from pydantic import ValidationError

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from drivers.actuator import modbus as actuator
from drivers.sensor import modbus as sensor
from drivers.sensor.modbus import Block, Channel, blocks, decode

VERBS = {
    "run": {"registers": {10: -2, 11: 1500}, "coils": {3: True, 4: True}},
    "stop": {"coils": {3: False, 4: False}, "registers": {10: 0, 11: 0}},
}


def test_a_value_that_no_float32_holds_is_invalid() -> None:
    largest = Channel(address=0, type="float64", scale=10)
    words = struct.unpack(">4H", struct.pack(">d", 1.7e308))
    assert decode(largest, words) == math.inf


def test_blocks_never_split_a_value_and_read_over_gaps_only_when_allowed() -> None:
    wide = [Channel(address=address, type="float64") for address in range(0, 160, 4)]
    assert blocks(wide) == [Block("holding", 0, 124), Block("holding", 124, 36)]
    apart = [Channel(address=0), Channel(address=5), Channel(address=5, type="bit", bit=2), Channel(address=6)]
    assert blocks(apart) == [Block("holding", 0, 1), Block("holding", 5, 2)]
    assert blocks(apart, max_gap=4) == [Block("holding", 0, 7)]
    coils = [Channel(address=address, table="coil") for address in range(2001)]
    assert blocks(coils) == [Block("coil", 0, 2000), Block("coil", 2000, 1)]


def test_requests_of_a_verb_are_as_few_as_the_standard_allows() -> None:
    plan = actuator.plan(actuator.Writes(coils=dict.fromkeys(range(2000), True), registers={9: -1, 8: 1}))
    assert [(write.table, write.address, len(write.values)) for write in plan] == [
        ("coil", 0, 1968),
        ("coil", 1968, 32),
        ("holding", 8, 2),
    ]
    assert plan[2].values == (1, 0xFFFF)


GOOD = {"host": "10.0.0.5", "verbs": VERBS, "safe": "stop"}


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"safe": "halt"}, "'halt' is not among"),
        (
            {"safe": "part", "verbs": {**VERBS, "part": {"coils": {3: False, 4: False}}}},
            "does not name holding register 10",
        ),
        ({"safe": "none", "verbs": {"none": {}}}, "they write nothing"),
        ({"host": "plc.local"}, "write its IP address"),
        ({"host": ""}, "set either host"),
        ({"url": "/dev/ttyUSB0"}, "set either host"),
        ({"host": "", "url": "socket://10.0.0.5:502"}, "not a serial device"),
        ({"host": "", "url": "/dev/ttyUSB0", "unit": 0}, "0 is a broadcast"),
        ({"heartbeat": {"address": 10}}, "a verb writes holding register 10, too"),
        ({"verbs": {"stop": {"coils": {65_536: False}}}}, "less than or equal to 65535"),
        ({"verbs": {"stop": {"registers": {1: 65_536}}}}, "less than or equal to 65535"),
    ],
)
def test_invalid_actuators_are_refused(options: dict[str, Any], complaint: str) -> None:
    assert actuator.Options(**GOOD).exclusive_device() == ""
    with pytest.raises(ValidationError, match=complaint):
        actuator.Options(**{**GOOD, **options})


@pytest.mark.parametrize(
    "channel, complaint",
    [
        ({"address": 65_535, "type": "float32"}, "ends beyond 65535"),
        ({"address": 1, "table": "coil", "type": "int16"}, "a coil is one bit"),
        ({"address": 1, "bit": 4}, "only with type: bit"),
        ({"address": 1, "scale": math.nan}, "finite number"),
    ],
)
def test_invalid_channels_are_refused(channel: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        sensor.Options(url="/dev/ttyUSB0", channels={"a": channel})


def test_only_a_serial_line_is_for_one_driver_alone() -> None:
    serial = actuator.Options(**{**GOOD, "host": "", "url": "/dev/ttyUSB0"})
    assert serial.exclusive_device() == "/dev/ttyUSB0"
    assert actuator.Options(**GOOD).exclusive_device() == ""


@pytest.mark.parametrize("place, factor", [({}, 1), ({"host": "", "url": "/dev/ttyUSB0"}, 3)])
def test_the_deadline_is_the_sum_of_the_time_limits(place: dict[str, str], factor: int) -> None:
    beat = {"heartbeat": {"address": 99}}
    for options, beats in (({}, 0), (beat, 1)):
        driver = actuator.Driver(actuator.Options(**{**GOOD, **place, **options, "timeout_ms": 80}))
        assert driver.deadline_ms == 50 + 80 * (factor + beats)
