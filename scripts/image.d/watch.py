"""What the trials put into the box, and what they read from its actuators: lines of JSON in the journal."""

from __future__ import annotations

import json

from guest import Guest

UNIT = "reflexd-actuate.service"
FOLDERS = {"run_dir": "/run/reflexd", "state_dir": "/var/lib/reflexd"}

# An emulated core does a tenth of the readings of a real one: 100 a second, and deadlines to match.
ARM = {"driver": "sensor.sim_arm", "rate_hz": 100, "timeout_ms": 1000}
ROBOT = {"device": {"driver": "actuator.log", "safe": "stop"}, "verbs": ["run", "stop"], "rest": "run"}
LOG = {"device": {"driver": "actuator.log", "safe": "blind"}, "rest": "look"}

PATH = "[Service]\nEnvironment=PYTHONPATH=/run/drivers\n"
HANG = """
import time
from drivers.sensor import sim_arm
Options = sim_arm.Options
class Driver(sim_arm.Driver):
    born = time.monotonic()
    def read(self, *arguments):
        if time.monotonic() - self.born > 10:
            time.sleep(1e6)
        return super().read(*arguments)
"""


def _rule(lane: str, label: str, actuator: str, verb: str) -> dict[str, object]:
    seen = {"lane": lane, "label": label, "score": 0.9, "hits": 2, "of": 3}
    return {"any": [seen], "actuator": actuator, "verb": verb, "hold_ms": 500, "deadline_ms": 1000}


def _config(guest: Guest, kind: str, **arm: object) -> None:
    """camera: the virtual camera and the arm. calm: the arm alone, without faults."""
    lanes: dict[str, object] = {"arm": {"source": {**ARM, **arm}, "model": "arm-deviation"}}
    actuators: dict[str, object] = {"robot": ROBOT}
    rules = {"off-plan": _rule("arm", "collision", "robot", "stop")}
    if kind == "camera":
        lanes["yard"] = {
            "source": {
                "driver": "camera.v4l2",
                "device": "/dev/video0",
                "width": 640,
                "height": 360,
                "timeout_ms": 5000,
            },
            "model": "person-coarse",
        }
        actuators["siren"] = LOG
        rules["somebody"] = _rule("yard", "person", "siren", "alarm")
    _write(guest, lanes, actuators, rules)
    guest.ask("sudo -u reflexd reflexd check", timeout=300)


def _write(guest: Guest, lanes: object, actuators: object, rules: object) -> None:
    """JSON is YAML."""
    told = {"node": "trial", **FOLDERS, "lanes": lanes, "actuators": actuators, "rules": rules}
    guest.ask("sudo tee /etc/reflexd/reflexd.yaml >/dev/null", given=json.dumps(told, indent=1))


def _frozen_lane(guest: Guest) -> None:
    """A driver of our own, on the path by a drop-in that lasts until the next boot."""
    guest.ask("sudo mkdir -p /run/drivers/trial; sudo tee /run/drivers/trial/hanging_arm.py >/dev/null", given=HANG)
    for unit in ("reflexd.service", UNIT):  # both read the configuration, and check the driver that it names
        folder = f"/run/systemd/system/{unit}.d"
        guest.ask(f"sudo mkdir -p {folder}; sudo tee {folder}/trial.conf >/dev/null", given=PATH)
    guest.ask("sudo systemctl daemon-reload", timeout=120)
    lanes = {"arm": {"source": {**ARM, "driver": "trial.hanging_arm"}, "model": "arm-deviation"}}
    _write(guest, lanes, {"robot": ROBOT}, {"off-plan": _rule("arm", "collision", "robot", "stop")})


class Actuator:
    """Times are seconds of the guest's CLOCK_MONOTONIC, as the actuator's driver wrote them."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def now(self) -> float:
        return float(self.guest.ask("cut -d' ' -f1 /proc/uptime"))

    def started(self) -> float:
        """When its process began."""
        return float(self.guest.ask(f"systemctl show -p ExecMainStartTimestampMonotonic --value {UNIT}")) / 1e6

    def commands(self) -> list[tuple[float, str]]:
        """(time, verb) of this boot."""
        found = []
        for line in self.guest.journal(UNIT):
            text = str(line.get("MESSAGE"))
            if '"verb"' in text:
                told = json.loads(text[text.index("{") :])
                found.append((told["t_ns"] / 1e9, told["verb"]))
        return found

    def next(self, verb: str, since: float, seconds: int = 240) -> float:
        """When it first did `verb` after `since`. Raises RuntimeError when it never did."""
        for _ in range(seconds):
            times = [t for t, done in self.commands() if done == verb and t >= since]
            if times:
                return times[0]
            self.guest.ask("sleep 1")
        log = self.guest.ask("sudo journalctl -b -u 'reflexd*' -n 25 --no-pager -o short-monotonic", check=False)
        raise RuntimeError(f"the actuator did not '{verb}' within {seconds} s\n{log}")

    def reborn(self, service: str, since: float) -> float:
        """When the process began that has taken the place of one that died at `since`."""
        begun = "systemctl show -p ExecMainStartTimestampMonotonic --value {0}; systemctl is-active {0}".format(service)
        for _ in range(120):
            stamp, state = self.guest.ask(f"{begun}; true").split()[:2]
            if state == "active" and int(stamp) / 1e6 > since:
                return int(stamp) / 1e6
            self.guest.ask("sleep 1")
        raise RuntimeError(f"{service} did not come back\n{self.guest.ask(f'systemctl status {service}', check=False)}")

    def safe_from(self, since: float, until: float) -> float:
        """Seconds from `since` until it was safe; 0 where it was already. Raises RuntimeError when it was not by `until`."""
        before = [done for done in self.commands() if done[0] < until]
        if not before or before[-1][1] != "stop":
            raise RuntimeError(f"not safe before the new process began: {before[-3:]}")
        return max(0.0, before[-1][0] - since)

    def first(self, verb: str) -> float:
        return self.next(verb, 0.0)
