"""Cameras and serial lines, each read for a moment unless another program has it open. No actuator is moved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from agent import redact
from agent.config.models import Device
from agent.field.actuators import host_of
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check
from agent.field.checks.devices import service_user
from agent.field.lanes import LaneStatus, lane_status
from drivers import base as drivers
from drivers.base import Camera, DeviceError, DriverError, Stream
from drivers.camera import _v4l2_modes as modes
from drivers.sensor.serial import open_port

LIVE = ("camera.v4l2", "camera.rtsp", "sensor.serial")
MEASURE_S = 2.0
FEWEST = 0.9  # of the wanted rate
NO_INPUT = "its lane has no input to decide on"


def checks(box: Box) -> Iterator[Check]:
    lanes = {name: lane for name, lane in box.config.lanes.items() if lane.source.driver in LIVE}
    relays = {
        name: actuator.device
        for name, actuator in box.config.actuators.items()
        if actuator.device and actuator.device.driver == "actuator.serial_relay"
    }
    for name, lane in lanes.items():
        yield _source(box, name, lane.source)
    for name, device in relays.items():
        yield relay(name, device, host_of(name, box.config.endpoint(name), box.view.run_dir))
    if not lanes and not relays:
        yield Check("cameras, serial lines", SKIP, "the configuration names only simulated ones, or none")


def _source(box: Box, name: str, device: Device) -> Check:
    title = f"lane {name}: {device.driver}"
    ledger = box.view.ledgers.get(name)
    if ledger and box.view.of_daemon(ledger):  # its lane has it open, or tries to all the time
        return _from_lane(title, lane_status(name, box.view), device)
    try:
        stream = drivers.open_source(device.driver, device.options, name)
    except (DriverError, ValidationError) as error:
        fix = f"reflexd check -c {box.view.path}"
        return Check(title, BAD, redact.lines(error)[0], "its lane does not start", fix)
    return measure(title, stream, MEASURE_S)


def _from_lane(title: str, lane: LaneStatus, device: Device) -> Check:
    """Judged by the rate at which the daemon reads it."""
    if lane.state == "running":
        return judge(title, lane.rate_hz, float(device.options.get("fps") or 0), "the daemon has it open: ")
    return Check(title, BAD, lane.reason or lane.state, NO_INPUT, _advice(lane.reason))


def measure(title: str, stream: Stream, seconds: float) -> Check:
    """Open, count samples for some seconds, close."""
    mode = ""
    try:
        stream.open()
        mode = _modes(stream)
        hertz = measure_rate(stream, seconds)
    except (DeviceError, EOFError) as error:
        return Check(title, BAD, str(error) or "it ended", NO_INPUT, _advice(str(error)))
    finally:
        stream.close()
    return judge(title, hertz, stream.rate_hz, mode)


def measure_rate(stream: Stream, seconds: float) -> float:
    """Pictures or readings a second. The first ones of a camera come late, so the clock starts with the first."""
    first, last, samples, end = 0, 0, 0, time.monotonic() + 2 * seconds
    while time.monotonic() < end:
        sample = stream.read(0.1)
        if sample is None:
            continue
        if not first:
            first, end = sample.t_capture, time.monotonic() + seconds
            continue
        samples += sample.skipped + (1 if isinstance(stream, Camera) else len(sample.payload))
        last = sample.t_capture
    return samples / ((last - first) / 1e9) if samples and last > first else 0.0


def _modes(stream: Any) -> str:
    """The mode that a local camera was set to, and those that it offers."""
    if not hasattr(stream, "queue"):
        return ""
    try:
        offered = modes.offers(stream.fd, stream.width, stream.height)
    except OSError:
        return ""
    return f"{stream.width}x{stream.height} {stream.format} of: {modes.describe(offered)}; "


def judge(title: str, hertz: float, wanted: float, before: str = "") -> Check:
    cause = f"{before}{hertz:.1f} a second" + (f", {wanted:g} wanted" if wanted else "")
    if hertz <= 0:
        return Check(title, BAD, cause, NO_INPUT, "check cable, power, baud and format; see the log")
    if wanted and hertz < FEWEST * wanted:
        effect = "a reflex waits for the next picture or reading, and there are fewer of them"
        fix = "more light (a dim picture is exposed longer), smaller picture, format mjpg, another USB port; baud"
        return Check(title, WARN, cause, effect, fix)
    return Check(title, GOOD, cause)


def _advice(text: str) -> str:
    """How to fix a driver's error."""
    if "permission" in text or "may not be opened" in text:
        group = "video" if "video" in text else "dialout"
        return f"sudo usermod -aG {group} {service_user(0)}; then: sudo systemctl restart reflexd"
    if "busy" in text or "in use" in text:
        return "sudo fuser -v DEVICE names the program; ModemManager: sudo systemctl mask --now ModemManager"
    return "dmesg | tail shows whether the kernel detects it"


def relay(name: str, device: Device, host: int) -> Check:
    """host: pid of the process that serves it, 0 for none."""
    title = f"actuator {name}: {device.driver}"
    if host:
        return Check(title, SKIP, f"'reflexd actuate', pid {host}, has it open")
    url = str(device.options.get("url", ""))
    try:
        port = open_port(url, int(device.options.get("baud", 9600)))
    except (DeviceError, ValueError) as error:
        return Check(title, BAD, str(error), "it cannot be moved, nor made safe", _advice(str(error)))
    port.close()
    return Check(title, GOOD, f"{url} opens; it was not moved: the doctor moves nothing")
