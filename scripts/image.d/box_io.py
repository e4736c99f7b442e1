"""Runs on the box, as root: the CAN and GPIO drivers on its kernel. One JSON line: what they did, in ms."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.benches.io import bench
from agent.benches.io import can as can_bench
from agent.benches.io import gpio as gpio_bench
from drivers import base
from drivers.actuator import can as can_actuator
from drivers.actuator import gpio as gpio_actuator
from drivers.sensor import can as can_sensor
from drivers.sensor import gpio as gpio_sensor

DEADLINE_S = 60.0  # everything takes thirty times as long as on a real one
CALLS = 200
DBC = """VERSION ""
NS_ :
BS_:
BU_: BOX

BO_ 768 STATE: 2 BOX
 SG_ speed : 0|16@1- (0.1,0) [-300|300] "rpm" BOX
"""


def until(condition: Callable[[], Any], awaited: str) -> Any:
    end = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        if time.monotonic() > end:
            sys.exit(f"box_io: not within {DEADLINE_S:g} s: {awaited}")
    return result


def require(true: bool, requirement: str) -> None:
    if not true:
        sys.exit(f"box_io: not met: {requirement}")


def opened(module: ModuleType, **options: Any) -> Any:
    driver = module.Driver(module.Options.model_validate(options), "box")
    driver.open()
    return driver


def cyclic(options: dict[str, Any]) -> None:
    """Frames while in force, the safe ones on safe, none after close; an interface that is not there."""
    driver = opened(can_actuator, **{**options, "cycle_ms": 50, "timeout_ms": 5000, "alive_ms": 5000})
    with socket.socket(socket.PF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as node:
        node.settimeout(DEADLINE_S)
        node.bind((options["channel"],))
        driver.apply("on", {})
        require([node.recv(16)[8] for _ in range(5)] == [1] * 5, "five frames of 'on'")
        driver.safe()
        until(lambda: node.recv(16)[8] == 0, "a frame of 'off'")
        require([node.recv(16)[8] for _ in range(5)] == [0] * 5, "five frames of 'off'")
        driver.close()
    try:
        opened(can_actuator, **{**options, "channel": "nosuch0"})
    except base.DeviceMissing as error:
        require("no such CAN interface" in str(error), f"an explanation: {error}")
    else:
        require(False, "an interface that is not there is missing")


def signals(options: dict[str, Any]) -> float:
    """The age of a frame's stamp when its reading arrives, ms."""
    with tempfile.TemporaryDirectory() as folder:
        dbc = Path(folder) / "box.dbc"
        dbc.write_text(DBC)
        channels = [{"message": "STATE", "signal": "speed"}]
        form = {"channel": options["channel"], "dbc": str(dbc), "rate_hz": 10, "timeout_ms": 600_000}
        driver = opened(can_sensor, **form, channels=channels)
        with socket.socket(socket.PF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as node:
            node.bind((options["channel"],))
            before = time.monotonic_ns()
            node.send(can_bench.FRAME.pack(768, 2, (123).to_bytes(2, "little")))
            sample = until(lambda: driver.read(1.0), "a reading")
        now = time.monotonic_ns()
        driver.close()
    require(sample.payload.round(3).tolist() == [[12.3]] or abs(sample.payload[0, 0] - 12.3) < 1e-4, "12.3 rpm")
    require(before - 5_000_000 <= sample.t_capture <= now, "a stamp between sending and reading")
    return float(now - sample.t_capture) / 1e6


def lines() -> float:
    """Levels, pulse, active low, edges: the age of an edge's stamp when its reading arrives, ms."""
    with gpio_bench.chip() as chip:
        verbs = {"on": {0: True, 1: True}, "off": {0: False, 1: False}}
        driver = opened(gpio_actuator, chip=chip.path, lines=verbs, safe="off", active_low=[1], pulse_ms={"on": 500})
        require([chip.level(0), chip.level(1)] == [0, 1], "safe levels at open")
        driver.apply("on", {})
        until(lambda: [chip.level(0), chip.level(1)] == [0, 1], "the end of the pulse")
        driver.close()
        gate = opened(gpio_sensor, chip=chip.path, lines=[{"line": 2}], rate_hz=0.1, timeout_ms=600_000)
        require(until(lambda: gate.read(1.0), "a look").payload.tolist() == [[0, 0]], "a low level")
        before = time.monotonic_ns()
        chip.pull(2, True)
        sample = until(lambda: gate.read(1.0), "an edge")
        now = time.monotonic_ns()
        gate.close()
    require(sample.payload.tolist() == [[1, 1]], f"one edge: {sample.payload.tolist()}")
    require(before <= sample.t_capture <= now, "a stamp between the edge and its reading")
    return float(now - sample.t_capture) / 1e6


def figures(protocol: str) -> dict[str, float] | None:
    """What `reflexd bench io` measures of one protocol."""
    row, reason = bench.measure_one(protocol, CALLS)
    require(row is not None, reason)
    return row


def main() -> None:
    result: dict[str, Any] = {}
    for name, counterpart in (("can", can_bench), ("gpio", gpio_bench)):
        if counterpart.reason():
            sys.exit(f"box_io: {name}: {counterpart.reason()}")
    with can_bench.server() as options:
        cyclic(options)
        result["can_stamp_ms"] = round(signals(options), 3)
    result["can"] = figures("can")
    try:
        result["gpio_stamp_ms"] = round(lines(), 3)
        result["gpio"] = figures("gpio")
    except OSError as error:  # this kernel makes no chip: CAN was tried all the same
        result["gpio"], result["reason"] = None, f"{error}: {kernel_says('cp2112')}"
    print(json.dumps(result))


def kernel_says(word: str) -> str:
    lines = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()
    return "; ".join([line for line in lines if word in line.lower()][-3:]) or f"the kernel says nothing of {word}"


if __name__ == "__main__":
    main()
