"""sensor.can over python-can's virtual bus: values, holes, stamps, damaged frames, error frames, silence."""

import math
import time

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout
from drivers.sensor import can as sensor
from tests.can_fixtures import HEAT, RATIO, STATE, Node, channel_name, error_frame, frame, sensor_options
from tests.waiting import until

HEATED = [
    {"message": "STATE", "signal": "speed"},
    {"message": "HEAT", "signal": "motor", "name": "motor_c"},
    {"message": "HEAT", "signal": "bearing", "name": "bearing_c"},
]


@pytest.fixture
def node():
    node = Node(channel_name())
    node.channel = node.bus.channel_id
    yield node
    node.close()


@pytest.fixture
def drive(node, tmp_path, open_driver):
    def make(**options):
        driver = sensor.Driver(sensor_options(tmp_path, node.channel, **options), "drive")
        return open_driver(driver)

    return make


def read(driver):
    return until(lambda: driver.read(0.05), "a sample")


def outcome(driver):
    with pytest.raises((DeviceFault, DeviceMissing, DeviceTimeout)) as caught:
        until(lambda: driver.read(0.01) and False, "an error")
    return caught.value


def test_signals_are_channels_and_every_frame_is_a_reading(node, drive):
    driver = drive()
    assert driver.channels == ("speed", "torque") and driver.rate_hz == 100
    before = time.monotonic_ns()
    for speed in (1.5, -2, 3):
        node.send(STATE, speed=speed, torque=0.25)
    sample = read(driver)
    assert sample.payload.tolist() == [[1.5, 0.25], [-2, 0.25], [3, 0.25]]
    assert (sample.sequence, sample.skipped, sample.source) == (2, 0, "drive")
    assert before - 1_000_000 <= sample.t_capture <= time.monotonic_ns()
    assert driver.read(0.0) is None
    node.send(STATE, speed=0, torque=0)
    assert read(driver).sequence == 3


def test_frames_of_others_are_not_read(node, drive):
    driver = drive()
    node.bus.send(can.Message(arbitration_id=5, is_extended_id=False, data=b"\1"))
    node.bus.send(can.Message(arbitration_id=STATE.frame_id, is_extended_id=True, data=bytes(8)))
    node.bus.send(can.Message(arbitration_id=STATE.frame_id, is_extended_id=False, is_remote_frame=True, dlc=8))
    assert driver.read(0.01) is None and driver.bad_frames == 0


def test_multiplexed_signals_keep_their_value(node, drive):
    driver = drive(channels=HEATED)
    node.send(STATE, speed=1, torque=0)
    node.send(HEAT, page=0, motor=60)
    node.send(STATE, speed=2, torque=0)
    node.send(HEAT, page=1, bearing=50)
    assert driver.read(0.01) is None and driver.incomplete == 2
    node.send(STATE, speed=3, torque=0)
    node.send(HEAT, page=0, motor=61)
    node.send(STATE, speed=4, torque=0)
    assert read(driver).payload.tolist() == [[3, 60, 50], [4, 61, 50]]
    assert driver.held == 4


def test_a_message_that_fails_to_come_is_a_hole(node, drive):
    channels = [HEATED[0], {**HEATED[1], "hold_ms": 50}]
    driver = drive(channels=channels)
    node.send(HEAT, page=0, motor=60)
    driver.read(0.01)
    driver.taken[1] -= 1e9  # it came a second ago
    node.send(STATE, speed=1, torque=0)
    assert driver.read(0.01) is None and driver.incomplete == 1
    driver = drive(channels=channels, holes="nan")
    node.send(STATE, speed=1, torque=0)
    ((speed, motor),) = read(driver).payload.tolist()
    assert speed == 1 and math.isnan(motor)


def test_readings_with_holes_are_no_sign_of_life(node, drive):
    driver = drive(channels=HEATED, timeout_ms=50)
    node.send(STATE, speed=1, torque=0)
    assert str(outcome(driver)).endswith("since open 1 incomplete ones, 0 bad frames, 0 error frames")


def test_no_value_from_before_it_was_opened(node, drive):
    driver = drive(channels=HEATED, holes="nan")
    node.send(HEAT, page=0, motor=60)
    driver.read(0.01)
    driver.close()
    driver.open()
    node.send(STATE, speed=1, torque=0)
    sample = read(driver)
    assert sample.sequence == 0 and math.isnan(sample.payload[0, 1])


def test_silence(node, drive):
    driver = drive(timeout_ms=20)
    assert isinstance(outcome(driver), DeviceTimeout)
    driver.close()
    driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.read(0.01)
    driver.open()
    node.send(STATE, speed=1, torque=0)
    assert read(driver).payload.tolist() == [[1, 0]]


def test_damaged_frames(node, drive):
    driver = drive(bad_run=3)
    for _ in range(3):
        node.bus.send(can.Message(arbitration_id=STATE.frame_id, is_extended_id=False, data=b"\1\2"))
    node.send(STATE, speed=1, torque=0)
    assert len(read(driver).payload) == 1 and driver.bad_frames == 3
    for _ in range(4):
        node.bus.send(can.Message(arbitration_id=STATE.frame_id, is_extended_id=False, data=b"\1\2"))
    error = outcome(driver)
    assert isinstance(
        error, DeviceFault
    ) and "4 bad or error frames in a row, the last one: frame 0x300 [01 02]" in str(error)


def test_a_number_that_is_none(node, drive):
    driver = drive(channels=[{"message": "RATIO", "signal": "ratio"}])
    node.send(RATIO, ratio=math.nan)
    node.send(RATIO, ratio=math.inf)
    node.send(RATIO, ratio=0.5)
    assert read(driver).payload.tolist() == [[0.5]] and driver.bad_frames == 2


def test_bus_off_is_a_fault_at_once(node, drive):
    driver = drive()
    node.bus.send(error_frame(0x40))
    error = outcome(driver)
    assert isinstance(error, DeviceFault) and "bus-off" in str(error) and "restart-ms" in str(error)


def test_a_run_of_error_frames_is_a_fault_and_single_ones_are_counted(node, drive):
    driver = drive(bad_run=2)
    node.bus.send(error_frame(0x20))
    node.send(STATE, speed=1, torque=0)
    assert len(read(driver).payload) == 1 and driver.error_frames == 1
    for _ in range(3):
        node.bus.send(error_frame(0x04, 0, 0x20))
    assert "error passive [00 20 00" in str(outcome(driver))


def test_an_interface_that_goes_down(node, drive, monkeypatch):
    driver = drive()

    def down(timeout):
        raise can.CanOperationError("Error receiving: Network is down", 100)

    monkeypatch.setattr(driver.bus.bus, "recv", down)
    assert isinstance(outcome(driver), DeviceMissing)


@pytest.mark.parametrize("step_s", [3600, -3600, 0.5])
def test_a_step_of_the_wall_clock(node, drive, monkeypatch, step_s):
    driver = drive()
    before = time.monotonic_ns()
    node.send(STATE, speed=1, torque=0)
    wall = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() + int(step_s * 1e9))
    assert before - 1_000_000_000 <= read(driver).t_capture <= time.monotonic_ns()
    assert driver.t_last >= driver.t_received - 60_000_000_000


def test_a_flood_does_not_keep_it(node, drive):
    driver = drive()
    for speed in range(300):
        node.send(STATE, speed=speed / 10, torque=0)
    assert [len(read(driver).payload) for _ in range(2)] == [256, 44]
    assert driver.sequence == 299


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Options of a driver that is alone on its bus."""
    return sensor_options(tmp_path_factory.mktemp("any"), channel_name(), bad_run=1, clock="STATE")


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=8), can_id=st.sampled_from([0x300, 0x301, 0x18FF0001, 0x40]), error=st.booleans())
def test_any_frame(quiet, data, can_id, error):
    """Only DeviceFault leaves the driver, and only finite values."""
    driver, node = sensor.Driver(quiet, "x"), Node(quiet.channel)
    driver.open()
    try:
        node.bus.send(
            can.Message(arbitration_id=can_id, is_extended_id=can_id > 0x7FF, data=data, is_error_frame=error)
        )
        sample = driver.read(0.0)
        assert sample is None or all(map(math.isfinite, sample.payload.ravel()))
    except DeviceFault:
        assert error
    finally:
        driver.close()
        node.close()


def test_the_frame_helper_uses_the_database():
    assert frame(HEAT, page=0, motor=0).is_extended_id
