"""Readings of the board's sensors from /sys and /proc; imports nothing slow, as `reflexd status` shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from drivers.board._load import Load, text

Probe = Callable[[], Mapping[str, float]]

COLDEST_C, HOTTEST_C = -100.0, 200.0  # a reading beyond is a sensor that is off: a Jetson reports -256
THROTTLED_NOW = 0xF  # Raspberry Pi: under-voltage, frequency capped, throttled, soft temperature limit


class Readings:
    """Keys are fixed when it is made; a value that cannot be read later is NaN."""

    def __init__(self, root: Path) -> None:
        """root: the folder of sys and proc."""
        probes: tuple[Probe, ...] = (
            lambda: temperatures(root),
            Load(root).read,
            lambda: _memory(root),
            lambda: _clock(root),
            lambda: _gpu(root),
            lambda: throttling(root),
            lambda: _power(root),
        )
        self.probes = [probe for probe in probes if probe()]
        self.keys = [key for probe in self.probes for key in probe()]

    def read(self) -> Mapping[str, float]:
        """Empty where this board has no such files."""
        readings = {key: value for probe in self.probes for key, value in probe().items()}
        return {key: readings.get(key, math.nan) for key in self.keys}


def temperatures(root: Path) -> Mapping[str, float]:
    """Thermal zones and hardware monitors; files hold thousandths of a degree."""
    readings: dict[str, float] = {}
    zones = [(text(zone / "type"), zone / "temp") for zone in _within(root, "sys/class/thermal", "thermal_zone*")]
    chips = [
        (text(file.parent / "name") + " " + _label(file), file)
        for file in _within(root, "sys/class/hwmon", "hwmon*/temp*_input")
    ]
    for name, file in zones + chips:
        celsius = _number(file) / 1000
        if COLDEST_C < celsius < HOTTEST_C:
            key = f"temperature_{_slug(name)}_c"
            readings[key] = max(celsius, readings.get(key, celsius))
    return {"temperature_c": max(readings.values()), **readings} if readings else {}


def _memory(root: Path) -> Mapping[str, float]:
    line = re.search(r"^MemAvailable:\s+(\d+) kB", text(root / "proc/meminfo"), re.MULTILINE)
    return {"memory_available_mb": int(line[1]) / 1024} if line else {}


def _clock(root: Path) -> Mapping[str, float]:
    khz = _known(
        _number(file) for file in _within(root, "sys/devices/system/cpu", "cpu[0-9]*/cpufreq/scaling_cur_freq")
    )
    mhz = [clock / 1000 for clock in khz] or [
        float(clock) for clock in re.findall(r"^cpu MHz\s*: ([0-9.]+)$", text(root / "proc/cpuinfo"), re.MULTILINE)
    ]
    return {"cpu_mhz": sum(mhz) / len(mhz)} if mhz else {}


def _gpu(root: Path) -> Mapping[str, float]:
    # a Jetson writes tenths of a percent
    tenths = _known(_number(file) for file in _within(root, "sys/class/devfreq", "*gpu*/device/load"))
    return {"gpu_load_percent": max(tenths) / 10} if tenths else {}


def throttling(root: Path) -> Mapping[str, float]:
    """throttle_count (Intel) and throttled (Raspberry Pi), where the kernel reports them."""
    readings: dict[str, float] = {}
    counts = _known(
        _number(file)
        for file in _within(root, "sys/devices/system/cpu", "cpu[0-9]*/thermal_throttle/core_throttle_count")
    )
    if counts:
        readings["throttle_count"] = sum(counts)
    for file in _within(root, "sys/devices/platform/soc", "soc:firmware/get_throttled"):
        flags = text(file)
        if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", flags):
            readings["throttled"] = float(int(flags, 16) & THROTTLED_NOW != 0)
    return readings


def _power(root: Path) -> Mapping[str, float]:
    """Watts of each rail that a monitor measures, and of the board.

    Where one rail is the input of the board (VDD_IN on an Orin, POM_5V_IN on a Nano) it supplies the others, and a
    sum would count them twice.
    """
    rails: dict[str, float] = {}
    for file in _within(root, "sys/class/hwmon", "hwmon*/power*_input"):
        rails[f"{text(file.parent / 'name')} {_label(file)}"] = _number(file) / 1e6
    for amps in _within(root, "sys/class/hwmon", "hwmon*/curr*_input"):
        volts = amps.with_name(amps.name.replace("curr", "in"))
        # other chips that measure a current report the power themselves
        if text(amps.parent / "name") == "ina3221":
            rails[_label(volts) or volts.name[:-6]] = _number(volts) / 1e3 * _number(amps) / 1e3
    rails = {_slug(name): watts for name, watts in rails.items() if not math.isnan(watts)}
    if not rails:
        return {}
    entry = [watts for name, watts in rails.items() if re.search(r"(^|_)v?in$", name)]
    return {"power_w": sum(entry or rails.values()), **{f"power_{name}_w": watts for name, watts in rails.items()}}


def _within(root: Path, folder: str, pattern: str) -> list[Path]:
    return sorted((root / folder).glob(pattern))


def _label(file: Path) -> str:
    """The name of temp1_input, from temp1_label if it exists."""
    return text(file.with_name(file.name.replace("_input", "_label")))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _number(path: Path) -> float:
    """The integer in a file, NaN without one."""
    content = text(path)
    return float(content) if re.fullmatch(r"-?[0-9]{1,15}", content) else math.nan


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
