"""A cable from each box to the actuator's box: veth pairs between network namespaces, which only root can make."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress

LOOPBACK = "loopback, no cable to cut: that needs root and ip (iproute2)"
NAMESPACES = "a network namespace for each, veth pairs as cables"


class Cables:
    """Three network namespaces, or none where that is not allowed: then all is on the loopback."""

    def __init__(self, boxes: Sequence[str]) -> None:
        self.boxes = list(boxes)
        self.made: list[str] = []
        self.real = os.geteuid() == 0 and shutil.which("ip") is not None
        if self.real:
            try:
                self._make()
            except subprocess.CalledProcessError:  # in a container without the right to
                self.close()
                self.real = False

    def _make(self) -> None:
        for name in ("host", *self.boxes):
            _ip("netns", "add", self.namespace(name))
            self.made.append(name)
            _ip("-n", self.namespace(name), "link", "set", "lo", "up")
        host = self.namespace("host")
        for number, box in enumerate(self.boxes, 1):
            here, there = _end(box), self.namespace(box)
            _ip("link", "add", "name", here, "netns", host, "type", "veth", "peer", "name", "cable", "netns", there)
            _ip("-n", host, "addr", "add", f"10.231.{number}.1/24", "dev", here)
            _ip("-n", there, "addr", "add", f"10.231.{number}.2/24", "dev", "cable")
            _ip("-n", there, "link", "set", "cable", "up")
            _ip("-n", host, "link", "set", "dev", here, "up")

    def namespace(self, name: str) -> str:
        return f"reflexd-{os.getpid()}-{name}"

    def prefix(self, name: str) -> list[str]:
        """Before a command that runs there."""
        return ["ip", "netns", "exec", self.namespace(name)] if self.real else []

    def host_of(self, box: str) -> str:
        """The actuator's address, as this box reaches it."""
        return f"10.231.{self.boxes.index(box) + 1}.1" if self.real else "127.0.0.1"

    def set(self, box: str, state: str) -> None:
        """state: "up" or "down", at the actuator's end."""
        _ip("-n", self.namespace("host"), "link", "set", "dev", _end(box), state)

    def close(self) -> None:
        """The veth pairs go with their namespaces."""
        for name in self.made:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self.namespace(name))
        self.made.clear()


def _end(box: str) -> str:
    """The actuator's end of a box's cable."""
    return f"to-{box}"


def _ip(*arguments: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
