"""Clock rates of the cores and the GPU, the time of day, and the cost of reading the clock."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Iterator

from agent.field.checks.base import GOOD, SKIP, WARN, Box, Check, core_ranges, read_number, read_text

CHEAP = ("tsc", "arch_sys_counter", "kvm-clock", "xen", "hyperv_clocksource_tsc_page", "riscv_clocksource")
TIMEX = 208  # bytes of struct timex where `long` has 64 bits
STA_UNSYNC, TIME_ERROR = 0x40, 5


def checks(box: Box) -> Iterator[Check]:
    yield governor(box)
    yield nvpmodel(box)
    yield gpu_clock(box)
    yield clock_source(box)
    yield time_of_day(box, adjtimex())


def governor(box: Box) -> Check:
    cores: dict[str, list[int]] = {}
    capped = []
    for folder in box.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
        core = int(folder.parent.name[3:])
        cores.setdefault(read_text(folder / "scaling_governor"), []).append(core)
        if read_number(folder / "scaling_max_freq") < read_number(folder / "cpuinfo_max_freq"):
            capped.append(core)
    if not cores:
        return Check("cpu governor", SKIP, "no clock control by the kernel (virtual machine?)")
    slow = {name: numbers for name, numbers in cores.items() if name != "performance"}
    if slow:
        cause = "; ".join(f"cores {core_ranges(numbers)}: {name or 'unknown'}" for name, numbers in slow.items())
        effect = "the clock is low when a sample comes and climbs too late: inference takes up to several times as long"
        fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        return Check("cpu governor", WARN, cause, effect, fix)
    if capped:
        cause = f"cores {core_ranges(capped)}: limited below their full clock"
        fix = "for f in /sys/devices/system/cpu/cpu*/cpufreq; do sudo cp $f/cpuinfo_max_freq $f/scaling_max_freq; done"
        return Check("cpu governor", WARN, cause, "inference takes longer", fix)
    return Check("cpu governor", GOOD, "performance on every core")


def nvpmodel(box: Box) -> Check:
    """Jetson's power mode: `nvpmodel -q` prints "NV Power Mode: MAXN" and its number."""
    mode = re.search(r"NV Power Mode:\s*(\S+)", box.tool(["nvpmodel", "-q"]) or "")
    if not mode:
        return Check("power mode", SKIP, "no nvpmodel here: no Jetson, or it gives no answer")
    if mode[1].startswith("MAXN"):
        return Check("power mode", GOOD, mode[1])
    effect = "cores are off and clocks capped: inference takes longer"
    fix = "sudo nvpmodel -p --verbose lists the modes; sudo nvpmodel -m NUMBER of MAXN, if supply and cooling allow"
    return Check("power mode", WARN, mode[1], effect, fix)


def gpu_clock(box: Box) -> Check:
    # a Jetson calls it 17000000.gpu, .gv11b (Xavier) or .ga10b (Orin)
    folders = [folder for folder in box.glob("sys/class/devfreq/*") if re.search("gpu|gv11b|ga10b", folder.name)]
    if not folders:
        return Check("gpu clock", SKIP, "no GPU clock controlled by the kernel")
    variable = [
        folder.name for folder in folders if read_number(folder / "min_freq") < read_number(folder / "max_freq")
    ]
    if variable:
        effect = "the first inferences after a pause run at a low clock"
        return Check("gpu clock", WARN, f"{', '.join(variable)} varies", effect, "sudo jetson_clocks (on a Jetson)")
    return Check("gpu clock", GOOD, f"{', '.join(folder.name for folder in folders)} at its full clock")


def clock_source(box: Box) -> Check:
    place = "sys/devices/system/clocksource/clocksource0"
    current = box.text(f"{place}/current_clocksource")
    if not current:
        return Check("clock source", SKIP, "not reported by the kernel")
    if current.startswith(CHEAP):
        return Check("clock source", GOOD, current)
    effect = "reading the time is a slow bus access, and a lane reads it nine times a sample"
    fix = f"dmesg | grep -i clocksource gives the reason; available: {box.text(f'{place}/available_clocksource')}"
    return Check("clock source", WARN, current, effect, fix)


def adjtimex() -> tuple[int, int, float]:
    """State, status and largest error in s of the kernel's clock (man 2: mode 0 only reads). State -1: not allowed."""
    memory = ctypes.create_string_buffer(TIMEX)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(memory)
    # modes, offset, freq, maxerror (us), esterror, status
    fields = struct.unpack_from("@Illlli", memory)
    return state, fields[5], fields[3] / 1e6


def time_of_day(box: Box, kernel: tuple[int, int, float]) -> Check:
    """The kernel knows whether it is synchronised; the tools only name the service that does it."""
    state, status, error_s = kernel
    if state < 0:
        return Check("time", SKIP, "adjtimex(2) is not allowed here")
    if state != TIME_ERROR and not status & STA_UNSYNC:
        return Check("time", GOOD, f"synchronised{_time_service(box)}, at most {error_s * 1e3:.0f} ms off")
    effect = "log and recordings have a wrong time, certificates may seem invalid; lanes and commands use another clock"
    fix = "sudo timedatectl set-ntp true; then: timedatectl timesync-status, or chronyc tracking"
    return Check("time", WARN, f"not synchronised{_time_service(box)}", effect, fix)


def _time_service(box: Box) -> str:
    if (box.root / "run/systemd/timesync").exists():
        return " (systemd-timesyncd)"
    server = re.search(r"Reference ID\s*:\s*(\S+)(?: \((.*)\))?", box.tool(["chronyc", "-n", "tracking"]) or "")
    return f" (chrony, {server[2] or server[1]})" if server else ""
