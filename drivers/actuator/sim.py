"""A simulated actuator: accepts any verb, has a reaction time, and fails on a schedule."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Literal, NamedTuple

from pydantic import Field

from agent.data import Arguments
from drivers.base import Actuator, DeviceFault, DriverOptions
from drivers.faults import Fault, Faults

log = logging.getLogger(__name__)
JAM_STEP_S = 0.001


class ActuatorFault(Fault):
    """stuck: a movement ends when the fault ends. refuse: an error status at once. unplug: device missing."""

    kind: Literal["unplug", "stuck", "refuse"]


class Options(DriverOptions):
    """Reaction time, safe state and faults of the simulated actuator."""

    reaction_ms: float = Field(0.0, ge=0, le=10_000, description="duration of a movement")
    safe: str = Field("stop", min_length=1, description="the verb of the safe state")
    history: int = Field(1000, ge=1, le=1_000_000, description="number of movements kept in `history`")
    faults: tuple[ActuatorFault, ...] = Field((), description="faults on a schedule")


class Movement(NamedTuple):
    """A completed command. t_applied: monotonic ns, when it was complete."""

    t_applied: int
    verb: str
    arguments: dict[str, bool | int | float | str]


class Driver(Actuator):
    """history: the newest movements, oldest first, also after close. state: the newest, None before the first."""

    second_process_safe = False  # the simulated device ends with its process

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.deadline_ms += options.reaction_ms
        self.faults = Faults(options.faults, name, "actuator")
        self.history: deque[Movement] = deque(maxlen=options.history)
        self.state: Movement | None = None

    def open(self) -> None:
        self.faults.start(time.monotonic_ns())
        self.faults.require_plugged(time.monotonic_ns())

    def apply(self, verb: str, arguments: Arguments) -> None:
        if "refuse" in self.faults.require_plugged(time.monotonic_ns()):
            raise DeviceFault(f"{self.name}: the simulated actuator refuses '{verb}'")
        if self.options.reaction_ms:  # even a sleep of 0 costs the timer slack of 50 us
            time.sleep(self.options.reaction_ms / 1e3)
        while "stuck" in self.faults.active(time.monotonic_ns()):
            time.sleep(JAM_STEP_S)
        self.faults.require_plugged(time.monotonic_ns())
        self._record(Movement(time.monotonic_ns(), verb, dict(arguments)))

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        pass

    def _record(self, movement: Movement) -> None:
        if self.state is None or movement[1:] != self.state[1:]:
            log.info("%s: %s%s", self.name, movement.verb, f" {movement.arguments}" if movement.arguments else "")
        self.state = movement
        self.history.append(movement)
