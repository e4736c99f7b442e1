"""Movements of the box's actuator, read from its driver's lines of JSON in the journal."""

from __future__ import annotations

import json

from guest import Guest

UNIT = "reflexd-actuate.service"


class Actuator:
    """Times are seconds of the guest's CLOCK_MONOTONIC, as the actuator's driver wrote them."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def now(self) -> float:
        return float(self.guest.run("cut -d' ' -f1 /proc/uptime"))

    def started(self) -> float:
        """The start of its process."""
        return float(self.guest.run(f"systemctl show -p ExecMainStartTimestampMonotonic --value {UNIT}")) / 1e6

    def movements(self) -> list[tuple[float, str]]:
        """(time, verb) of this boot."""
        movements = []
        for line in self.guest.journal(UNIT):
            text = str(line.get("MESSAGE"))
            if '"verb"' in text:
                movement = json.loads(text[text.index("{") :])
                movements.append((movement["t_ns"] / 1e9, movement["verb"]))
        return movements

    def next(self, verb: str, since: float, seconds: int = 240) -> float:
        """The time of the first `verb` after `since`. Raises RuntimeError when there is none."""
        for _ in range(seconds):
            times = [t for t, moved in self.movements() if moved == verb and t >= since]
            if times:
                return times[0]
            self.guest.run("sleep 1")
        log = self.guest.run("sudo journalctl -b -u 'reflexd*' -n 25 --no-pager -o short-monotonic", check=False)
        raise RuntimeError(f"the actuator did not '{verb}' within {seconds} s\n{log}")

    def restarted(self, service: str, since: float) -> float:
        """The start of the service's process that replaced the one that died at `since`."""
        state = f"systemctl show -p ExecMainStartTimestampMonotonic --value {service}; systemctl is-active {service}"
        for _ in range(120):
            stamp, active = self.guest.run(f"{state}; true").split()[:2]
            if active == "active" and int(stamp) / 1e6 > since:
                return int(stamp) / 1e6
            self.guest.run("sleep 1")
        status = self.guest.run(f"systemctl status {service}", check=False)
        raise RuntimeError(f"{service} was not restarted\n{status}")

    def safe_after(self, since: float, until: float) -> float:
        """Seconds from `since` until it was safe, 0 where it was already. Raises RuntimeError: not before `until`."""
        before = [movement for movement in self.movements() if movement[0] < until]
        if not before or before[-1][1] != "stop":
            raise RuntimeError(f"not safe before the new process started: {before[-3:]}")
        return max(0.0, before[-1][0] - since)

    def first(self, verb: str) -> float:
        return self.next(verb, 0.0)
