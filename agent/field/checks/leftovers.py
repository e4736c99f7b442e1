"""What a daemon leaves in run_dir, its lock, ledgers and sockets, and what they say about how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed
from agent.field.snapshot import View

LOG = "journalctl -u reflexd -n 50; killed for memory: journalctl -k | grep -i oom"
SAFE = "actuators are safe, the machine is stopped"


def checks(box: Box) -> Iterator[Check]:
    yield daemon(box)
    yield _ledgers(box)


def daemon(box: Box) -> Check:
    view = box.view
    if view.pid and view.reply:
        return _running(view)
    if view.pid:
        cause, effect = f"runs, pid {view.pid}, and does not answer", "status knows only what the ledgers contain"
        return Check("daemon", WARN, cause, effect, "not permitted? sudo reflexd doctor")
    if view.forbidden:
        return Check("daemon", SKIP, f"this user may not read {view.run_dir}: sudo reflexd doctor")
    failed = [name for name, ledger in view.ledgers.items() if ledger.state == "failed"]
    if failed:
        return Check("daemon", BAD, f"ended by a bug in lane {listed(failed)}", SAFE, LOG)
    return Check("daemon", SKIP, "does not run; start it: sudo systemctl start reflexd")


def _running(view: View) -> Check:
    state = str(view.reply.get("health", "good"))
    reasons = map(str, view.reply.get("reasons") or [])
    cause = "; ".join([f"runs, pid {view.pid}, {state}", *reasons])
    if state == "good":
        return Check("daemon", GOOD, cause)
    if state == "degraded":
        return Check("daemon", WARN, cause, "decisions are made without these lanes", "reflexd status")
    return Check("daemon", BAD, cause, SAFE, "reflexd status")


def _ledgers(box: Box) -> Check:
    view = box.view
    if view.troubles and not view.ledgers:
        return Check("ledgers", SKIP, f"none: {view.troubles[0]}")
    if view.troubles:
        fix = "of an older reflexd or cut short: remove them, the daemon makes new ones"
        return Check("ledgers", WARN, listed(view.troubles), "status and trace cannot use them", fix)
    if not view.ledgers:
        return Check("ledgers", SKIP, f"none in {view.run_dir}: the daemon has not run since boot")
    return _used_ledgers(view) if view.pid else _old_ledgers(view)


def _used_ledgers(view: View) -> Check:
    old = [name for name, ledger in view.ledgers.items() if not view.of_daemon(ledger)]
    if old:
        cause = f"{listed(old)}: of an earlier run, no such lane now"
        return Check("ledgers", GOOD, f"{len(view.ledgers) - len(old)} in use; {cause}")
    return Check("ledgers", GOOD, f"{listed(list(view.ledgers))}, in use")


def _old_ledgers(view: View) -> Check:
    killed = [name for name, ledger in view.ledgers.items() if ledger.state in ("running", "opening")]
    if killed:
        cause = f"lane {listed(killed)} ran when the daemon ended: it was killed, or the power failed"
        return Check("ledgers", WARN, cause, "the cause may kill it again", LOG)
    return Check("ledgers", GOOD, f"{listed(list(view.ledgers))}, of the last run")
