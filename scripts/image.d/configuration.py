"""The configurations and the driver that the trials write into the box."""

from __future__ import annotations

import json

from actuator import UNIT
from guest import Guest

FOLDERS = {"run_dir": "/run/reflexd", "state_dir": "/var/lib/reflexd"}

# An emulated core does a tenth of the readings of a real one: 100 a second, and deadlines to match.
ARM = {"driver": "sensor.sim_arm", "rate_hz": 100, "timeout_ms": 1000}
ROBOT = {"device": {"driver": "actuator.log", "safe": "stop"}, "verbs": ["run", "stop"], "rest": "run"}
# vivid draws its pictures on the emulated core; what it cannot keep up with, it draws without a pause between them.
CAMERA = {"driver": "camera.v4l2", "device": "/dev/video0", "width": 640, "height": 360, "fps": 10, "timeout_ms": 5000}
SIREN = {"device": {"driver": "actuator.log", "safe": "blind"}, "rest": "look"}

PATH = "[Service]\nEnvironment=PYTHONPATH=/run/drivers\n"
HANGING_DRIVER = """
import time
from drivers.sensor import sim_arm
Options = sim_arm.Options
class Driver(sim_arm.Driver):
    loaded = time.monotonic()
    def read(self, *arguments):
        if time.monotonic() - self.loaded > 10:
            time.sleep(1e6)
        return super().read(*arguments)
"""


def _rule(lane: str, label: str, actuator: str, verb: str) -> dict[str, object]:
    condition = {"lane": lane, "label": label, "score": 0.9, "hits": 2, "of": 3}
    return {"any": [condition], "actuator": actuator, "verb": verb, "hold_ms": 500, "deadline_ms": 1000}


def configure(guest: Guest, camera: bool = False) -> None:
    """The arm alone, without faults, which the emulator keeps up with; or the kernel's virtual camera beside it."""
    lanes: dict[str, object] = {"arm": {"source": ARM, "model": "arm-deviation"}}
    actuators: dict[str, object] = {"robot": ROBOT}
    rules = {"off-plan": _rule("arm", "collision", "robot", "stop")}
    if camera:
        lanes["yard"] = {"source": CAMERA, "model": "person-coarse"}
        actuators["siren"] = SIREN
        rules["person"] = _rule("yard", "person", "siren", "alarm")
    _write(guest, lanes, actuators, rules)
    guest.run("sudo -u reflexd reflexd check", timeout=300)


def _write(guest: Guest, lanes: object, actuators: object, rules: object) -> None:
    """JSON is YAML."""
    config = {"node": "trial", **FOLDERS, "lanes": lanes, "actuators": actuators, "rules": rules}
    guest.run("sudo tee /etc/reflexd/reflexd.yaml >/dev/null", stdin=json.dumps(config, indent=1))


def configure_hanging_lane(guest: Guest) -> None:
    """A lane whose driver hangs after 10 s; it is on Python's path by a drop-in that lasts until the next boot."""
    guest.run(
        "sudo mkdir -p /run/drivers/trial; sudo tee /run/drivers/trial/hanging_arm.py >/dev/null", stdin=HANGING_DRIVER
    )
    for unit in ("reflexd.service", UNIT):  # both read the configuration, and check the driver that it names
        folder = f"/run/systemd/system/{unit}.d"
        guest.run(f"sudo mkdir -p {folder}; sudo tee {folder}/trial.conf >/dev/null", stdin=PATH)
    guest.run("sudo systemctl daemon-reload", timeout=120)
    lanes = {"arm": {"source": {**ARM, "driver": "trial.hanging_arm"}, "model": "arm-deviation"}}
    _write(guest, lanes, {"robot": ROBOT}, {"off-plan": _rule("arm", "collision", "robot", "stop")})
