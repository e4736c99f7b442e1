"""The heartbeat of the Modbus actuator: it counts only while the outputs are known, and ends with the host."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymodbus", reason="pip install 'reflexd[modbus]'")

from pymodbus.client import ModbusTcpClient

from agent.benches.io.modbus import counterpart
from drivers.actuator import modbus
from drivers.actuator._heartbeat import Heartbeat
from drivers.base import DeviceFault, DeviceMissing
from tests.modbus_peers import TcpPeer, good, mbap
from tests.processes import Process
from tests.waiting import until

BEAT = 99
COMMANDS = {"verbs": {"on": {"coils": {0: True}}, "off": {"coils": {0: False}}}, "safe": "off"}


def settings(interval_ms: float = 60_000, **options: Any) -> dict[str, Any]:
    beat = {"address": BEAT, "interval_ms": interval_ms}
    return {"host": "127.0.0.1", **COMMANDS, "heartbeat": beat, "timeout_ms": 2000, **options}


@pytest.fixture
def peer() -> Iterator[TcpPeer]:
    peer = TcpPeer()
    yield peer
    peer.stop()


@pytest.fixture
def lamp(peer: TcpPeer) -> Iterator[modbus.Driver]:
    """Open; its beats are the test's."""
    driver = modbus.Driver(modbus.Options(**settings(port=peer.port)), "lamp")
    driver.open()
    yield driver
    driver.close()


def beats(peer: TcpPeer) -> list[int]:
    return [int.from_bytes(pdu[3:], "big") for pdu in peer.pdus() if pdu[0] == 6]


def test_it_counts_while_the_outputs_are_known(peer: TcpPeer, lamp: modbus.Driver) -> None:
    lamp._beat()
    assert beats(peer) == []  # what the outputs are is not known yet
    lamp.safe()
    lamp._beat()
    lamp.apply("on", {})
    lamp._beat()
    assert beats(peer) == [1, 2]
    lamp.count = 65_535
    lamp._beat()
    assert beats(peer) == [1, 2, 1]
    lamp.close()
    lamp._beat()
    lamp.open()
    lamp._beat()
    assert len(beats(peer)) == 3


def test_it_stops_when_a_command_has_failed_until_one_is_done(peer: TcpPeer, lamp: modbus.Driver) -> None:
    lamp.safe()
    peer.answer = lambda request: mbap(request, b"\x85\x04")
    with pytest.raises(DeviceFault, match="device failure"):
        lamp.apply("on", {})
    lamp._beat()
    assert beats(peer) == []
    peer.answer = good
    lamp.safe()
    lamp._beat()
    assert beats(peer) == [1]


def test_a_beat_that_fails_is_an_error_that_the_host_asks_for_and_the_next_command_fails(
    peer: TcpPeer, lamp: modbus.Driver
) -> None:
    """So the host makes all outputs safe: the device may have restarted meanwhile."""
    lamp.safe()
    peer.answer = lambda request: mbap(request, b"\x86\x04")
    for _ in range(3):
        lamp._beat()
    assert f"heartbeat not accepted: 127.0.0.1:{peer.port} unit 1: write" in str(lamp.lost)
    with pytest.raises(DeviceMissing, match="heartbeat not accepted: .* holding register 99: device failure"):
        lamp.apply("on", {})
    peer.answer = good
    lamp.safe()
    lamp.open()
    assert lamp.lost is None
    lamp.safe()
    lamp.apply("on", {})
    assert len(beats(peer)) == 1


def test_it_ends_with_the_thread_that_opened_the_device() -> None:
    made: list[Heartbeat] = []

    def make() -> None:
        made.append(Heartbeat(lambda: None, 0.001))
        made[0].start()

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    made[0].join()


def test_commands_and_beats_do_not_mix() -> None:
    with counterpart() as plc, ModbusTcpClient("127.0.0.1", port=plc.port) as inspector:
        driver = modbus.Driver(modbus.Options(**settings(10, port=plc.port, read_back=True)), "lamp")
        driver.open()
        driver.safe()
        while driver.count < 5:
            for verb in ("on", "off"):
                driver.apply(verb, {})
        until(lambda: inspector.read_holding_registers(BEAT).registers[0] > 6)
        driver.close()
        last = inspector.read_holding_registers(BEAT).registers[0]
        assert {inspector.read_holding_registers(BEAT).registers[0] for _ in range(100)} == {last}


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, kind", [(signal.SIGKILL, "tcp"), (signal.SIGSTOP, "tcp"), (signal.SIGKILL, "rtu")], ids=str
)
def test_it_ends_with_the_host_and_the_standby_makes_the_device_safe(
    tmp_path: Path, number: signal.Signals, kind: str
) -> None:
    with counterpart() as plc, ModbusTcpClient("127.0.0.1", port=plc.port) as inspector:
        place = plc.tcp() if kind == "tcp" else plc.rtu()
        device = {"driver": "actuator.modbus", **place, **COMMANDS, "heartbeat": {"address": BEAT, "interval_ms": 10}}
        lamp = {"device": {**device, "timeout_ms": 700}, "rest": "off"}
        path = tmp_path / "reflexd.yaml"
        path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "realtime": False, "actuators": {"lamp": lamp}}))
        host = Process(tmp_path / "log", "actuate", str(path))
        host.wait_for("listens at", 1)
        until(lambda: inspector.read_holding_registers(BEAT).registers[0] > 3, lambda: host.text)
        inspector.write_coil(0, True)  # as if a command had
        host.signal(number)
        host.wait_for_standby("lamp is safe: by the standby")
        assert inspector.read_coils(0).bits[0] is False
        last = inspector.read_holding_registers(BEAT).registers[0]
        assert {inspector.read_holding_registers(BEAT).registers[0] for _ in range(100)} == {last}
