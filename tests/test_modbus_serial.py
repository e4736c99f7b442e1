"""Modbus RTU over a pseudo terminal: late answers, which have no number there, noise, an unplugged device."""

from __future__ import annotations

import random
import select
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from drivers.actuator import modbus
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.modbus import wire
from drivers.sensor import modbus as sensor
from tests.modbus_peers import SerialPeer, confirm, rtu
from tests.waiting import DEADLINE_S, until

SHORT_S = 0.05  # to wait for what does not come; an answer of this process may need longer on a busy machine
VERBS = {"on": {"coils": {0: True, 1: True}}, "off": {"coils": {0: False, 1: False}}}
ON, OFF = rtu(1, bytes.fromhex("0f 0000 0002 01 03")), rtu(1, bytes.fromhex("0f 0000 0002 01 00"))


def good(request: bytes) -> bytes:
    return rtu(1, confirm(request[1:]))


def silent(request: bytes) -> bytes:
    return b""


@pytest.fixture
def peer() -> Iterator[SerialPeer]:
    peer = SerialPeer(good)
    yield peer
    peer.stop()


@pytest.fixture
def lamp(peer: SerialPeer) -> Iterator[modbus.Driver]:
    """Open and safe."""
    driver = actuator(peer)
    driver.late_answers = False  # this device was not asked before
    driver.open()
    driver.safe()
    peer.requests.clear()
    yield driver
    driver.close()


def actuator(peer: SerialPeer, **options: Any) -> modbus.Driver:
    settings = {"url": peer.url, "baud": 115_200, "parity": "none", "verbs": VERBS, "safe": "off", **options}
    return modbus.Driver(modbus.Options(**{"timeout_ms": 2000, **settings}), "lamp")


def test_the_first_command_is_sent_at_once_and_again_when_no_late_answer_can_come(peer: SerialPeer) -> None:
    """Another process may have asked the device before."""
    driver = actuator(peer, timeout_ms=500)
    driver.open()
    driver.safe()
    driver.apply("on", {})
    assert peer.requests == [OFF, OFF, ON]
    driver.close()


def test_a_late_answer_is_never_that_to_a_newer_request(peer: SerialPeer, lamp: modbus.Driver) -> None:
    peer.answer = silent
    lamp.timeout_s = SHORT_S
    with pytest.raises(DeviceTimeout, match="no answer for"):
        lamp.apply("on", {})
    lamp.timeout_s = 1.0
    answers = [good(ON), b""]  # of the same bytes as the answer to `off`, which this device never gives
    peer.answer = lambda request: answers.pop(0)
    with pytest.raises(DeviceTimeout):
        lamp.safe()
    assert peer.requests == [ON, OFF, OFF] and not lamp.known


def test_late_answers_are_read_before_the_one_that_counts(peer: SerialPeer, lamp: modbus.Driver) -> None:
    peer.answer = silent
    lamp.timeout_s = SHORT_S
    with pytest.raises(DeviceTimeout):
        lamp.apply("on", {})
    other = rtu(1, bytes.fromhex("8f 04"))
    answers = [other + good(OFF), good(OFF)]
    peer.answer = lambda request: answers.pop(0)
    lamp.timeout_s = 1.0
    lamp.safe()
    assert lamp.known and peer.requests == [ON, OFF, OFF]
    peer.answer = good
    lamp.apply("on", {})
    assert peer.requests[3:] == [ON]


def test_the_same_after_the_port_was_opened_again(peer: SerialPeer, lamp: modbus.Driver) -> None:
    peer.answer = silent
    lamp.timeout_s = SHORT_S
    with pytest.raises(DeviceTimeout):
        lamp.apply("on", {})
    lamp.timeout_s = 1.0
    lamp.open()
    answers = [good(ON), b""]
    peer.answer = lambda request: answers.pop(0)
    with pytest.raises(DeviceTimeout):
        lamp.safe()


@pytest.mark.parametrize("at", range(8))
def test_every_byte_of_an_answer_counts(peer: SerialPeer, lamp: modbus.Driver, at: int) -> None:
    def wrong(request: bytes) -> bytes:
        answer = bytearray(good(request))
        answer[at] ^= 0x04
        return bytes(answer)

    peer.answer = wrong
    lamp.timeout_s = SHORT_S
    with pytest.raises(DeviceError):
        lamp.apply("on", {})


def test_noise_around_an_answer(peer: SerialPeer, lamp: modbus.Driver) -> None:
    peer.answer = lambda request: bytes(3) + good(request)
    lamp.apply("on", {})
    peer.answer = lambda request: bytes(5000)
    lamp.timeout_s = 1.0
    with pytest.raises(DeviceFault, match="no answer to it: 00 00"):
        lamp.apply("on", {})


def test_nonsense_is_a_fault_and_ends(peer: SerialPeer, lamp: modbus.Driver) -> None:
    dice, lamp.timeout_s = random.Random(1), 0.01
    for _ in range(60):
        noise = dice.choice([b"", b"\x01\x0f", b"\x01\x8f", b"\x01\x03\xfa"]) + dice.randbytes(dice.choice([1, 6, 300]))
        peer.answer = partial(lambda noise, request: noise, noise)
        with pytest.raises(DeviceError):
            lamp.apply("on", {})
        assert not lamp.known


def test_an_exception_has_its_name(peer: SerialPeer, lamp: modbus.Driver) -> None:
    peer.answer = lambda request: rtu(1, b"\x8f\x02")
    with pytest.raises(DeviceFault, match=f"{peer.url} unit 1: write coils 0-1: illegal data address"):
        lamp.apply("on", {})


def test_the_line_is_locked_unplugged_and_not_there() -> None:
    peer = SerialPeer(good)
    driver, second = actuator(peer), actuator(peer)
    driver.open()
    with pytest.raises(DeviceMissing, match="busy"):
        second.open()
    peer.stop()
    with pytest.raises(DeviceMissing, match="gone|unplugged"):
        driver.safe()
    with pytest.raises(DeviceMissing, match="not connected"):
        driver.safe()
    driver.close()
    with pytest.raises(DeviceMissing, match="plugged in"):
        driver.open()


def test_a_sensor_never_takes_a_late_answer_for_a_new_one(peer: SerialPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    options = sensor.Options(
        url=peer.url, baud=115_200, parity="none", channels={"level": {"address": 7}}, timeout_ms=50
    )
    driver = sensor.Driver(options)
    driver.open()
    peer.answer = silent
    with pytest.raises(DeviceTimeout, match="read holding register 7"):
        driver.read()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.read()
    late, new = rtu(1, bytes.fromhex("03 02 0001")), rtu(1, bytes.fromhex("03 02 0002"))

    def connect(*arguments: Any) -> wire.Link:
        link = wire.connect(*arguments)
        peer.requests.clear()
        peer.send(late)
        assert select.select([link.fd], [], [], DEADLINE_S)[0]
        return link

    monkeypatch.setattr(sensor, "connect", connect)
    driver.open()
    driver.timeout_s = 2.0
    peer.answer = lambda request: new
    assert driver.read() == {"level": 2.0}
    driver.close()


def test_unsent_bytes_are_dropped(peer: SerialPeer, lamp: modbus.Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(wire.termios, "tcflush", lambda fd, queue: flushed.append(queue))
    peer.answer = silent
    lamp.timeout_s = SHORT_S
    with pytest.raises(DeviceTimeout):
        lamp.apply("on", {})
    until(lambda: peer.requests == [ON])
    assert flushed == [wire.termios.TCIFLUSH, wire.termios.TCOFLUSH]
