"""The newest evidence of every lane, and the rules over it: fusion without a hop to another thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from agent.data import Decision, Evidence
from agent.rules.engine import Rules


class Scene:
    """Shared by all lanes. The lane that has the newest evidence runs the rules, on its own thread."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.time = 0
        self.inferences = 0
        self.order: dict[str, int] = {}  # of each lane's newest inference among those of all lanes
        # Held for the few microseconds of the rules, never across I/O.
        self.lock = threading.Lock()

    def decide(self, lane: str, t_capture: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """Add one inference of a lane, also an empty one; return what changes for the actuators.

        Time is the newest capture time so far, so a slower lane never turns it back.
        """
        with self.lock:
            self.time = max(self.time, t_capture)
            self.inferences += 1
            self.order[lane] = self.inferences
            return self.rules.decide(lane, self.time, t_capture, evidence)

    def replace(self, rules: Rules) -> None:
        """Other rules from the next evidence on."""
        with self.lock:
            rules.carry_over(self.rules)
            self.rules = rules

    def current(self, actuator: str) -> Decision | None:
        """The decision in force, for heart-beats."""
        return self.rules.in_force.get(actuator)

    def withdraw(self, decision: Decision) -> None:
        """It was not sent: decide again with the next sample."""
        with self.lock:
            if self.rules.in_force.get(decision.actuator) is decision:
                del self.rules.in_force[decision.actuator]
