"""Two boxes, an actuator's box, and the files of all three."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent import keys
from agent.benches.programs import free_port, stop
from agent.benches.twins.cables import Cables
from agent.benches.twins.events import Events
from agent.commands import boxes
from agent.isolated import python

BOXES = ("a", "b")
# Of the second box, throughout: it has booted seven seconds before the others, say, and its quartz is a cheap one.
CLOCKS = {"a": ("0", "0"), "b": ("7", "100")}
ROBOT, LAMP = "robot", "lamp"
DEVICES = {  # actuator: (verb at rest, verb of an event, strongest)
    ROBOT: ("run", "stop", ["stop"]),
    LAMP: ("off", "on", []),
}
SAFE, SAFE_AFTER_MS = "safe", 100.0
RESTART_S, RETURN_S, POLL_S = 0.5, 60.0, 0.02
STOPPED_S, CUT_S = (0.3, 1.0), (0.5, 1.5)  # longer than a silence
ENDS = "reflexd actuate ends"
KILL, STOP, CUT = "killed", "stopped", "cable cut"


class Site:
    """Everything runs from `start` to `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cables = Cables(BOXES)
        self.events = Events(folder / "events", create=True)
        self.chance = random.Random(0)
        self.ports = {actuator: free_port() for actuator in DEVICES}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.log = open(folder / "log", "ab")  # noqa: SIM115 open as long as processes write to it
        self._write()

    @property
    def kinds(self) -> list[str]:
        return [KILL, STOP, CUT] if self.cables.real else [KILL, STOP]

    def record(self, actuator: str) -> Path:
        return self.folder / f"{actuator}.jsonl"

    def _write(self) -> None:
        """Keys, the model, and three configurations."""
        authorized = self.folder / "authorized"
        authorized.mkdir()
        for name in ("host", *BOXES):
            public, _ = keys.make(self.folder / "keys", name)
            if name != "host":
                shutil.copy(public, authorized)
        _write_model(self.folder / "eye")
        for name in ("host", *BOXES):
            config = self._host() if name == "host" else self._box(name)
            (self.folder / f"{name}.yaml").write_text(json.dumps(config), encoding="utf-8")

    def _common(self, name: str) -> dict[str, Any]:
        own = {"own": str(self.folder / f"keys/{name}.key_secret")}
        folders = {"run_dir": str(self.folder / f"run-{name}"), "state_dir": str(self.folder / f"state-{name}")}
        (self.folder / f"run-{name}").mkdir()
        return {"node": name, **folders, "recorder": {"enabled": False}, "keys": own}

    def _host(self) -> dict[str, Any]:
        config = self._common("host")
        config["keys"]["authorized"] = str(self.folder / "authorized")
        config["actuators"] = {
            actuator: {
                "device": {"driver": "actuator.log", "path": str(self.record(actuator)), "safe": SAFE},
                "endpoint": f"tcp://{'0.0.0.0' if self.cables.real else '127.0.0.1'}:{self.ports[actuator]}",
                "boxes": list(BOXES),
                "senders": [f"{box}/eye" for box in BOXES],
                "strongest": strongest,
                "rest": rest,
                "verbs": [rest, verb],
                "safe_after_ms": SAFE_AFTER_MS,
            }
            for actuator, (rest, verb, strongest) in DEVICES.items()
        }
        return config

    def _box(self, name: str) -> dict[str, Any]:
        source = {"driver": "agent.benches.twins.sensor", "path": str(self.folder / "events"), "timeout_ms": 200}
        seen = {"lane": "eye", "label": "seen", "score": 0.5}
        server_key = str(self.folder / "keys/host.key")
        actuators = {
            actuator: {
                "endpoint": f"tcp://{self.cables.host_of(name)}:{self.ports[actuator]}",
                "server_key": server_key,
                "rest": rest,
                "verbs": [rest, verb],
                "safe_after_ms": SAFE_AFTER_MS,
            }
            for actuator, (rest, verb, _) in DEVICES.items()
        }
        rules = {actuator: {"any": [seen], "actuator": actuator, "verb": DEVICES[actuator][1]} for actuator in DEVICES}
        lane = {"source": source, "model": str(self.folder / "eye"), "budget_ms": 10}
        parts = {"lanes": {"eye": lane}, "actuators": actuators, "rules": rules}
        return {**self._common(name), "workers": 0, **parts}  # the clock is that of the daemon's own process

    def start(self) -> None:
        """Until both boxes are alive at every actuator. Raises RuntimeError."""
        self._spawn("host", self.cables.prefix("host") + python("agent", "actuate", "-c", str(self._config("host"))))
        for box in BOXES:
            self._start_box(box)
        self.wait_for_boxes()

    def _config(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def _start_box(self, box: str) -> None:
        cores = sorted(os.sched_getaffinity(0))
        core = cores[BOXES.index(box) % len(cores)]
        module = python("agent.benches.twins.box", str(core), *CLOCKS[box], "run", "-c", str(self._config(box)))
        self._spawn(box, self.cables.prefix(box) + module)

    def _spawn(self, name: str, command: list[str]) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self.processes[name] = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def wait_for_boxes(self) -> None:
        """Raises RuntimeError."""
        end = time.monotonic() + RETURN_S
        while not all(map(self._both_alive, DEVICES)):
            if time.monotonic() > end:
                raise RuntimeError(
                    f"not all boxes are alive within {RETURN_S:g} s; the end of their log:\n{self.tail()}"
                )
            time.sleep(POLL_S)

    def _both_alive(self, actuator: str) -> bool:
        said = boxes.read(self.folder / "run-host", actuator)
        return said is not None and all(box.alive for box in said.state.boxes)

    def tail(self) -> str:
        return "\n".join((self.folder / "log").read_text(errors="replace").splitlines()[-12:])

    def reasons(self) -> list[str]:
        """Why an actuator went safe, and which box was missing before, from the log."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [line for line in lines if " is safe: " in line and ENDS not in line]

    def harm(self, kind: str, box: str) -> None:
        """It dies in this way and returns; until it is alive again. Raises RuntimeError."""
        harms: dict[str, Callable[[str], None]] = {KILL: self._kill, STOP: self._stop, CUT: self._cut}
        harms[kind](box)
        self.wait_for_boxes()

    def _kill(self, box: str) -> None:
        self.processes[box].kill()
        self.processes[box].wait()
        time.sleep(RESTART_S)
        self._start_box(box)

    def _stop(self, box: str) -> None:
        self.processes[box].send_signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(*STOPPED_S))
        self.processes[box].send_signal(signal.SIGCONT)

    def _cut(self, box: str) -> None:
        self.cables.set(box, "down")
        time.sleep(self.chance.uniform(*CUT_S))
        self.cables.set(box, "up")

    def close(self) -> None:
        """The actuator's box last: the boxes leave in order."""
        for name in reversed(self.processes):
            if self.processes[name].poll() is None:
                self.processes[name].send_signal(signal.SIGCONT)
            stop(self.processes[name])
        self.cables.close()
        self.log.close()


def _write_model(folder: Path) -> None:
    """The score of `seen` is the sigmoid of the newest reading."""
    folder.mkdir()
    model = b"input: [1, 1, 1]\n"
    (folder / "window.yaml").write_bytes(model)
    manifest = {
        "version": "1.0.0",
        "licence": "Apache-2.0",
        "file": "window.yaml",
        "sha256": hashlib.sha256(model).hexdigest(),
        "backend": "signal",
        "decoder": "sequence",
        "options": {"activation": "sigmoid"},
        "labels": ["seen"],
        "budget_ms": 10.0,
        "data": "none: the newest reading is the answer",
        "window": {"channels": ["seen"], "length": 1, "mean": [0.0], "std": [1.0]},
    }
    (folder / "manifest.yaml").write_text(json.dumps(manifest), encoding="utf-8")
