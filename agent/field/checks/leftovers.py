"""What a daemon has left in run_dir: its lock, ledgers and sockets, and what they tell of its end."""

from __future__ import annotations

from collections.abc import Iterator

from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed

LOG = "journalctl -u reflexd -n 50; killed for memory: journalctl -k | grep -i oom"
SAFE = "actuators are safe, the machine stands"


def checks(box: Box) -> Iterator[Check]:
    yield daemon(box)
    yield _ledgers(box)


def daemon(box: Box) -> Check:
    view = box.view
    if view.pid and view.said:
        state = str(view.said.get("health", "good"))
        reasons = map(str, view.said.get("reasons") or [])
        cause = "; ".join([f"runs, pid {view.pid}, {state}", *reasons])
        if state == "good":
            return Check("daemon", GOOD, cause)
        if state == "degraded":
            return Check("daemon", WARN, cause, "decisions are made without these lanes", "reflexd status")
        return Check("daemon", BAD, cause, SAFE, "reflexd status")
    if view.pid:
        cause, effect = f"runs, pid {view.pid}, and does not answer", "status knows only what the ledgers say"
        return Check("daemon", WARN, cause, effect, "as this user? sudo reflexd doctor")
    if view.blind:
        return Check("daemon", SKIP, f"{view.run_dir} is not for this user: sudo reflexd doctor")
    bugs = [name for name, told in view.snapshots.items() if told.state == "failed"]
    if bugs:
        return Check("daemon", BAD, f"ended by a bug in lane {listed(bugs)}", SAFE, LOG)
    return Check("daemon", SKIP, "does not run; start it: sudo systemctl start reflexd")


def _ledgers(box: Box) -> Check:
    view = box.view
    if view.troubles and not view.snapshots:
        return Check("ledgers", SKIP, f"none: {view.troubles[0]}")
    if view.troubles:
        mend = "of an older reflexd or cut short: remove them, the daemon makes new ones"
        return Check("ledgers", WARN, listed(view.troubles), "status and trace cannot use them", mend)
    names = list(view.snapshots)
    if not names:
        return Check("ledgers", SKIP, f"none in {view.run_dir}: the daemon has not run since boot")
    if not view.pid:
        killed = [name for name, told in view.snapshots.items() if told.state in ("running", "opening")]
        if killed:
            cause = f"lane {listed(killed)} ran when the daemon ended: it was killed, or the power went"
            return Check("ledgers", WARN, cause, "whatever killed it may do so again", LOG)
        return Check("ledgers", GOOD, f"{listed(names)}, of the last run")
    strange = [name for name, told in view.snapshots.items() if told.pid != view.pid]
    if strange:
        cause = f"{listed(strange)}: of an earlier run, no such lane now"
        return Check("ledgers", GOOD, f"{len(names) - len(strange)} in use; {cause}")
    return Check("ledgers", GOOD, f"{listed(names)}, in use")
