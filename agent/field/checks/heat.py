"""Is the board too hot, and is it slowed down because of it?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, read_number, read_text
from drivers.board import _readings as readings

NEAR_C = 5.0
WARM_C, HOT_C = 85.0, 100.0  # where the kernel knows no trip points
COOLING = "the kernel slows the cores down to cool them: inference takes longer"
FIX = "clean the fan and the heat sink, shade the cabinet; sudo nvpmodel -m to a smaller mode (Jetson)"


class Zone(NamedTuple):
    """A thermal zone, C. passive: where it slows down; hot: where it switches off; infinity without such a trip."""

    name: str
    now: float
    passive: float
    hot: float


def checks(box: Box) -> Iterator[Check]:
    yield temperature(box)
    yield cooling(box)
    yield counters(box)


def _zones(box: Box) -> Iterator[Zone]:
    for folder in box.glob("sys/class/thermal/thermal_zone*"):
        now = read_number(folder / "temp") / 1000
        if not readings.COLDEST_C < now < readings.HOTTEST_C:
            continue
        trips: dict[str, float] = {}
        for file in folder.glob("trip_point_*_type"):
            kind, limit = read_text(file), read_number(file.with_name(file.name.replace("_type", "_temp"))) / 1000
            if limit > 0:  # 0 and below: switched off
                trips[kind] = min(limit, trips.get(kind, math.inf))
        hot = min(trips.get("hot", math.inf), trips.get("critical", math.inf))
        yield Zone(f"{folder.name[12:]} {read_text(folder / 'type')}", now, trips.get("passive", math.inf), hot)


def temperature(box: Box) -> Check:
    zones = list(_zones(box))
    hottest = readings.temperatures(box.root).get("temperature_c", math.nan)
    if math.isnan(hottest):
        return Check("temperature", SKIP, "no sensor known to the kernel")
    for zone in zones:
        if zone.now > zone.hot - NEAR_C:
            cause = f"zone {zone.name} {zone.now:.1f} C, switches off at {zone.hot:.0f} C"
            return Check("temperature", BAD, cause, "this box switches off", FIX)
        if zone.now > zone.passive - NEAR_C:
            cause = f"zone {zone.name} {zone.now:.1f} C, slows down at {zone.passive:.0f} C"
            return Check("temperature", WARN, cause, COOLING, FIX)
    cause = f"the hottest sensor reads {hottest:.1f} C"
    if all(math.isinf(zone.passive) and math.isinf(zone.hot) for zone in zones):
        if hottest > HOT_C:
            return Check("temperature", BAD, cause, "this box may switch off", FIX)
        if hottest > WARM_C:
            return Check("temperature", WARN, cause, COOLING, FIX)
    return Check("temperature", GOOD, cause)


def cooling(box: Box) -> Check:
    """A fan that turns is normal; a core that is slowed down is a warning."""
    active, known = [], False
    for device in box.glob("sys/class/thermal/cooling_device*"):
        kind = read_text(device / "type")
        if not re.search(r"processor|cpu|gpu|devfreq|throttle", kind, re.IGNORECASE):
            continue
        known = True
        if read_number(device / "cur_state") > 0:
            active.append(f"{kind} {read_text(device / 'cur_state')} of {read_text(device / 'max_state')}")
    if not known:
        return Check("throttling", SKIP, "no device that the kernel could slow down")
    if active:
        return Check("throttling", WARN, "now: " + ", ".join(active), COOLING, FIX)
    return Check("throttling", GOOD, "nothing is slowed down now")


def counters(box: Box) -> Check:
    """Events since boot: Intel's counters, Raspberry Pi's flags, Jetson's over-current events."""
    counts = readings.throttling(box.root)
    current = {file.name: read_number(file) for file in box.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")}
    if not counts and not current:
        return Check("throttled before", SKIP, "not counted by the kernel here")
    events = [f"{counts['throttle_count']:.0f} thermal events"] if counts.get("throttle_count") else []
    events += ["under-voltage or heat, now (vcgencmd get_throttled)"] if counts.get("throttled") else []
    events += [f"{count:.0f} over-current events ({name})" for name, count in current.items() if count > 0]
    if events:
        effect = "while it lasts, cores and GPU run at a low clock"
        return Check("throttled before", WARN, "since boot: " + ", ".join(events), effect, FIX + "; a stronger supply")
    return Check("throttled before", GOOD, "never since boot")
