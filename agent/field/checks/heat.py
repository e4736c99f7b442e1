"""Is the board too hot, and is it slowed down for that?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, number, read
from drivers.board import linux

NEAR_C = 5.0
WARM_C, HOT_C = 85.0, 100.0  # where the kernel knows no trip points
COOLING = "the kernel slows the cores down to cool them: inference takes longer"
MEND = "clean the fan and the heat sink, shade the cabinet; sudo nvpmodel -m to a smaller mode (Jetson)"


def checks(box: Box) -> Iterator[Check]:
    yield temperature(box)
    yield cooling(box)
    yield counters(box)


def _trips(box: Box) -> dict[str, tuple[float, float, float]]:
    """Zone -> (now, where slowing down begins, where it is hot), C; infinity for a trip that it has not."""
    found = {}
    for zone in box.glob("sys/class/thermal/thermal_zone*"):
        now = number(zone / "temp") / 1000
        if not linux.COLDEST_C < now < linux.HOTTEST_C:
            continue
        points: dict[str, float] = {}
        for file in zone.glob("trip_point_*_type"):
            kind, at = read(file), number(file.with_name(file.name.replace("_type", "_temp"))) / 1000
            if at > 0:  # 0 and below: switched off
                points[kind] = min(at, points.get(kind, math.inf))
        hot = min(points.get("hot", math.inf), points.get("critical", math.inf))
        found[f"{zone.name[12:]} {read(zone / 'type')}"] = now, points.get("passive", math.inf), hot
    return found


def temperature(box: Box) -> Check:
    found = _trips(box)
    hottest = linux.temperatures(box.root).get("temperature_c", math.nan)
    if math.isnan(hottest):
        return Check("temperature", SKIP, "no sensor that the kernel knows")
    cause = f"the hottest sensor reads {hottest:.1f} C"
    for name, (now, passive, hot) in found.items():
        if now > hot - NEAR_C:
            cause = f"zone {name} {now:.1f} C, switches off at {hot:.0f} C"
            return Check("temperature", BAD, cause, "this box switches off", MEND)
        if now > passive - NEAR_C:
            cause = f"zone {name} {now:.1f} C, slows down at {passive:.0f} C"
            return Check("temperature", WARN, cause, COOLING, MEND)
    if not found or all(math.isinf(passive) and math.isinf(hot) for _, passive, hot in found.values()):
        if hottest > HOT_C:
            return Check("temperature", BAD, cause, "this box may switch off", MEND)
        if hottest > WARM_C:
            return Check("temperature", WARN, cause, COOLING, MEND)
    return Check("temperature", GOOD, cause)


def cooling(box: Box) -> Check:
    """A fan that turns is no trouble; a core that is slowed down is."""
    active, known = [], False
    for device in box.glob("sys/class/thermal/cooling_device*"):
        kind = read(device / "type")
        if not re.search(r"processor|cpu|gpu|devfreq|throttle", kind, re.IGNORECASE):
            continue
        known = True
        if number(device / "cur_state") > 0:
            active.append(f"{kind} {read(device / 'cur_state')} of {read(device / 'max_state')}")
    if not known:
        return Check("throttling", SKIP, "nothing that the kernel would slow down")
    if active:
        return Check("throttling", WARN, "now: " + ", ".join(active), COOLING, MEND)
    return Check("throttling", GOOD, "nothing is slowed down now")


def counters(box: Box) -> Check:
    """What has happened since boot: Intel's counters, Raspberry Pi's flags, Jetson's over-current events."""
    found = linux.throttling(box.root)
    current = {file.name: number(file) for file in box.glob("sys/class/hwmon/hwmon*/oc*_event_cnt")}
    if not found and not current:
        return Check("throttled before", SKIP, "the kernel does not count it here")
    said = [f"{found['throttle_count']:.0f} thermal events"] if found.get("throttle_count") else []
    said += ["under-voltage or heat, now (vcgencmd get_throttled)"] if found.get("throttled") else []
    said += [f"{count:.0f} over-current events ({name})" for name, count in current.items() if count > 0]
    if said:
        effect = "while it lasts, cores and GPU run at a low clock"
        return Check("throttled before", WARN, "since boot: " + ", ".join(said), effect, MEND + "; a stronger supply")
    return Check("throttled before", GOOD, "never since boot")
