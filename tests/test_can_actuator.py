"""actuator.can over python-can's virtual bus: frames, cycles, counters, and everything that can go wrong on the way."""

import threading

import can
import pytest

from drivers.actuator import _can_sender
from drivers.actuator import can as actuator
from drivers.actuator._can_frames import total
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from tests.can_fixtures import Node, actuator_options, channel_name, in_a_thread, verbs
from tests.waiting import until


@pytest.fixture
def node():
    node = Node(channel_name())
    node.channel = node.bus.channel_id
    yield node
    node.close()


@pytest.fixture
def drive(node, tmp_path, open_driver):
    def make(**options):
        driver = actuator.Driver(actuator_options(tmp_path, node.channel, **options), "drive")
        return open_driver(driver)

    return make


def test_a_verb_is_a_frame_with_counter_and_checksum(node, drive):
    driver = drive()
    driver.apply("on", {})
    driver.apply("off", {})
    driver.safe()
    frames = node.received(3)
    assert [frame.arbitration_id for frame in frames] == [512] * 3
    assert [(frame.data[0], frame.data[1], frame.data[6]) for frame in frames] == [(1, 250, 0), (0, 0, 1), (0, 0, 2)]
    assert all(frame.data[7] == total(bytes(frame.data[:7]), "crc8_j1850") for frame in frames)


def test_the_counter_wraps_and_goes_on_after_a_reopening(node, drive):
    driver = drive(copies=9)
    driver.apply("on", {})
    driver.close()
    driver.open()
    driver.safe()
    assert [command["counter"] for command in node.commands(18)] == [*range(16), 0, 1]


def test_an_id_and_bytes_need_no_database(node, drive):
    frames = {"go": [{"id": 0x18FF0001, "extended": True, "data": "01 ff"}]}
    stop = [{"id": 0x18FF0001, "extended": True, "data": "00"}]
    driver = drive(dbc=None, verbs={**frames, "stop": stop}, safe="stop")
    driver.apply("go", {})
    (frame,) = node.received(1)
    assert (frame.arbitration_id, frame.is_extended_id, frame.data) == (0x18FF0001, True, b"\x01\xff")


@pytest.mark.parametrize(
    "kind, expected", [("sum8", 0xDD), ("xor8", 0x31), ("crc8_j1850", 0x4B), ("crc8_autosar", 0xDF)]
)
def test_published_check_values(kind, expected):
    """Those of both CRCs: AUTOSAR CP, Specification of CRC Routines, 7.2.1."""
    assert total(b"123456789", kind) == expected


def test_frames_in_force_are_repeated_until_the_next_command(node, drive):
    driver = drive(cycle_ms=2, verbs=verbs())
    driver.apply("on", {})
    assert [command["enable"] for command in node.commands(5)] == ["on"] * 5
    driver.safe()
    node.drain()
    commands = node.commands(5)
    assert [command["enable"] for command in commands] == ["off"] * 5
    counts = [command["counter"] for command in commands]
    assert counts == [(counts[0] + step) % 16 for step in range(5)]
    driver.close()
    node.drain()
    assert node.bus.recv(0.02) is None and not driver.sender


def test_the_frames_stop_being_commands_where_the_hosts_thread_has_ended(node, drive):
    driver = drive(cycle_ms=2)
    in_a_thread(lambda: driver.apply("on", {}))
    until(lambda: node.commands(1)[0]["enable"] == "off", "the safe frame")
    assert [command["enable"] for command in node.commands(3)] == ["off"] * 3
    assert str(driver.lost) == f"virtual {node.channel}: the host stood still"
    with pytest.raises(DeviceTimeout, match="stood still"):
        driver.apply("on", {})
    driver.safe()
    driver.apply("on", {})
    assert until(lambda: node.commands(1)[0]["enable"] == "on")


def test_a_host_that_stands_still_is_one_whose_thread_uses_no_processor_time(node, drive):
    driver, applied, released = drive(cycle_ms=2, alive_ms=250), threading.Event(), threading.Event()

    def host():
        driver.apply("on", {})
        applied.set()
        released.wait()

    thread = threading.Thread(target=host)
    thread.start()
    applied.wait()
    until(lambda: node.commands(1)[0]["enable"] == "off", "the safe frame")
    released.set()
    thread.join()


def test_a_host_that_wakes_now_and_then_is_alive():
    owner = _can_sender.Owner()
    assert not owner.stalled(0.0)  # its first look
    sum(range(1000))
    assert not owner.stalled(0.0)


def test_a_frame_that_no_node_acknowledges(node, drive, monkeypatch):
    driver = drive(timeout_ms=5)
    monkeypatch.setattr(driver.sender.bus, "receive", lambda wait_s: None)
    with pytest.raises(DeviceTimeout, match="no node acknowledges a frame within 5 ms"):
        driver.apply("on", {})
    with pytest.raises(DeviceTimeout):
        driver.safe()
    monkeypatch.undo()
    driver.safe()
    assert not driver.sender.unconfirmed


def test_no_cycle_adds_to_frames_that_have_not_left(node, drive, monkeypatch):
    driver = drive(cycle_ms=1, timeout_ms=30)
    driver.apply("on", {})
    monkeypatch.setattr(driver.sender.bus, "receive", lambda wait_s: None)
    until(lambda: driver.lost, "a failure")
    assert len(driver.sender.unconfirmed) == 1
    assert "no node acknowledges" in str(driver.lost)
    monkeypatch.undo()
    node.drain()
    assert [command["enable"] for command in node.commands(3)] == ["off"] * 3
    with pytest.raises(DeviceTimeout, match="no node acknowledges"):
        driver.apply("on", {})


def test_the_frame_of_another_node_with_the_same_id_confirms_nothing(node, drive, monkeypatch):
    driver = drive(timeout_ms=5)
    echo = can.Message(
        arbitration_id=512, is_extended_id=False, data=driver.images["on"][0].images[0].message.data, is_rx=True
    )
    monkeypatch.setattr(driver.sender.bus, "receive", lambda wait_s: echo)
    with pytest.raises(DeviceTimeout, match="no node acknowledges"):
        driver.apply("on", {})


@pytest.mark.parametrize(
    "raised, expected, text",
    [
        (can.CanOperationError("Transmit buffer full"), DeviceTimeout, "its queue is full"),
        (can.CanOperationError("x", 105), DeviceTimeout, "its queue is full"),
        (can.CanOperationError("x", 100), DeviceMissing, "is down"),
        (can.CanOperationError("x", 19), DeviceMissing, "no such CAN interface"),
        (can.CanOperationError("x", 22), DeviceFault, "set up for CAN FD"),
        (can.CanOperationError("x", 1), DeviceMissing, "no permission"),
        (OSError(5, "Input/output error"), DeviceMissing, "Input/output error"),
    ],
)
def test_what_the_kernel_says_when_a_frame_is_sent(node, drive, monkeypatch, raised, expected, text):
    driver = drive(timeout_ms=5)

    def refuse(message, timeout):
        raise raised

    monkeypatch.setattr(driver.sender.bus.bus, "send", refuse)
    for call in (lambda: driver.apply("on", {}), driver.safe):
        with pytest.raises(expected, match=text):
            call()
    driver.close()
    driver.open()
    driver.safe()
    assert node.commands(1)[0]["enable"] == "off"


def test_an_interface_that_goes_between_two_commands(node, drive, monkeypatch):
    driver = drive(cycle_ms=1)
    driver.apply("on", {})

    def gone(wait_s):
        raise DeviceMissing("can0: is down")

    monkeypatch.setattr(driver.sender.bus, "receive", gone)
    until(lambda: driver.lost, "a failure")
    assert "is down" in str(driver.lost)
    monkeypatch.undo()
    with pytest.raises(DeviceMissing, match="is down"):
        driver.apply("on", {})


def test_a_sending_thread_that_hangs_is_no_hang_of_the_call(node, drive):
    driver = drive(cycle_ms=0, timeout_ms=5)
    with driver.sender.lock, pytest.raises(DeviceTimeout, match="hangs"):
        driver.safe()


def test_a_box_without_room_for_a_thread(node, drive, monkeypatch):
    def full(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(DeviceFault, match="can't start new thread"):
        drive(cycle_ms=5)


def test_refusals_before_anything_is_sent(node, drive):
    driver = drive()
    with pytest.raises(DeviceFault, match="no verb 'fly', only on, off"):
        driver.apply("fly", {})
    driver.close()
    driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()


def test_a_database_that_is_absent_or_damaged(node, drive, tmp_path):
    driver = drive()
    path = tmp_path / "drive.dbc"
    options = driver.options
    path.unlink()
    missing = actuator.Driver(options, "drive")
    with pytest.raises(DeviceMissing, match="cannot be read"):
        missing.open()
    for content in (b"", bytes(range(256)), b'VERSION ""\nBO_ 512'):
        path.write_bytes(content)
        with pytest.raises((DeviceFault, DeviceMissing)):
            missing.open()
    actuator_options(tmp_path, node.channel)  # writes it again
    missing.open()
    missing.safe()
    missing.close()
    assert node.commands(1)[0]["enable"] == "off"
