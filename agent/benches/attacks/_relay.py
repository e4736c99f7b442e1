"""A relay board on a pseudo-terminal, and the processes that switch it on: what an attack on them is measured at."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.benches.programs import SENSOR_MODEL, stop
from agent.isolated import python

ON, OFF = bytes.fromhex("a00101a2"), bytes.fromhex("a00100a1")
START_S, END_S = 60.0, 20.0
SAFE_AFTER_MS = 100.0


class AttackFailed(Exception):
    """A repetition went otherwise than it must; the text says how."""


class Relay:
    """frames: (time of arrival in monotonic ns, four bytes), oldest first."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()  # the near end stays open: a terminal without any would hang up
        tty.setraw(self.near)
        self.url = os.ttyname(self.near)
        self.frames: list[tuple[int, bytes]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        received = b""
        with suppress(OSError):
            while data := os.read(self.far, 4096):
                now = time.monotonic_ns()
                received += data
                self.frames += [(now, received[at : at + 4]) for at in range(0, len(received) - 3, 4)]
                received = received[len(received) // 4 * 4 :]

    def first(self, frame: bytes, since: int) -> int:
        """When it came first from then on, ns; 0: not yet."""
        return next((t for t, each in list(self.frames) if each == frame and t >= since), 0)

    def wait_for(self, frame: bytes, since: int, seconds: float) -> int:
        """As `first`. Raises AttackFailed."""
        return wait(lambda: self.first(frame, since), seconds, f"no frame {frame.hex(' ')}")

    def close(self) -> None:
        os.close(self.near)
        os.close(self.far)


def wait(condition: Callable[[], int], seconds: float, missing: str) -> int:
    """The first true value. Raises AttackFailed."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AttackFailed(f"{missing} within {seconds:g} s")
        time.sleep(0.002)
    return value


class Site:
    """A folder with a configuration: the daemon keeps the relay on, as long as its host and it are alive."""

    def __init__(self, folder: Path, driver: str = "actuator.serial_relay") -> None:
        self.folder = folder
        self.relay = Relay()
        self.path = folder / "relay.yaml"
        self.path.write_text(json.dumps(self._configuration(driver)), encoding="utf-8")
        self.log = open(folder / "log", "ab")  # noqa: SIM115 open as long as processes write to it

    def _configuration(self, driver: str) -> dict[str, object]:
        device = {"driver": driver, "url": self.relay.url, "channels": {"on": {1: True}, "off": {1: False}}}
        never = {"lane": "arm", "label": "deviation", "score": 1.0, "hits": 1000, "of": 1000}
        return {
            "node": "bench",
            "run_dir": str(self.folder / "run"),
            "state_dir": str(self.folder),
            "recorder": {"enabled": False},
            "lanes": {"arm": {"source": {"driver": "sensor.sim_arm", "rate_hz": 200}, "model": SENSOR_MODEL}},
            "actuators": {"relay": {"device": {**device, "safe": "off"}, "rest": "on", "safe_after_ms": SAFE_AFTER_MS}},
            "rules": {"never": {"any": [never], "actuator": "relay", "verb": "off"}},
        }

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """`reflexd run` or `actuate`. A driver may be in the folder."""
        folders = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        arguments = python("agent", command, "-c", str(self.path))
        return subprocess.Popen(arguments, env=environment, stdout=self.log, stderr=self.log)

    def close(self, *processes: subprocess.Popen[bytes]) -> None:
        for process in processes:
            stop(process)
        self.log.close()
        self.relay.close()


def standby_of(host: subprocess.Popen[bytes]) -> int:
    """Its process id; 0 where there is none."""
    with suppress(OSError):
        return int((Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text() + " 0").split()[0])
    return 0


def is_running(pid: int) -> bool:
    """Not dead, and no zombie either."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
