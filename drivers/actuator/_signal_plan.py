"""The plan of a traffic signal for vehicles and people who cross: which lamps may follow which, and after how long.

Pure: time is given. Every way to a green leads through `clear`, where all is red, and no phase has two greens, so that two
greens at a time cannot be asked for. A late call lengthens a phase and never shortens one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Lamp = Literal["vehicle_red", "vehicle_yellow", "vehicle_green", "people_red", "people_green"]
LAMPS: tuple[Lamp, ...] = get_args(Lamp)

# Lamps that are lit. In `clear` vehicles stop and people who are on the road get off it.
PHASES: dict[str, tuple[Lamp, ...]] = {
    "vehicles": ("vehicle_green", "people_red"),
    "yellow": ("vehicle_yellow", "people_red"),
    "clear": ("vehicle_red", "people_red"),
    "people": ("vehicle_red", "people_green"),
    "flash": ("vehicle_yellow",),
    "dark": (),  # the other half of flashing
}
SIDES = {"vehicles": "people", "people": "vehicles"}  # and who waits meanwhile
FLASHING = {"flash": "dark", "dark": "flash"}
FLASH_S = 0.5  # 60 a minute (MUTCD 2009: 50 to 60)


class Times(NamedTuple):
    """Seconds. green_max: 0 is for ever."""

    green_min: float
    green_max: float
    yellow: float
    all_red: float
    people_clear: float


class Plan:
    """wish: a side, `all_red` or `flash`. Whoever shows the phase tells when it stood there with `shown`."""

    def __init__(self, times: Times, now: float) -> None:
        """What the lamps show is not known: whoever has green may be on the way."""
        self.times = times
        self.phase = "yellow"
        self.since = now
        self.clear = max(times.all_red, times.people_clear)  # how long the next clearing takes
        self.wish = "all_red"
        self.owed = ""  # the side whose turn it is

    def shown(self, now: float) -> None:
        """The lamps show the phase from now on."""
        self.since = now

    def step(self, now: float) -> bool:
        """Go on to the next phase if its time has come; True when `phase` is another one, to be shown now."""
        after = self.next(now - self.since)
        if not after:
            return False
        if after == "clear" and self.phase == "people":
            self.clear = max(self.times.all_red, self.times.people_clear)
        elif after == "yellow":  # who crosses while it flashes has seen no red
            self.clear = max(self.times.all_red, self.times.people_clear if self.phase in FLASHING else 0.0)
        self.owed = "" if after == self.owed else self.owed
        self.phase, self.since = after, now
        return True

    def next(self, lasted: float) -> str:
        """The phase after this one, once this has lasted long enough; else nothing."""
        phase, times = self.phase, self.times
        if phase in SIDES:
            return ("yellow" if phase == "vehicles" else "clear") if self.over(lasted) else ""
        if phase == "yellow":
            return "clear" if lasted >= times.yellow else ""
        if phase == "clear":
            return self._after_clear() if lasted >= self.clear else ""
        if self.wish != "flash":
            return "yellow"
        return FLASHING[phase] if lasted >= FLASH_S else ""

    def _after_clear(self) -> str:
        if self.wish in SIDES:
            return self.owed or self.wish
        self.owed = ""
        return "flash" if self.wish == "flash" else ""

    def over(self, lasted: float) -> bool:
        """A green ends at once for safety; after its least time when the other side shall have it; and at its most anyway.

        It ends for the other side, which then has its turn, whatever is wished meanwhile: wishes that flicker starve nobody.
        """
        if self.wish not in SIDES:
            return True
        ended = lasted >= self.times.green_min and (self.wish != self.phase or 0 < self.times.green_max <= lasted)
        if ended:
            self.owed = SIDES[self.phase]
        return ended
