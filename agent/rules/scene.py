"""The rules over the evidence of all lanes, run on the lanes' own threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from agent.data import Decision, Evidence
from agent.rules.engine import Rules


class Scene:
    """Shared by all lanes. A lane with new evidence runs the rules itself: no hop to another thread."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.time = 0
        self.inferences = 0
        self.order: dict[str, int] = {}  # lane -> number of its newest inference among those of all lanes
        # Held for the few microseconds of the rules, never across I/O.
        self.lock = threading.Lock()

    def decide(self, lane: str, t_capture: int, evidence: Sequence[Evidence]) -> list[Decision]:
        """Add one inference of a lane, also one without evidence; return the new decisions.

        Time is the newest capture time so far, so a slower lane never turns it back.
        """
        with self.lock:
            self.time = max(self.time, t_capture)
            self.inferences += 1
            self.order[lane] = self.inferences
            return self.rules.decide(lane, self.time, t_capture, evidence)

    def replace(self, rules: Rules) -> None:
        """Use these rules from the next evidence on."""
        with self.lock:
            rules.carry_over(self.rules)
            self.rules = rules

    def current(self, actuator: str) -> Decision | None:
        """The decision in force, for heartbeats."""
        return self.rules.in_force.get(actuator)

    def withdraw(self, decision: Decision) -> None:
        """Not sent: decide again with the next sample."""
        with self.lock:
            if self.rules.in_force.get(decision.actuator) is decision:
                del self.rules.in_force[decision.actuator]
