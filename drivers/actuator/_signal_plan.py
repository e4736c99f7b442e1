"""The phase plan of a traffic signal for vehicles and pedestrians: which phase may follow which, and after how long.

Pure: the caller gives the time. Every path to a green leads through `clear`, where all lamps are red, and no phase has
two greens, so that two greens at a time are impossible. A late call lengthens a phase and never shortens one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Lamp = Literal["vehicle_red", "vehicle_yellow", "vehicle_green", "people_red", "people_green"]
LAMPS: tuple[Lamp, ...] = get_args(Lamp)

# The lit lamps. In `clear` vehicles wait and people leave the road.
PHASES: dict[str, tuple[Lamp, ...]] = {
    "vehicles": ("vehicle_green", "people_red"),
    "yellow": ("vehicle_yellow", "people_red"),
    "clear": ("vehicle_red", "people_red"),
    "people": ("vehicle_red", "people_green"),
    "flash": ("vehicle_yellow",),
    "dark": (),  # the other half of flashing
}
SIDES = {"vehicles": "people", "people": "vehicles"}  # each with the side that waits meanwhile
FLASHING = {"flash": "dark", "dark": "flash"}
FLASH_S = 0.5  # 60 a minute (MUTCD 2009: 50 to 60)


class Times(NamedTuple):
    """Seconds. green_max: 0 is unlimited."""

    green_min: float
    green_max: float
    yellow: float
    all_red: float
    people_clear: float


class Plan:
    """request: a side, `all_red` or `flash`. since: set it when the lamps of the phase are actually lit."""

    def __init__(self, times: Times, now: float) -> None:
        """The state of the lamps is not known: a side with green may be moving."""
        self.times = times
        self.phase = "yellow"
        self.since = now
        self.clear = max(times.all_red, times.people_clear)  # duration of the next `clear`
        self.request = "all_red"
        self.next_side = ""  # the side that is entitled to the next green

    def step(self, now: float) -> bool:
        """Changes to the next phase if it is due; True when `phase` has changed and must be shown now."""
        after = self._next_phase(now - self.since)
        if not after:
            return False
        if after == "clear" and self.phase == "people":
            self.clear = max(self.times.all_red, self.times.people_clear)
        elif after == "yellow":  # people who cross while it flashes have had no red
            self.clear = max(self.times.all_red, self.times.people_clear if self.phase in FLASHING else 0.0)
        self.next_side = "" if after == self.next_side else self.next_side
        self.phase, self.since = after, now
        return True

    def _next_phase(self, lasted: float) -> str:
        """The phase after this one, once it has lasted long enough; else ""."""
        phase, times = self.phase, self.times
        if phase in SIDES:
            return ("yellow" if phase == "vehicles" else "clear") if self._green_ends(lasted) else ""
        if phase == "yellow":
            return "clear" if lasted >= times.yellow else ""
        if phase == "clear":
            return self._after_clear() if lasted >= self.clear else ""
        if self.request != "flash":
            return "yellow"
        return FLASHING[phase] if lasted >= FLASH_S else ""

    def _after_clear(self) -> str:
        if self.request in SIDES:
            return self.next_side or self.request
        self.next_side = ""
        return "flash" if self.request == "flash" else ""

    def _green_ends(self, lasted: float) -> bool:
        """A green ends at once for safety; after green_min for the other side's request; at green_max in any case.

        The other side then gets the next green, whatever is requested meanwhile: no side starves by alternating
        requests.
        """
        if self.request not in SIDES:
            return True
        ends = lasted >= self.times.green_min and (self.request != self.phase or 0 < self.times.green_max <= lasted)
        if ends:
            self.next_side = SIDES[self.phase]
        return ends
