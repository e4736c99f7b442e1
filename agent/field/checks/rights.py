"""What the kernel grants: SCHED_FIFO, locked memory, and how much of it. Tried in a child process."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterator, Mapping

from agent.box import realtime
from agent.field import status
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check
from agent.isolated import python

UNIT = "sudo systemctl edit reflexd: [Service] {}; then: sudo systemctl restart reflexd"


def checks(box: Box) -> Iterator[Check]:
    rights, holder = granted(box)
    yield fifo(box.config.realtime, rights.get("SCHED_FIFO"), holder)
    yield throttling(box)
    yield memory(rights.get("memory lock"), holder, box.text(f"proc/{box.view.pid or 'self'}/limits"))


def granted(box: Box) -> tuple[Mapping[str, bool], str]:
    """(setting -> on, holder of the rights): the daemon that runs, or this user."""
    pid = box.view.pid
    if pid:
        return {setting.name: setting.on for setting in status.kernel_settings(pid)}, f"the daemon, pid {pid}"
    return _attempt(box), f"user {_user()}, whose rights may differ from the service's"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "without a name"


def _attempt(box: Box) -> Mapping[str, bool]:
    stdout = box.tool(python("agent.field.checks.rights"))
    try:
        rights: Mapping[str, bool] = json.loads(stdout or "{}")
    except ValueError:
        return {}
    return rights


def fifo(wanted: bool, allowed: bool | None, holder: str) -> Check:
    if not wanted:
        return Check("SCHED_FIFO", SKIP, "switched off by 'realtime: false' in the configuration")
    if allowed is None:
        return Check("SCHED_FIFO", SKIP, f"could not be tried for {holder}")
    if allowed:
        return Check("SCHED_FIFO", GOOD, f"granted to {holder}")
    effect = "other programs delay lanes by tens of ms"
    fix = UNIT.format("LimitRTPRIO=99 (by hand: sudo -E reflexd, or rtprio in /etc/security/limits.conf)")
    return Check("SCHED_FIFO", WARN, f"refused to {holder}", effect, fix)


def throttling(box: Box) -> Check:
    """The kernel stops real-time threads that use up their share of each period, for the rest of it."""
    limits = [box.text(f"proc/sys/kernel/sched_rt_{name}_us") for name in ("runtime", "period")]
    if not all(re.fullmatch(r"-?\d+", limit) for limit in limits):
        return Check("RT throttling", SKIP, "not reported by the kernel")
    runtime, period = map(int, limits)
    fix = "sudo sysctl kernel.sched_rt_runtime_us=950000"
    if runtime < 0:
        return Check("RT throttling", GOOD, "off: a lane that never waits would stop this box, ssh too")
    if runtime == 0:
        return Check("RT throttling", BAD, "real-time threads get no time", "SCHED_FIFO is refused", fix)
    cause = f"real-time threads may use {runtime / 1e3:g} of {period / 1e3:g} ms"
    if runtime < 0.95 * period:
        effect = f"a busy lane is stopped for up to {(period - runtime) / 1e3:g} ms"
        return Check("RT throttling", WARN, cause, effect, fix)
    return Check("RT throttling", GOOD, cause)


def memory(allowed: bool | None, holder: str, limits: str) -> Check:
    """limits: the text of /proc/PID/limits."""
    match = re.search(r"Max locked memory\s+(\S+)", limits)
    limit = "unknown" if not match else match[1] if match[1] == "unlimited" else f"{int(match[1]) // 1024} KiB"
    if allowed is None:
        return Check("memory lock", SKIP, f"could not be tried for {holder}")
    if allowed:
        return Check("memory lock", GOOD, f"granted to {holder}, limit {limit}")
    effect = "a page that was written out must be read back from disk: ms, in the middle of a sample"
    fix = UNIT.format("LimitMEMLOCK=infinity")
    return Check("memory lock", WARN, f"refused to {holder}, limit {limit}", effect, fix)


def main() -> None:
    """Apply both to this process and print which of them the kernel granted."""
    print(json.dumps({setting.name: setting.on for setting in (realtime.fifo_setting(), realtime.lock_memory())}))


if __name__ == "__main__":
    main()
