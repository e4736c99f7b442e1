"""The real counterpart of the MQTT drivers: a mosquitto of its own, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.benches.programs import free_port

START_S = 30.0
# As integrators should set it (2.0.11 does not by default), and no change of user, which could not read a test's files.
COMMON = ("set_tcp_nodelay true", "user root", "persistence false")


def reason() -> str:
    """Why it cannot run here; empty where it can."""
    return "" if program() else "the program mosquitto is missing: apt-get install mosquitto"


def program() -> str:
    """Debian has it in /usr/sbin, which is not in everybody's PATH."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin") or ""


@contextmanager
def server() -> Iterator[dict[str, Any]]:
    """The options of one actuator with the verbs `on` and `off`."""
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        yield {
            "driver": "actuator.mqtt",
            "host": "127.0.0.1",
            "port": broker.port,
            "topic": "bench/lamp/set",
            "messages": {"on": "ON", "off": "OFF"},
            "safe": "off",
            "subscriber_required": False,
        }


class Broker:
    """mosquitto in a child process. settings: lines of its configuration; after a restart it has the same port."""

    def __init__(self, folder: Path, settings: Sequence[str] = ("allow_anonymous true",)) -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "mosquitto.conf"
        self.file.write_text("\n".join([f"listener {self.port} 127.0.0.1", *COMMON, *settings, ""]), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def start(self) -> None:
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([program(), "-v", "-c", str(self.file)], stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"mosquitto does not start: {self.log}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
