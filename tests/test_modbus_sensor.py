"""The Modbus sensor against TCP peers that hang, hang up, refuse, lie or answer late."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

import pytest

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor import modbus
from tests.modbus_peers import TcpPeer, mbap
from tests.waiting import until

CHANNELS = {"level": {"address": 7}, "flow": {"address": 8, "scale": 0.5}, "full": {"address": 3, "table": "coil"}}
COIL, WORDS = bytes.fromhex("01 01 01"), bytes.fromhex("03 04 0005 0009")
GOOD = {"level": 5.0, "flow": 4.5, "full": 1.0}


def right(request: bytes) -> bytes:
    return mbap(request, COIL if request[7] == 1 else WORDS)


@pytest.fixture
def peer() -> Iterator[TcpPeer]:
    peer = TcpPeer(right)
    yield peer
    peer.stop()


@pytest.fixture
def tank(peer: TcpPeer) -> Iterator[modbus.Driver]:
    """Open."""
    driver = modbus.Driver(modbus.Options(host="127.0.0.1", port=peer.port, channels=CHANNELS, timeout_ms=2000), "tank")
    driver.open()
    yield driver
    driver.close()
    driver.close()


def test_a_reading_is_two_requests_that_are_sent_once(peer: TcpPeer, tank: modbus.Driver) -> None:
    assert tank.read() == GOOD
    assert peer.pdus() == [bytes.fromhex("01 0003 0001"), bytes.fromhex("03 0007 0002")]


@pytest.mark.parametrize(
    "pdu, error, complaint",
    [
        (b"", DeviceTimeout, "read coil 3: no answer for"),
        (b"\x81\x02", DeviceFault, "read coil 3: illegal data address"),
        (b"\x81", DeviceFault, "no answer to it"),
        (b"\x01\x02\x01\x00", DeviceFault, "1 requested, 16 in the answer"),
        (b"\x01\x00", DeviceFault, "1 requested, 0 in the answer"),
        (WORDS, DeviceFault, "the answer is of function 3, not 1"),
        (b"\x02\x01\x01", DeviceFault, "the answer is of function 2, not 1"),
        (b"\x7b\x01", DeviceFault, "no answer to it"),
    ],
)
def test_a_wrong_answer_ends_the_connection_and_the_next_one_works(
    peer: TcpPeer, tank: modbus.Driver, pdu: bytes, error: type[DeviceError], complaint: str
) -> None:
    peer.answer = lambda request: mbap(request, pdu) if pdu else b""
    tank.timeout_s = 0.7
    with pytest.raises(error, match=complaint):
        tank.read()
    assert len(peer.requests) == 1
    with pytest.raises(DeviceMissing, match="not open"):
        tank.read()
    peer.answer = right
    tank.timeout_s = 2.0
    tank.open()
    assert tank.read() == GOOD


def test_the_time_limit_is_that_of_all_requests_together(tank: modbus.Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = set()
    assert tank.link
    monkeypatch.setattr(tank.link, "read", lambda table, address, size, until: limits.add(until) or [1] * size)
    assert tank.read() == {"level": 1.0, "flow": 0.5, "full": 1.0}
    assert len(limits) == 1


def test_a_device_that_hangs_up_in_the_middle_of_a_reading(peer: TcpPeer, tank: modbus.Driver) -> None:
    peer.answer = lambda request: right(request) if request[7] == 1 else None
    with pytest.raises(DeviceMissing, match="closed the connection|gone"):
        tank.read()
    peer.stop()
    until(lambda: peer.closed == 1)
    with pytest.raises(DeviceMissing, match="refuses"):
        tank.open()


def test_a_late_answer_is_not_taken(peer: TcpPeer, tank: modbus.Driver) -> None:
    tank.read()
    peer.answer = lambda request: mbap(request, b"\x01\x01\x00", number=1) + right(request)
    assert tank.read() == GOOD


def test_nonsense_is_an_error_and_ends(peer: TcpPeer, tank: modbus.Driver) -> None:
    dice, tank.timeout_s = random.Random(2), 0.01
    for _ in range(100):
        tank.open()
        header = dice.choice([b"", b"\0\1\0\0", b"\0\1\0\0\0\6\1", b"\0\1\0\0\0\3\1\1"])
        peer.answer = partial(lambda noise, _: noise, header + dice.randbytes(dice.choice([1, 8, 40, 9000])))
        with pytest.raises(DeviceError):
            tank.read()
