"""The Modbus actuator against TCP peers that are absent, refuse, hang, hang up, lie or answer late."""

from __future__ import annotations

import random
import select
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from drivers.actuator import modbus
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout
from drivers.links.modbus.registers import EXCEPTIONS
from drivers.links.modbus.wire import TcpLink
from tests.modbus_peers import TcpPeer, confirm, good, mbap
from tests.waiting import DEADLINE_S, until

VERBS = {"on": {"coils": {0: True, 1: True}}, "off": {"coils": {0: False, 1: False}}}
ON, OFF = bytes.fromhex("0f 0000 0002 01 03"), bytes.fromhex("0f 0000 0002 01 00")
Make = Callable[..., modbus.Driver]


def silent(request: bytes) -> bytes:
    return b""


@pytest.fixture
def peer() -> Iterator[TcpPeer]:
    peer = TcpPeer()
    yield peer
    peer.stop()


@pytest.fixture
def lamp(peer: TcpPeer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    # a busy kernel may confirm what it has received some 40 ms later
    monkeypatch.setattr(TcpLink, "_unacknowledged", lambda link: 0)
    made = []

    def make(opened: bool = True, **options: Any) -> modbus.Driver:
        settings = {
            "host": "127.0.0.1",
            "port": peer.port,
            "verbs": VERBS,
            "safe": "off",
            "timeout_ms": 2000,
            **options,
        }
        driver = modbus.Driver(modbus.Options(**settings), "lamp")
        made.append(driver)
        if opened:
            driver.open()
        return driver

    yield make
    for driver in made:
        driver.close()


def test_absent(peer: TcpPeer, lamp: Make) -> None:
    peer.stop()
    driver = lamp(opened=False)
    with pytest.raises(DeviceMissing, match=rf"127.0.0.1:{peer.port} unit 1: refuses the connection"):
        driver.open()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()


def test_a_device_that_hangs_gets_the_next_command_after_the_first_in_the_same_connection(
    peer: TcpPeer, lamp: Make
) -> None:
    driver = lamp()
    driver.timeout_s = 0.03
    peer.answer = silent
    with pytest.raises(DeviceTimeout, match="write coils 0-1: no answer for"):
        driver.apply("on", {})
    assert not driver.known
    with pytest.raises(DeviceTimeout):
        driver.safe()
    until(lambda: peer.pdus() == [ON, OFF])
    assert peer.connections == 1
    driver.close()
    until(lambda: peer.resets == 1, "a reset of the connection, which drops what is not sent")
    peer.answer = good
    driver.timeout_s = 2.0
    driver.open()
    driver.safe()
    driver.apply("on", {})
    assert peer.pdus()[2:] == [OFF, ON] and driver.known


def test_a_request_that_the_network_has_not_delivered_is_dropped_with_its_connection(
    peer: TcpPeer, lamp: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = lamp(timeout_ms=30)
    peer.answer = silent
    monkeypatch.setattr(TcpLink, "_unacknowledged", lambda link: 12)
    with pytest.raises(DeviceTimeout):
        driver.apply("on", {})
    until(lambda: peer.resets == 1)
    with pytest.raises(DeviceMissing, match="not connected"):
        driver.safe()


def test_the_death_of_the_process_resets_the_connection(lamp: Make) -> None:
    link = lamp().link
    assert link and link.socket
    assert link.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)


def test_a_healthy_connection_is_closed_without_a_reset(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp()
    driver.safe()
    driver.close()
    until(lambda: peer.closed == 1)
    assert peer.resets == 0


def test_a_device_that_hangs_up_during_a_call_and_one_that_did_before(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp()
    peer.answer = lambda request: None
    with pytest.raises(DeviceMissing, match="closed the connection|gone"):
        driver.apply("on", {})
    with pytest.raises(DeviceMissing, match="not connected"):  # it does not connect in a command
        driver.safe()
    assert peer.connections == 1
    peer.answer = good
    driver.open()
    driver.safe()
    assert peer.pdus() == [ON, OFF]


def test_half_an_answer_and_then_silence(peer: TcpPeer, lamp: Make, caplog: pytest.LogCaptureFixture) -> None:
    driver = lamp(timeout_ms=700)
    peer.answer = lambda request: good(request)[:9]
    with pytest.raises(DeviceFault, match="what came is no answer to it: 00 01"):
        driver.apply("on", {})
    with pytest.raises(DeviceMissing, match="not connected"):  # its other half would come in front of the next answer
        driver.safe()
    assert not caplog.records  # the library's own


def test_a_late_answer_is_never_that_to_a_newer_request(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp(timeout_ms=50)
    peer.answer = silent
    with pytest.raises(DeviceTimeout):
        driver.apply("on", {})
    until(lambda: len(peer.requests) == 1)
    peer.answer = lambda request: mbap(request, confirm(request[7:]), number=1)
    driver.timeout_s = 0.7
    with pytest.raises(DeviceFault, match="no answer to it"):
        driver.safe()
    assert not driver.known
    assert peer.requests[1][:2] == b"\0\2"


def test_an_answer_is_found_behind_a_late_one(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp(timeout_ms=50)
    peer.answer = silent
    with pytest.raises(DeviceTimeout):
        driver.apply("on", {})
    driver.timeout_s = 2.0
    peer.answer = lambda request: mbap(request, b"\x8f\x04", number=1) + good(request)
    driver.safe()
    assert driver.known


def test_bytes_from_before_the_request_are_no_answer(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp()
    driver.apply("on", {})
    peer.answer = silent
    peer.newest.sendall(mbap(peer.requests[0], confirm(OFF), number=2))
    assert driver.link and select.select([driver.link.fd], [], [], DEADLINE_S)[0]
    driver.timeout_s = 0.05
    with pytest.raises(DeviceTimeout):
        driver.safe()


@pytest.mark.parametrize("code, words", [*EXCEPTIONS.items(), (99, "an exception that the standard does not name")])
def test_exceptions_have_names_and_the_connection_stays(peer: TcpPeer, lamp: Make, code: int, words: str) -> None:
    driver = lamp()
    peer.answer = lambda request: mbap(request, bytes([0x8F, code]))
    with pytest.raises(DeviceFault) as caught:
        driver.apply("on", {})
    assert str(caught.value).endswith(f"unit 1: write coils 0-1: {words} ({code})")
    peer.answer = good
    driver.safe()
    assert peer.connections == 1


def test_every_byte_of_an_answer_counts(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp(timeout_ms=15)
    for at in range(12):
        for bit in (1, 0x10, 0x80):

            def wrong(request: bytes, at: int = at, bit: int = bit) -> bytes:
                answer = bytearray(good(request))
                answer[at] ^= bit
                return bytes(answer)

            peer.answer = wrong
            driver.open()
            with pytest.raises(DeviceError):
                driver.apply("on", {})
            assert not driver.known


def test_nonsense_is_a_fault_and_ends(peer: TcpPeer, lamp: Make) -> None:
    driver, dice = lamp(timeout_ms=10), random.Random(1)
    for _ in range(100):
        driver.open()
        header = dice.choice([b"", b"\0\1\0\0", b"\0\1\0\0\0\6\1", b"\0\1\0\0\0\3\1\x0f"])
        noise = header + dice.randbytes(dice.choice([1, 8, 40, 9000]))
        peer.answer = partial(lambda noise, request: noise, noise)
        with pytest.raises(DeviceError):
            driver.apply("on", {})


def test_a_safe_state_that_is_refused_in_part_is_written_in_all_its_parts(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp(verbs={"off": {"coils": {0: False}, "registers": {7: 0}}})
    peer.answer = lambda request: mbap(request, b"\x85\x06") if request[7] == 5 else good(request)
    with pytest.raises(DeviceFault, match="write coil 0: device busy"):
        driver.safe()
    assert [pdu[0] for pdu in peer.pdus()] == [5, 6]


def test_a_command_that_is_refused_in_part_stops_there(peer: TcpPeer, lamp: Make) -> None:
    driver = lamp(
        verbs={"run": {"coils": {0: True}, "registers": {7: 9}}, "off": {"coils": {0: 0}, "registers": {7: 0}}}
    )
    peer.answer = lambda request: mbap(request, b"\x85\x06")
    with pytest.raises(DeviceFault, match="write coil 0: device busy"):
        driver.apply("run", {})
    assert [pdu[0] for pdu in peer.pdus()] == [5]
