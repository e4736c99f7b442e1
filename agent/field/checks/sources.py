"""Cameras and serial lines, listened to for a moment; only those that nobody else has open. Nothing is moved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.config.models import Device
from agent.field import lanes, snapshot
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check
from agent.field.checks.devices import service_user
from agent.field.lanes import LaneNow
from drivers import base as drivers
from drivers.base import Camera, DeviceError, DriverError, Stream
from drivers.camera import _v4l2_modes as modes
from drivers.sensor.serial import open_port

LIVE = ("camera.v4l2", "camera.rtsp", "sensor.serial")
LISTEN_S = 2.0
FEWER = 0.9  # of the frames that were asked for


def checks(box: Box) -> Iterator[Check]:
    none = True
    for name, lane in box.config.lanes.items():
        if lane.source.driver in LIVE:
            none = False
            yield from _source(box, name, lane.source)
    for name, actuator in box.config.actuators.items():
        if actuator.device and actuator.device.driver == "actuator.serial_relay":
            none = False
            yield relay(name, actuator.device, snapshot.holder(Path(box.config.endpoint(name)[6:] + ".lock")))
    if none:
        yield Check("cameras, serial lines", SKIP, "the configuration names none that is real")


def _source(box: Box, name: str, device: Device) -> Iterator[Check]:
    title = f"lane {name}: {device.driver}"
    told = box.view.snapshots.get(name)
    if box.view.pid and told and told.pid == box.view.pid:  # its lane has it open, or tries to all the time
        yield _held(title, lanes.lane(name, told, None, box.view.said.get("lanes", {}).get(name, {}), box.view), device)
        return
    try:
        stream = drivers.open_source(device.driver, device.options, name)
    except (DriverError, ValidationError) as error:
        yield Check(
            title, BAD, str(error).splitlines()[0], "its lane does not start", f"reflexd check -c {box.view.path}"
        )
        return
    yield listen(title, stream, LISTEN_S)


def _held(title: str, now: LaneNow, device: Device) -> Check:
    """What the daemon gets from it."""
    if now.state == "running":
        return judge(title, now.rate_hz, float(device.options.get("fps") or 0), "the daemon has it open: ")
    return Check(title, BAD, now.why or now.state, "its lane has nothing to decide on", _advice(now.why))


def listen(title: str, stream: Stream, seconds: float) -> Check:
    """Open, count for a while, close."""
    offered = ""
    try:
        stream.open()
        offered = _offers(stream)
        hertz = count(stream, seconds)
    except (DeviceError, EOFError) as error:
        return Check(title, BAD, str(error) or "it ended", "its lane has nothing to decide on", _advice(str(error)))
    finally:
        stream.close()
    return judge(title, hertz, stream.rate_hz, offered)


def count(stream: Stream, seconds: float) -> float:
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


def _offers(stream: Any) -> str:
    """What a local camera can do."""
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
        return Check(
            title, BAD, cause, "its lane has nothing to decide on", "cable, power, baud and format: see the log"
        )
    if wanted and hertz < FEWER * wanted:
        effect = "a reflex waits for the next picture or reading, and there are fewer of them"
        mend = "more light (a dim picture is exposed longer), smaller picture, format mjpg, another USB port; baud"
        return Check(title, WARN, cause, effect, mend)
    return Check(title, GOOD, cause)


def _advice(text: str) -> str:
    """What to do about a driver's complaint."""
    if "permission" in text or "may not be opened" in text:
        group = "video" if "video" in text else "dialout"
        return f"sudo usermod -aG {group} {service_user(0)}; then: sudo systemctl restart reflexd"
    if "busy" in text or "in use" in text:
        return "sudo fuser -v DEVICE tells who has it; ModemManager: sudo systemctl mask --now ModemManager"
    return "dmesg | tail tells whether the kernel sees it"


def relay(name: str, device: Device, host: int) -> Check:
    title = f"actuator {name}: {device.driver}"
    if host:
        return Check(title, SKIP, f"'reflexd actuate', pid {host}, has it open")
    options = device.options
    try:
        port = open_port(str(options.get("url", "")), int(options.get("baud", 9600)))
    except (DeviceError, ValueError) as error:
        return Check(title, BAD, str(error), "it cannot be moved, nor made safe", _advice(str(error)))
    port.close()
    return Check(title, GOOD, f"{options.get('url')} opens; it was not moved: the doctor moves nothing")
