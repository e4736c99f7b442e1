"""The Modbus drivers against pymodbus' own server, over TCP and over RTU; their options; how values are decoded."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from pymodbus.client import ModbusTcpClient

from agent.benches.io import modbus as counterpart
from agent.cli import cli
from drivers.actuator import modbus as actuator
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout, Polled, load, open_source
from drivers.sensor import modbus as sensor
from drivers.sensor.modbus import Block
from tests.shared import ROOT

Device = Callable[..., dict[str, Any]]
Make = Callable[..., actuator.Driver]
VERBS = {
    "run": {"registers": {10: -2, 11: 1500, 20: 7}, "coils": {3: True, 4: True}, "first": "registers"},
    "stop": {"coils": {3: False, 4: False}, "registers": {10: 0, 11: 0, 20: 0}},
}


@pytest.fixture(scope="module")
def plc() -> Iterator[counterpart.Counterpart]:
    with counterpart.counterpart() as running:
        yield running


@pytest.fixture(params=["tcp", "rtu"])
def device(request: pytest.FixtureRequest, plc: counterpart.Counterpart) -> Device:
    return {"tcp": plc.tcp, "rtu": plc.rtu}[request.param]


@pytest.fixture
def inspector(plc: counterpart.Counterpart) -> Iterator[ModbusTcpClient]:
    """Another client of the same PLC."""
    with ModbusTcpClient("127.0.0.1", port=plc.port) as client:
        yield client


@pytest.fixture
def make(device: Device) -> Iterator[Make]:
    made = []

    def make_driver(**options: Any) -> actuator.Driver:
        settings = {"verbs": VERBS, "safe": "stop", "timeout_ms": 5000, **options}
        driver = actuator.Driver(actuator.Options(**device(**settings)), "belt")
        driver.late_answers = False  # nobody has asked this device before: test_modbus_serial has the others
        made.append(driver)
        return driver

    yield make_driver
    for driver in made:
        driver.close()


def state(inspector: ModbusTcpClient) -> tuple[list[bool], list[int], int]:
    coils = inspector.read_coils(3, count=2).bits[:2]
    words = inspector.read_holding_registers(10, count=11).registers
    return list(coils), list(words[:2]), words[10]


@pytest.mark.parametrize("options", [{}, {"read_back": True}, {"single_writes": False}])
def test_verbs_write_coils_and_registers(make: Make, inspector: ModbusTcpClient, options: dict[str, bool]) -> None:
    driver = make(**options)
    assert driver.verbs == ("run", "stop")
    for _ in range(2):
        driver.open()
        driver.safe()
        assert state(inspector) == ([False, False], [0, 0], 0)
        driver.apply("run", {"speed": 1})
        assert state(inspector) == ([True, True], [0xFFFE, 1500], 7)
        driver.safe()
        driver.safe()
        assert state(inspector) == ([False, False], [0, 0], 0)
        driver.close()
        driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()


def test_a_verb_that_is_none_and_an_address_that_is_not_there(make: Make) -> None:
    driver = make(verbs={"stop": {"coils": {5000: False}}})
    driver.open()
    with pytest.raises(DeviceFault, match="no verb 'fly', only stop"):
        driver.apply("fly", {})
    with pytest.raises(DeviceFault, match=r"unit 1: write coil 5000: illegal data address: .* \(2\)"):
        driver.safe()
    driver.close()


def test_another_unit_does_not_answer_or_the_gateway_says_so(plc: counterpart.Counterpart) -> None:
    driver = actuator.Driver(actuator.Options(**{**plc.tcp(), "unit": 9, "verbs": VERBS, "safe": "stop"}))
    driver.open()
    with pytest.raises((DeviceFault, DeviceTimeout), match="unit 9"):
        driver.safe()
    driver.close()


def test_read_back_finds_what_another_has_written(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = make(read_back=True)
    driver.open()
    driver.safe()
    assert driver.link
    write = driver.link.write

    def other_first(table: Any, address: int, values: tuple[int, ...], *rest: Any) -> None:
        write(table, address, (0,) * len(values), *rest)

    monkeypatch.setattr(driver.link, "write", other_first)
    with pytest.raises(DeviceFault, match="holding register 10 is 0, not 65534 as written"):
        driver.apply("run", {})
    assert not driver.known
    driver.close()


def test_it_is_back_after_the_device_was_away() -> None:
    with counterpart.counterpart() as running:
        driver = actuator.Driver(actuator.Options(**running.tcp(verbs=VERBS, safe="stop", timeout_ms=5000)))
        driver.open()
        driver.safe()
        driver.apply("run", {})
    with pytest.raises(DeviceMissing, match="closed the connection|gone"):
        driver.apply("stop", {})
    with pytest.raises(DeviceMissing, match="refuses"):
        driver.open()
    with counterpart.counterpart(running.port) as running:
        driver.open()
        driver.safe()
        driver.apply("run", {})
        with ModbusTcpClient("127.0.0.1", port=running.port) as inspector:
            assert state(inspector)[0] == [True, True]
        driver.close()


def test_a_sensor_reads_all_tables_and_types(device: Device, inspector: ModbusTcpClient) -> None:
    words = struct.unpack(">9H", struct.pack(">fiqh", 21.5, -100_000, -(2**40), -5))
    inspector.write_registers(100, list(words))
    inspector.write_registers(120, [*struct.unpack(">2H", struct.pack(">f", -0.25))[::-1], 0b1000])
    inspector.write_coil(50, True)
    channels = {
        "temperature_c": {"address": 100, "type": "float32"},
        "position_mm": {"address": 102, "type": "int32", "scale": 0.01, "offset": 5},
        "energy_wh": {"address": 104, "type": "int64"},
        "offset": {"address": 108, "type": "int16"},
        "swapped": {"address": 120, "type": "float32", "words": "low_first"},
        "alarm": {"address": 122, "type": "bit", "bit": 3},
        "ready": {"address": 122, "type": "bit"},
        "input": {"address": 400, "table": "input"},
        "coil": {"address": 50, "table": "coil"},
        "third": {"address": 33, "table": "discrete"},
    }
    driver = sensor.Driver(sensor.Options(**device(channels=channels, timeout_ms=100)))
    driver.open()
    driver.timeout_s = 5.0
    expected = [21.5, -995.0, -(2.0**40), -5.0, -0.25, 1.0, 0.0, 400.0, 1.0, 1.0]
    assert driver.read() == pytest.approx(dict(zip(channels, expected)))
    driver.close()


def test_a_lane_reads_it_at_its_rate(plc: counterpart.Counterpart) -> None:
    options = plc.tcp(channels={"a": {"address": 7, "table": "input"}}, rate_hz=500.0, timeout_ms=5000)
    source = open_source("sensor.modbus", options, "tank")
    source.open()
    assert isinstance(source, Polled) and source.channels == ("a",)
    sample = source.read(1.0)
    assert sample and sample.payload.tolist() == [[7.0]]
    source.close()


def test_hundreds_of_registers_take_few_requests(plc: counterpart.Counterpart) -> None:
    channels = {str(address): {"address": address, "table": "input"} for address in range(300)}
    driver = sensor.Driver(sensor.Options(**plc.tcp(channels=channels, timeout_ms=5000)))
    assert driver.blocks == [Block("input", 0, 125), Block("input", 125, 125), Block("input", 250, 50)]
    driver.open()
    assert driver.read() == {str(address): float(address) for address in range(300)}
    driver.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_fault_or_nan(
    plc: counterpart.Counterpart, inspector: ModbusTcpClient, value: float
) -> None:
    inspector.write_registers(200, list(struct.unpack(">2H", struct.pack(">f", value))))
    channels = {"a": {"address": 200, "type": "float32"}}
    strict, tolerant = (
        sensor.Driver(sensor.Options(**plc.tcp(channels=channels, timeout_ms=5000, invalid=i)))
        for i in ("fault", "nan")
    )
    strict.open()
    with pytest.raises(DeviceFault, match=rf"a \(holding registers 200-201\) is {value:g}"):
        strict.read()
    strict.close()
    tolerant.open()
    assert math.isnan(tolerant.read()["a"])
    tolerant.close()


def test_they_are_loaded_by_name() -> None:
    assert load("actuator.modbus") is actuator and load("sensor.modbus") is sensor
    assert counterpart.reason() == ""


def test_the_examples_in_the_readme_are_valid(tmp_path: Path) -> None:
    section = (ROOT / "drivers" / "INDUSTRIAL.md").read_text(encoding="utf-8").split("## Modbus\n")[1].split("\n## ")[0]
    whole, source = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "press.yaml").write_text(whole)
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "press.yaml")], catch_exceptions=False)
    assert "good: 1 lane, 1 actuator, 1 rule" in result.stdout
    options = YAML(typ="safe").load(source)
    driver = load(options.pop("driver"))
    assert driver.Driver(driver.Options(**options)).blocks == [Block("holding", 100, 2), Block("input", 8, 1)]
