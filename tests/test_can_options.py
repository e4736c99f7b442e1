"""What `reflexd check` refuses of a CAN configuration, and an interface that is not there."""

import can
import pytest
from can.interfaces.socketcan.socketcan import dissect_can_frame
from pydantic import ValidationError

from drivers.actuator import can as actuator
from drivers.base import DeviceMissing, load
from drivers.links.can import Bus, BusOptions, key, pack, unpack
from drivers.sensor import can as sensor
from tests.can_fixtures import OFF, ON, PROTECTED, actuator_options, plain, sensor_options


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"safe": "halt"}, "'halt' is not among the verbs: on, off"),
        ({"verbs": {"off": [plain(OFF)], "on": [plain(ON), {"id": 5}]}}, "does not send id 0x5"),
        ({"verbs": {"off": []}}, "at least 1"),
        ({"verbs": {"off": [{}]}}, "either message"),
        ({"verbs": {"off": [{"id": 5, "message": "COMMAND"}]}}, "either message"),
        ({"verbs": {"off": [{"id": 5, "signals": {"speed": 1}}]}}, "need a message"),
        ({"verbs": {"off": [{"id": 0x800}]}}, "0x800 has more than 11 bits"),
        ({"verbs": {"off": [{"id": 5, "data": "0g"}]}}, "hexadecimal"),
        ({"verbs": {"off": [{"id": 5, "data": "00" * 9}]}}, "9 bytes need CAN FD"),
        ({"fd": True, "verbs": {"off": [{"id": 5, "data": "00" * 9}]}}, "no frames of 9 bytes"),
        ({"verbs": {"off": [{"message": "COMAND"}]}}, "COMAND: not in the DBC"),
        ({"verbs": {"off": [{"message": "COMMAND"}]}}, 'signal "enable" is required|enable'),
        ({"verbs": {"off": [plain({**OFF, "signals": {"enable": "off", "speed": 999}})]}}, "speed"),
        (
            {"verbs": {"off": [plain({**OFF, "signals": {"enable": "perhaps", "speed": 0}})]}},
            "'perhaps' is not among the choices",
        ),
        ({"verbs": {"off": [{**OFF, **PROTECTED, "counter": "speed"}]}}, "speed is no counter"),
        ({"verbs": {"off": [{**OFF, **PROTECTED, "counter": "count"}]}}, "no signal count"),
        ({"verbs": {"off": [{**plain(OFF), "checksum": {"signal": "speed", "kind": "xor8"}}]}}, "speed is no checksum"),
        ({"interface": "udp_multicast"}, "confirm: udp_multicast has no acknowledgement"),
        ({"interface": "pcan"}, "socketcan"),
        ({"cycle_ms": -1}, "greater than or equal"),
        ({"alive_ms": 100}, "greater than or equal to 250"),
        ({"cycle_time": 1}, "not permitted"),
    ],
)
def test_invalid_actuator_options(tmp_path, options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        actuator_options(tmp_path, "bus", **options)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"channels": []}, "at least 1"),
        ({"channels": [{"message": "STATE", "signal": "heat"}]}, "STATE has no signal heat"),
        ({"channels": [{"message": "STAT", "signal": "speed"}]}, "STAT: not in the DBC"),
        ({"channels": [{"message": "STATE", "signal": "speed"}] * 2}, "two channels are named speed"),
        ({"clock": "TICK"}, "TICK: not in the DBC"),
        ({"rate_hz": 0}, "greater than 0"),
    ],
)
def test_invalid_sensor_options(tmp_path, options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        sensor_options(tmp_path, "bus", **options)


def test_a_damaged_database_is_refused_before_the_start(tmp_path):
    options = sensor_options(tmp_path, "bus").model_dump()
    (tmp_path / "drive.dbc").write_bytes(b"BO_ 512 COMMAND")
    with pytest.raises(ValidationError, match="not a CAN database"):
        sensor.Options.model_validate(options)


def test_actuators_of_one_interface_send_other_ids(tmp_path):
    options = actuator_options(tmp_path, "can0", interface="socketcan")
    assert options.exclusive_device() == "/sys/class/net/can0"
    assert options.exclusive_parts() == {512}
    assert [path.name for path in options.input_files()] == ["drive.dbc"]
    assert actuator_options(tmp_path, "bus").exclusive_device() == ""


def test_an_interface_that_is_not_there():
    """Or a kernel without SocketCAN."""
    with pytest.raises(DeviceMissing, match="nosuch0: (no such CAN interface|this kernel has no SocketCAN)"):
        Bus(BusOptions(channel="nosuch0"), [(1, False)], own=True, errors=False)


@pytest.mark.parametrize("channel", ["a/b", "a" * 16, ""])
def test_a_channel_that_is_no_network_interface(channel):
    with pytest.raises(ValidationError, match="not a network interface|at least 1"):
        BusOptions(channel=channel)


def test_an_address_that_is_no_multicast_group():
    with pytest.raises(DeviceMissing, match="udp_multicast nonsense"):
        Bus(BusOptions(interface="udp_multicast", channel="nonsense"), [], own=False, errors=False)


@pytest.mark.parametrize(
    "message, expected",
    [
        (can.Message(arbitration_id=0x123, is_extended_id=False, data=b"\1\2"), "23010000 02 000000 0102000000000000"),
        (can.Message(arbitration_id=0x123, is_extended_id=True, data=b""), "23010080 00 000000 0000000000000000"),
        (
            can.Message(arbitration_id=0x123, is_extended_id=False, is_fd=True, data=b"\1" * 12),
            "23010000 0c 040000" + "01" * 12 + "00" * 52,
        ),
    ],
)
def test_frames_of_the_kernel(message, expected):
    """struct can_frame and canfd_frame of linux/can.h, on a little-endian machine; python-can reads them."""
    assert pack(message) == bytes.fromhex(expected)
    assert dissect_can_frame(pack(message))[3] == message.data
    assert unpack(pack(message)) == key(message)


def test_both_are_loaded_by_name():
    assert load("actuator.can") is actuator and load("sensor.can") is sensor
