"""The newest evidence of every lane, and the rules over it: fusion without a hop to another thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from agent.data import Decision, Evidence
from agent.rules import Rules


class Scene:
    """Shared by all lanes. The lane that brings the newest evidence runs the rules, on its own thread."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.time = 0
        self.brought = 0
        self.order: dict[str, int] = {}  # of each lane's newest inference among those of all lanes
        # Held for the few microseconds of the rules, never across I/O.
        self.lock = threading.Lock()

    def bring(self, lane: str, t_capture: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """Take in one inference of a lane, also an empty one; return what changes for the actuators.

        Time is the newest capture time seen, so a slower lane never turns it back.
        """
        with self.lock:
            self.time = max(self.time, t_capture)
            self.brought += 1
            self.order[lane] = self.brought
            return self.rules.decide(lane, self.time, t_capture, evidence)

    def replace(self, rules: Rules) -> None:
        """Other rules from the next evidence on."""
        with self.lock:
            rules.adopt(self.rules)
            self.rules = rules

    def current(self, actuator: str) -> Decision | None:
        """The decision in force, for heart-beats."""
        return self.rules.in_force.get(actuator)

    def forget(self, decision: Decision) -> None:
        """It was not sent: decide anew with the next sample."""
        with self.lock:
            if self.rules.in_force.get(decision.actuator) is decision:
                del self.rules.in_force[decision.actuator]
