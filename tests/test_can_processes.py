"""CAN between processes: the host's standby over UDP multicast, both drivers over the kernel's vcan."""

import json
import os
import select
import signal
import socket
import subprocess
import sys

import can
import pytest

from agent.benches.io import can as bench
from drivers.actuator import can as actuator
from drivers.base import DeviceMissing, DeviceTimeout
from drivers.sensor import can as sensor
from tests.can_fixtures import STATE, Node, actuator_options, channel_name, frame, sensor_options, verbs, write_database
from tests.processes import Process
from tests.shared import ROOT
from tests.waiting import DEADLINE_S, until

needs_vcan = pytest.mark.skipif(bool(bench.reason()), reason=bench.reason())


@pytest.fixture
def group():
    """A multicast group of this machine (RFC 4291: scope 1 never leaves the interface)."""
    group = f"ff11::{os.getpid() & 0xFFFF:x}:{os.urandom(2).hex()}"
    try:
        node = Node(group, "udp_multicast")
    except (OSError, can.CanError) as error:
        pytest.skip(f"no IPv6 multicast here: {error}")
    yield node, group
    node.close()


def test_the_standby_of_a_host_that_is_killed_sends_the_safe_frames(group, tmp_path):
    node, name = group
    device = {
        "driver": "actuator.can",
        "interface": "udp_multicast",
        "channel": name,
        "dbc": write_database(tmp_path),
        "verbs": verbs(),
        "safe": "off",
        "confirm": False,
        "copies": 3,
        "cycle_ms": 1000,
    }
    actuators = {"drive": {"device": device, "rest": "off", "verbs": ["on", "off"]}}
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "realtime": False, "actuators": actuators}))
    host = Process(tmp_path / "log", "actuate", str(path))
    host.wait_for("listens at")
    assert [command["enable"] for command in node.commands(3)] == ["off"] * 3
    host.signal(signal.SIGKILL)
    until(lambda: [command["counter"] for command in node.commands(3)] == [0, 1, 2], "the standby's own frames")
    host.wait_for_standby("is safe: by the standby")


def test_kind_an_id_that_another_process_sends_is_named_and_taken_over_when_it_ends(group, tmp_path):
    """Another run_dir, and so another lock: the interface itself takes the frames of both."""
    _, name = group
    options = {"interface": "udp_multicast", "channel": name, "dbc": write_database(tmp_path), "verbs": verbs()}
    options = actuator.Options.model_validate({**options, "safe": "off", "confirm": False})
    holder = subprocess.Popen([sys.executable, "-c", HOST, options.model_dump_json()], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert holder.stdout.readline() == b"on\n"
        driver = actuator.Driver(options, "drive")
        with pytest.raises(DeviceMissing, match=f"busy, an id of this actuator .* pid {holder.pid}, has it"):
            driver.open()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    driver.open()
    second = actuator.Driver(options, "other")
    with pytest.raises(DeviceMissing, match="this process has it"):
        second.open()
    driver.close()
    second.open()
    second.close()


HOST = """
import sys, time
from drivers.actuator import can
options = can.Options.model_validate_json(sys.argv[1])
driver = can.Driver(options, "drive")
driver.open()
driver.apply("on", {})
print("on", flush=True)
while True:
    time.sleep(0.005)
"""


def test_a_stopped_process_commands_nothing(group, tmp_path):
    """The reason for not using the kernel's broadcast manager."""
    node, name = group
    options = {"interface": "udp_multicast", "channel": name, "dbc": write_database(tmp_path), "verbs": verbs()}
    text = json.dumps({**options, "safe": "off", "confirm": False, "cycle_ms": 5, "alive_ms": 250})
    process = subprocess.Popen([sys.executable, "-c", HOST, text], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"on\n"
        assert [command["enable"] for command in node.commands(10)] == ["on"] * 10
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        node.drain()
        assert node.bus.recv(0.5) is None
        process.send_signal(signal.SIGCONT)  # longer than alive_ms ago: what was in force is no longer
        node.commands(1)  # it may have been stopped in the middle of sending one
        assert [command["enable"] for command in node.commands(10)] == ["off"] * 10
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        process.stdout.close()
    node.drain()
    assert node.bus.recv(0.1) is None


class Raw:
    """A CAN socket, played by a pair of others: what is sent comes back. confirming: with the kernel's mark."""

    def __init__(self):
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.confirming = True
        self.refusal = None

    def send(self, data, flags):
        if self.refusal:
            raise self.refusal
        self.far.send(data)

    def recvmsg(self, size, ancillary, flags):
        return self.near.recv(size), [], socket.MSG_CONFIRM if self.confirming else socket.MSG_DONTROUTE, None


def test_a_socket_of_the_kernel(tmp_path):
    """Only a frame with the kernel's mark is one of this socket's own."""
    driver = actuator.Driver(actuator_options(tmp_path, channel_name(), timeout_ms=20), "drive")
    driver.open()
    bus, raw = driver.sender.bus, Raw()
    bus.socket, bus.polled = raw, True
    bus.ready.register(raw.near, select.POLLIN)
    raw.far.send(driver.images["on"][0].images[0].packed)
    driver.apply("on", {})
    assert not driver.sender.unconfirmed
    raw.confirming = False
    with pytest.raises(DeviceTimeout, match="no node acknowledges"):
        driver.apply("on", {})
    raw.refusal = BlockingIOError(11, "Resource temporarily unavailable")
    with pytest.raises(DeviceTimeout, match="its queue is full"):
        driver.safe()
    raw.refusal = OSError(100, "Network is down")
    with pytest.raises(DeviceMissing, match="is down"):
        driver.safe()
    driver.close()
    raw.near.close()
    raw.far.close()


@needs_vcan
def test_frames_over_the_kernel():
    with bench.server() as options:
        node = Node(options["channel"], "socketcan")
        driver = actuator.Driver(actuator.Options.model_validate({**options, "cycle_ms": 5}), "drive")
        driver.open()
        try:
            driver.apply("on", {})
            assert [received.data for received in node.received(5)] == [b"\1"] * 5
            driver.safe()
            until(lambda: node.received(1)[0].data == b"\0", "the safe frame")
            assert not driver.sender.unconfirmed
        finally:
            driver.close()
            node.close()


@needs_vcan
def test_an_interface_of_the_kernel_goes_down_and_is_up_again(tmp_path):
    with bench.server() as options:
        driver = actuator.Driver(actuator.Options.model_validate(options), "drive")
        state = sensor.Driver(sensor_options(tmp_path, options["channel"], interface="socketcan"), "drive")
        driver.open()
        state.open()
        subprocess.run(["ip", "link", "set", options["channel"], "down"], check=True)
        with pytest.raises(DeviceMissing, match="is down"):
            driver.apply("on", {})
        with pytest.raises(DeviceMissing, match="is down"):
            until(lambda: state.read(0.05) and False)
        subprocess.run(["ip", "link", "set", options["channel"], "up"], check=True)
        driver.close()
        driver.open()
        driver.safe()
        driver.close()
        state.close()


@needs_vcan
def test_signals_over_the_kernel(tmp_path):
    with bench.interface() as name:
        driver = sensor.Driver(sensor_options(tmp_path, name, interface="socketcan"), "drive")
        node = Node(name, "socketcan")
        driver.open()
        try:
            node.bus.send(can.Message(arbitration_id=5, is_extended_id=False))
            node.bus.send(frame(STATE, speed=1.5, torque=-1))
            sample = until(lambda: driver.read(0.05), "a sample")
            assert sample.payload.tolist() == [[1.5, -1]]
            assert driver.t_received - 1_000_000_000 < sample.t_capture <= driver.t_received
        finally:
            driver.close()
            node.close()


@needs_vcan
def test_the_bare_call_of_the_bench():
    with bench.server() as options, bench.bare(options) as send:
        node = Node(options["channel"], "socketcan")
        send()
        assert node.received(1)[0].arbitration_id == bench.CAN_ID
        node.close()
