"""The connections of the Modbus drivers by themselves."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import pytest

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from drivers.base import DeviceMissing, DeviceTimeout
from drivers.links.modbus import wire
from drivers.links.modbus.registers import ModbusOptions
from drivers.links.modbus.wire import TcpLink


def test_bytes_that_a_device_does_not_accept_are_known_to_be_unsent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as ours:
        ours.connect(listening.getsockname())
        link = TcpLink("plc", 1, ours)
        assert link._unacknowledged() == 0
        ours.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                ours.send(bytes(100_000))
        assert link._unacknowledged() > 100_000
        with pytest.raises(DeviceTimeout, match="plc: accepts no bytes for"):
            link.write("coil", 0, (1,), time.monotonic() + 0.01)
        with pytest.raises(DeviceMissing, match="not connected"):
            link.write("coil", 0, (0,), time.monotonic() + 0.01)


def test_the_silence_between_frames() -> None:
    """MODBUS over Serial Line V1.02, 2.5.1.1: 3.5 characters, and 1.75 ms above 19200 baud."""
    assert wire.frame_gap_s(9600) == pytest.approx(0.00401, rel=1e-3)
    assert wire.frame_gap_s(19_200) == pytest.approx(0.002005, rel=1e-3)
    assert wire.frame_gap_s(115_200) == 0.00175


def test_a_device_that_does_not_answer_the_request_for_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for other in waiting:  # the kernel drops requests for connections beyond its queue
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        options = ModbusOptions(host="127.0.0.1", port=full.getsockname()[1])
        with pytest.raises(DeviceMissing, match=r"127\.0\.0\.1:\d+ unit 1: no connection within 50 ms"):
            wire.connect(options, 0.05)
        for other in waiting:
            other.close()
