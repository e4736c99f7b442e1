"""What the kernel really grants: SCHED_FIFO, locked memory, and how much of it. Tried in a process of its own."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Iterator, Mapping

from agent.box import realtime
from agent.field import status
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check

UNIT = "sudo systemctl edit reflexd: [Service] {}; then: sudo systemctl restart reflexd"


def checks(box: Box) -> Iterator[Check]:
    granted, who = granted_to(box)
    yield fifo(box.config.realtime, granted.get("SCHED_FIFO"), who)
    yield throttling(box)
    yield memory(granted.get("memory lock"), who, box.text(f"proc/{box.view.pid or 'self'}/limits"))


def granted_to(box: Box) -> tuple[Mapping[str, bool], str]:
    """Knob -> on, and for whom: the daemon that runs, or this user."""
    if box.view.pid:
        return {
            setting.name: setting.on for setting in status.kernel_knobs(box.view.pid)
        }, f"the daemon, pid {box.view.pid}"
    return _attempt(box), f"user {_user()}, who may have other rights than the service"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "without a name"


def _attempt(box: Box) -> Mapping[str, bool]:
    told = box.tool([sys.executable, "-m", "agent.field.checks.rights"])
    try:
        found: Mapping[str, bool] = json.loads(told or "{}")
    except ValueError:
        return {}
    return found


def fifo(wanted: bool, granted: bool | None, who: str) -> Check:
    if not wanted:
        return Check("SCHED_FIFO", SKIP, "the configuration says 'realtime: false'")
    if granted is None:
        return Check("SCHED_FIFO", SKIP, f"could not be tried for {who}")
    if granted:
        return Check("SCHED_FIFO", GOOD, f"granted to {who}")
    effect = "other programs delay lanes by tens of ms"
    mend = UNIT.format("LimitRTPRIO=99 (by hand: sudo -E reflexd, or rtprio in /etc/security/limits.conf)")
    return Check("SCHED_FIFO", WARN, f"refused to {who}", effect, mend)


def throttling(box: Box) -> Check:
    """The kernel stops real-time threads that use up their share of each period, for the rest of it."""
    names = ("runtime", "period")
    told = [box.text(f"proc/sys/kernel/sched_rt_{name}_us") for name in names]
    if not all(re.fullmatch(r"-?\d+", one) for one in told):
        return Check("RT throttling", SKIP, "the kernel does not tell")
    runtime, period = map(int, told)
    mend = "sudo sysctl kernel.sched_rt_runtime_us=950000"
    if runtime < 0:
        return Check("RT throttling", GOOD, "off: a lane that never waits would stop this box, ssh too")
    if runtime == 0:
        return Check("RT throttling", BAD, "real-time threads get no time", "SCHED_FIFO is refused", mend)
    cause = f"real-time threads may use {runtime / 1e3:g} of {period / 1e3:g} ms"
    if runtime < 0.95 * period:
        return Check(
            "RT throttling", WARN, cause, f"a busy lane is stopped for up to {(period - runtime) / 1e3:g} ms", mend
        )
    return Check("RT throttling", GOOD, cause)


def memory(granted: bool | None, who: str, limits: str) -> Check:
    found = re.search(r"Max locked memory\s+(\S+)", limits)
    limit = "unknown" if not found else found[1] if found[1] == "unlimited" else f"{int(found[1]) // 1024} KiB"
    if granted is None:
        return Check("memory lock", SKIP, f"could not be tried for {who}")
    if granted:
        return Check("memory lock", GOOD, f"granted to {who}, limit {limit}")
    effect = "a page that was written out must be read back from disk: ms, in the middle of a sample"
    return Check("memory lock", WARN, f"refused to {who}, limit {limit}", effect, UNIT.format("LimitMEMLOCK=infinity"))


def main() -> None:
    """Try both for good, and say what came of it."""
    print(json.dumps({setting.name: setting.on for setting in (realtime.fifo_setting(), realtime.lock_memory())}))


if __name__ == "__main__":
    main()
