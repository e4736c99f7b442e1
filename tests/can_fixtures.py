"""A CAN bus within this process or between processes, its database, and a node on it."""

import threading
import uuid

import can
import cantools

from drivers.actuator import can as actuator
from drivers.sensor import can as sensor
from tests.waiting import until

DBC = """VERSION ""
NS_ :
BS_:
BU_: HOST DRIVE

BO_ 512 COMMAND: 8 HOST
 SG_ enable : 0|1@1+ (1,0) [0|1] "" DRIVE
 SG_ speed : 8|16@1- (0.1,0) [-300|300] "rpm" DRIVE
 SG_ counter : 48|4@1+ (1,0) [0|15] "" DRIVE
 SG_ check : 56|8@1+ (1,0) [0|255] "" DRIVE

BO_ 768 STATE: 8 DRIVE
 SG_ speed : 0|16@1- (0.1,0) [-300|300] "rpm" HOST
 SG_ torque : 23|16@0- (0.01,0) [-300|300] "Nm" HOST

BO_ 2566848513 HEAT: 8 DRIVE
 SG_ page M : 0|8@1+ (1,0) [0|1] "" HOST
 SG_ motor m0 : 8|8@1+ (1,-40) [-40|215] "degC" HOST
 SG_ bearing m1 : 8|8@1+ (1,-40) [-40|215] "degC" HOST

BO_ 769 RATIO: 4 DRIVE
 SG_ ratio : 0|32@1- (1,0) [0|0] "" HOST

VAL_ 512 enable 0 "off" 1 "on" ;
SIG_VALTYPE_ 769 ratio : 1;
"""
DATABASE = cantools.database.load_string(DBC, "dbc")
STATE, HEAT, RATIO = (DATABASE.get_message_by_name(name) for name in ("STATE", "HEAT", "RATIO"))
ON = {"message": "COMMAND", "signals": {"enable": "on", "speed": 25}}
OFF = {"message": "COMMAND", "signals": {"enable": "off", "speed": 0}}
PROTECTED = {"counter": "counter", "checksum": {"signal": "check", "kind": "crc8_j1850"}}
PLAIN = {"counter": 0, "check": 0}


def plain(frame):
    """Without a counter and a checksum."""
    return {**frame, "signals": {**frame["signals"], **PLAIN}}


def verbs(**changes):
    frames = {"on": ON, "off": OFF}
    return {verb: [{**frame, **PROTECTED, **changes}] for verb, frame in frames.items()}


class Node:
    """The far end: receives, and sends what a test wants."""

    def __init__(self, channel, interface="virtual"):
        self.bus = can.Bus(interface=interface, channel=channel, ignore_config=True)

    def received(self, count):
        """The next frames."""
        return [until(lambda: self.bus.recv(0.05), f"{count} frames") for _ in range(count)]

    def commands(self, count):
        return [DATABASE.decode_message(frame.arbitration_id, frame.data) for frame in self.received(count)]

    def drain(self):
        while self.bus.recv(0) is not None:
            pass

    def send(self, message, **values):
        self.bus.send(frame(message, **values))

    def close(self):
        self.bus.shutdown()


def frame(message, **values):
    return can.Message(
        arbitration_id=message.frame_id, is_extended_id=message.is_extended_frame, data=message.encode(values)
    )


def error_frame(error_class, *data):
    return can.Message(arbitration_id=error_class, is_error_frame=True, data=[*data, *bytes(8 - len(data))])


def channel_name():
    return f"test-{uuid.uuid4().hex}"


def write_database(folder):
    path = folder / "drive.dbc"
    path.write_text(DBC)
    return str(path)


def actuator_options(folder, channel, **options):
    base = {"interface": "virtual", "channel": channel, "dbc": write_database(folder), "verbs": verbs(), "safe": "off"}
    return actuator.Options.model_validate({**base, "cycle_ms": 0, "timeout_ms": 2000, **options})


def sensor_options(folder, channel, **options):
    base = {"interface": "virtual", "channel": channel, "dbc": write_database(folder), "rate_hz": 100}
    channels = [{"message": "STATE", "signal": "speed"}, {"message": "STATE", "signal": "torque"}]
    return sensor.Options.model_validate({**base, "channels": channels, "timeout_ms": 60_000, **options})


def in_a_thread(work):
    """Runs to its end in a thread of its own."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
