"""A network of its own for a site on this machine: a namespace for each box, a cable from each to one switch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from agent.errors import DataError

PORT = 7447


class Network:
    """Needs root. Nothing of it is seen from outside its namespaces."""

    def __init__(self) -> None:
        """Raises DataError where this machine makes no namespaces."""
        self._prefix = f"rfx{os.getpid()}"
        self._spaces: list[str] = []
        self._ports: dict[str, str] = {}
        if os.geteuid():
            raise DataError("network namespaces need root")
        self.hub = self._space("hub")
        self.bridge("br0")

    def bridge(self, name: str) -> None:
        """A switch."""
        self._ip("-n", self.hub, "link", "add", name, "type", "bridge")
        self._ip("-n", self.hub, "link", "set", name, "up")

    def box(self, name: str) -> str:
        """A namespace with a cable to the first switch; its address."""
        number = len(self._ports) + 1
        space, port, address = self._space(name), f"p{number}", f"10.77.0.{number}"
        self._ip("link", "add", port, "netns", self.hub, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        self._ip("-n", space, "link", "set", "eth0", "up")
        self._ports[name] = port
        self.plug(name, "br0")
        return address

    def plug(self, name: str, switch: str) -> None:
        """The other end of a box's cable."""
        self._ip("-n", self.hub, "link", "set", self._ports[name], "master", switch, "up")

    def cable(self, name: str, whole: bool) -> None:
        self._ip("-n", self.hub, "link", "set", self._ports[name], "up" if whole else "down")

    def deaf(self, name: str, deaf: bool) -> None:
        """What others send to it is lost, and what it sends arrives: a half-open link. The switch forgets its port."""
        state = "off" if deaf else "on"
        settings = [word for kind in ("learning", "flood", "mcast_flood", "bcast_flood") for word in (kind, state)]
        port = self._ports[name]
        self._ip("-n", self.hub, "link", "set", port, "type", "bridge_slave", *settings, "fdb_flush")

    def space(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def prefix(self, name: str) -> list[str]:
        """Of a command that runs in the namespace of a box."""
        return ["ip", "netns", "exec", self.space(name)]

    def _space(self, name: str) -> str:
        space = self.space(name)
        self._ip("netns", "add", space)
        self._spaces.append(space)
        self._ip("-n", space, "link", "set", "lo", "up")
        return space

    def _ip(self, *arguments: str) -> None:
        self._run("ip", *arguments)

    def _run(self, *command: str) -> None:
        """Raises DataError."""
        try:
            subprocess.run(command, check=True, capture_output=True)
        except OSError as error:
            raise DataError(f"{command[0]}: {error.strerror}: apt-get install iproute2") from error
        except subprocess.CalledProcessError as error:
            raise DataError(f"{' '.join(command)}: {error.stderr.decode(errors='replace').strip()}") from error

    def close(self) -> None:
        for space in self._spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


@contextmanager
def network() -> Iterator[Network]:
    """Raises DataError."""
    made = Network()
    try:
        yield made
    finally:
        made.close()
