"""The actuators: relay boards over real pseudo terminals, the simulated one with its faults, the log on a full disk."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tty
from contextlib import suppress

import pytest
import serial
from pydantic import ValidationError

from drivers.actuator import log, serial_relay, sim
from drivers.actuator.serial_relay import encode
from drivers.base import DeviceFault, DeviceMissing, DeviceTimeout, load
from drivers.faults import Faults
from tests.processes import Process
from tests.waiting import DEADLINE_S

STOP, RUN = bytes.fromhex("a00100a1 a00201a3"), bytes.fromhex("a00101a2")


class Board:
    """The far end of a pseudo terminal: a relay board."""

    def __init__(self):
        self.far, self.near = os.openpty()
        tty.setraw(self.near)
        self.url = os.ttyname(self.near)

    def received(self, count):
        """The received bytes, once there are `count` or at the deadline; the kernel delivers them in the background."""
        data = b""
        poller = select.poll()
        poller.register(self.far, select.POLLIN)
        while len(data) < count and poller.poll(DEADLINE_S * 1000):
            data += os.read(self.far, 1000)
        return data

    def answer(self, data, with_bytes):
        """Answers once as many bytes as in `data` have been received."""

        def run():
            self.received(len(data))
            os.write(self.far, with_bytes)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def unplug(self):
        for end in (self.far, self.near):
            if end >= 0:
                os.close(end)
        self.far = self.near = -1


def fill(fd):
    """Writes until the kernel's buffer is full; for a while it moves bytes on in the background."""
    os.set_blocking(fd, False)
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    written = 1
    while written:
        written = 0
        with suppress(BlockingIOError):
            while True:
                written += os.write(fd, bytes(1000))
        poller.poll(50)


@pytest.fixture
def board():
    board = Board()
    yield board
    board.unplug()


@pytest.fixture
def relay(board, open_driver):
    def make(url=board.url, **options):
        verbs = {"stop": {1: False, 2: True}, "run": {1: True}}
        driver = serial_relay.Driver(
            serial_relay.Options(url=url, **{"channels": verbs, "safe": "stop"} | options), "belt"
        )
        return open_driver(driver)

    return make


def test_the_published_frames():
    assert encode({1: True}) == bytes.fromhex("a00101a2")
    assert encode({1: False}) == bytes.fromhex("a00100a1")
    assert encode({255: True}) == bytes.fromhex("a0ff01a0")


def test_relay_bytes_at_the_other_end(board, relay):
    driver = relay()
    driver.apply("run", {})
    driver.apply("stop", {"speed": 1})
    driver.safe()
    driver.safe()
    driver.apply("run", {})
    assert board.received(32) == RUN + STOP * 3 + RUN


def test_relay_that_answers(board, relay):
    driver = relay(echo="same", timeout_ms=2000)
    os.write(board.far, b"old")
    assert select.select([board.near], [], [], DEADLINE_S)[0]
    thread = board.answer(RUN, RUN)
    driver.apply("run", {})
    thread.join()


def test_relay_that_answers_something_else(board, relay):
    driver = relay(echo="same", timeout_ms=2000)
    thread = board.answer(RUN, bytes.fromhex("a00100a1"))
    with pytest.raises(DeviceFault, match="answered a0 01 00 a1"):
        driver.apply("run", {})
    thread.join()


def test_relay_that_answers_over_loop(relay):
    relay("loop://", echo="same").safe()


def test_relay_that_does_not_answer_gets_the_next_frame_twice(board, relay):
    driver = relay(echo="same", timeout_ms=20)
    with pytest.raises(DeviceTimeout, match="no answer"):
        driver.apply("run", {})
    assert board.received(4) == RUN
    thread = board.answer(STOP * 2, STOP * 2)
    driver.options = driver.options.model_copy(update={"timeout_ms": 2000})
    driver.timeout_s = 2.0
    driver.safe()
    thread.join()


def test_bytes_that_a_relay_did_not_accept_are_never_sent_later(board, relay):
    driver = relay(timeout_ms=20)
    termios.tcflow(board.near, termios.TCOOFF)
    with pytest.raises(DeviceFault, match="accepts no bytes"):
        driver.apply("run", {})
    termios.tcflow(board.near, termios.TCOON)
    driver.safe()
    assert board.received(16) == STOP * 2


def test_relay_whose_buffer_is_full(board, relay):
    driver = relay(timeout_ms=20)
    fill(board.near)
    with pytest.raises(DeviceFault, match="accepts no bytes"):
        driver.safe()


def test_relay_whose_bytes_stay_in_the_queue(relay, monkeypatch):
    driver, dropped = relay(timeout_ms=20), []
    monkeypatch.setattr(serial.Serial, "out_waiting", 4)
    monkeypatch.setattr(serial.Serial, "reset_output_buffer", lambda port: dropped.append(port))
    with pytest.raises(DeviceFault, match="accepts no bytes"):
        driver.safe()
    assert dropped == [driver.line.port]


def test_relay_unplugged(board, relay):
    driver = relay()
    board.unplug()
    with pytest.raises(DeviceMissing, match="gone"):
        driver.safe()
    driver.close()
    driver.close()
    with pytest.raises(DeviceMissing, match="not open"):
        driver.safe()
    with pytest.raises(DeviceMissing, match="plugged in"):
        driver.open()


def test_relay_is_locked_and_refuses_unknown_verbs(relay):
    driver = relay()
    with pytest.raises(serial.SerialException):
        serial.Serial(driver.options.url, exclusive=True)
    with pytest.raises(DeviceMissing, match="busy, another actuator switches relay 1"):
        relay()
    with pytest.raises(DeviceFault, match="at 9600 baud, not 19200"):
        relay(baud=19200, **LAMP)
    with pytest.raises(DeviceFault, match="no verb 'fly', only stop, run"):
        driver.apply("fly", {})


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"safe": "halt"}, "'halt' is not among"),
        ({"safe": "run"}, "does not name relay 2"),
        ({"channels": {"stop": {0: True}}}, "greater than or equal"),
        ({"channels": {"stop": {}}}, "at least 1"),
        ({"channels": {"stop": {1: "perhaps"}}}, "boolean"),
        ({"url": "http://x"}, "not a serial port"),
    ],
)
def test_invalid_relay_options_are_refused(options, complaint):
    good = {"url": "/dev/ttyUSB0", "channels": {"stop": {1: "off", 2: "on"}, "run": {1: "on"}}, "safe": "stop"}
    assert serial_relay.Options.model_validate(good).channels["stop"] == {1: False, 2: True}
    with pytest.raises(ValidationError, match=complaint):
        serial_relay.Options.model_validate(good | options)


def arm(**options):
    driver = sim.Driver(sim.Options(**options), "arm")
    driver.open()
    return driver


def test_sim_keeps_movements_and_logs_changes(caplog):
    caplog.set_level(logging.INFO)
    driver = arm(history=3)
    for verb in ("run", "run", "slow", "slow"):
        driver.apply(verb, {"speed": 1})
    driver.safe()
    assert [movement.verb for movement in driver.history] == ["slow", "slow", "stop"]
    assert driver.state == driver.history[-1]
    assert driver.history[1].arguments == {"speed": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "arm: run {'speed': 1}",
        "arm: slow {'speed': 1}",
        "arm: stop",
    ]


def test_sim_has_a_reaction_time():
    driver = arm(reaction_ms=20)
    start = time.monotonic_ns()
    driver.apply("run", {})
    assert driver.history[0].t_applied - start >= 20_000_000


@pytest.mark.parametrize("kind, error", [("refuse", DeviceFault), ("unplug", DeviceMissing)])
def test_sim_fails_while_the_fault_lasts(kind, error):
    driver = sim.Driver(sim.Options(faults=[{"kind": kind, "at_s": 0, "for_s": 1000}]))
    with pytest.raises(error):
        driver.open()
        driver.apply("run", {})
    with pytest.raises(error):
        driver.safe()
    assert not driver.history
    driver.faults = Faults(())  # the fault has ended
    driver.open()
    driver.safe()
    assert driver.state.verb == "stop"


def test_a_stuck_movement_ends_with_the_fault():
    driver = arm(faults=[{"kind": "stuck", "at_s": 0, "for_s": 0.05}])
    driver.apply("run", {})
    assert driver.state.t_applied - driver.faults.start_ns >= 50_000_000


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_log_appends_one_line_per_command(tmp_path):
    path = tmp_path / "commands"
    for verb in ("run", "slow"):
        driver = log.Driver(log.Options(path=str(path)), "belt")
        driver.open()
        driver.apply(verb, {"speed": 0.5})
        driver.close()
        driver.close()
    driver.open()
    driver.safe()
    driver.close()
    assert [line["verb"] for line in lines(path)] == ["run", "slow", "safe"]
    assert lines(path)[0]["arguments"] == {"speed": 0.5}
    assert lines(path)[0]["actuator"] == "belt"
    assert 0 < lines(path)[0]["t_ns"] <= lines(path)[1]["t_ns"] <= time.monotonic_ns()


def test_log_without_a_file_goes_to_the_log(caplog):
    caplog.set_level(logging.INFO)
    driver = log.Driver(log.Options(), "belt")
    driver.open()
    driver.apply("run", {})
    driver.close()
    assert json.loads(caplog.records[0].getMessage())["verb"] == "run"


def test_log_on_a_full_disk_recovers_when_space_returns(tmp_path):
    link = tmp_path / "commands"
    link.symlink_to("/dev/full")
    driver = log.Driver(log.Options(path=str(link)), "belt")
    driver.open()
    for _ in range(3):
        with pytest.raises(DeviceFault, match="No space left"):
            driver.apply("run", {})
    link.unlink()
    driver.open()
    driver.apply("run", {})
    driver.close()
    assert [line["verb"] for line in lines(link)] == ["run"]


# a limit on the size of files cuts a write as a full disk does, and can be removed
FILLING_UP = """
import resource, sys
from drivers.actuator import log
from drivers.base import DeviceFault
driver = log.Driver(log.Options(path=sys.argv[1]), "belt")
driver.open()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
for _ in range(2):
    try:
        driver.apply("lost", {})
    except DeviceFault as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
driver.apply("run", {})
driver.safe()
"""


def test_log_starts_a_new_line_after_a_cut_one(tmp_path):
    path = tmp_path / "commands"
    process = subprocess.run(
        [sys.executable, "-c", FILLING_UP, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert process.stdout.splitlines() == [f"{path}: disk full, the line was cut", f"{path}: File too large"]
    cut, *complete = path.read_text().splitlines()
    assert len(cut) == 30
    assert [json.loads(line)["verb"] for line in complete] == ["run", "safe"]


def test_log_in_an_absent_folder(tmp_path):
    driver = log.Driver(log.Options(path=str(tmp_path / "none" / "commands")))
    with pytest.raises(DeviceMissing, match="No such file"):
        driver.open()
    driver.close()


@pytest.mark.parametrize("name", ["sim", "log", "serial_relay"])
def test_actuators_are_loaded_by_name(name):
    assert load(f"actuator.{name}").Driver.__mro__[1].__name__ == "Actuator"


LAMP = {"channels": {"on": {3: True}, "off": {3: False}}, "safe": "off"}
ON, OFF = encode({3: True}), encode({3: False})


def test_kind_several_actuators_share_one_relay_board(board, relay, tmp_path):
    """18: also by two names of the device; the last to close releases it."""
    link = tmp_path / "by-id"
    link.symlink_to(board.url)
    belt, lamp = relay(), relay(str(link), **LAMP)
    lamp.apply("on", {})
    belt.apply("run", {})
    lamp.close()
    belt.safe()
    assert board.received(16) == ON + RUN + STOP
    with pytest.raises(DeviceMissing, match="not open"):
        lamp.safe()
    lamp.open()
    belt.close()
    lamp.safe()
    assert board.received(4) == OFF
    lamp.close()
    serial.Serial(board.url, exclusive=True).close()  # released


def test_actuators_of_one_board_never_mix_their_frames(board, relay):
    drivers = [relay(**{**LAMP, "channels": {"off": {at: False}, "on": {at: True}}}) for at in range(3, 9)]
    threads = [threading.Thread(target=lambda safe: [safe() for _ in range(50)], args=[d.safe]) for d in drivers]
    reader = []
    receiver = threading.Thread(target=lambda: reader.append(board.received(6 * 50 * 4)))
    for thread in [receiver, *threads]:
        thread.start()
    for thread in [receiver, *threads]:
        thread.join()
    frames = [reader[0][at : at + 4] for at in range(0, len(reader[0]), 4)]
    assert sorted(frames) == sorted(encode({at: False}) for at in range(3, 9) for _ in range(50))


def test_an_actuator_that_finds_its_board_again_brings_the_others_back(board, relay, tmp_path):
    link = tmp_path / "board"
    link.symlink_to(board.url)
    belt, lamp = relay(str(link)), relay(str(link), **LAMP)
    board.unplug()
    with pytest.raises(DeviceMissing, match="gone"):
        belt.safe()
    belt.close()
    with pytest.raises(DeviceMissing):
        belt.open()
    with pytest.raises(DeviceMissing, match="gone"):
        lamp.safe()
    again = Board()
    try:
        link.unlink()
        link.symlink_to(again.url)
        lamp.close()
        for driver in (belt, lamp):
            driver.open()
            driver.safe()
        assert again.received(24) == STOP * 2 + OFF * 2  # half a frame may have been on the line
    finally:
        again.unplug()


def test_half_a_frame_of_one_actuator_is_known_to_the_other(board, relay):
    belt, lamp = relay(timeout_ms=20), relay(**LAMP)
    termios.tcflow(board.near, termios.TCOOFF)
    with pytest.raises(DeviceFault, match="accepts no bytes"):
        belt.apply("run", {})
    termios.tcflow(board.near, termios.TCOON)
    lamp.safe()
    assert board.received(8) == OFF * 2


def test_one_host_serves_both_actuators_of_a_board_and_its_standby_makes_both_safe(board, tmp_path):
    """Whichever of them is first: the board gets whole frames."""
    belt = {
        "driver": "actuator.serial_relay",
        "url": board.url,
        "channels": {"stop": {1: False, 2: True}},
        "safe": "stop",
    }
    lamp = {"driver": "actuator.serial_relay", "url": board.url, **LAMP}
    actuators = {"belt": {"device": belt, "rest": "stop"}, "lamp": {"device": lamp, "rest": "off"}}
    path = tmp_path / "reflexd.yaml"
    path.write_text(json.dumps({"run_dir": str(tmp_path / "run"), "realtime": False, "actuators": actuators}))
    host = Process(tmp_path / "log", "actuate", str(path))
    assert board.received(12) in (STOP + OFF, OFF + STOP)
    host.wait_for("listens at", 2)
    host.signal(signal.SIGKILL)
    assert board.received(12) in (STOP + OFF, OFF + STOP), host.text
    host.wait_for_standby("actuator belt is safe: by the standby")
    host.wait_for_standby("actuator lamp is safe: by the standby")
