"""The state of a daemon from outside, also of a dead one: configuration, lock, ledgers, and its reply on the socket."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from agent import ledger
from agent.control import client as control
from agent.drift import published
from agent.field.outline import Outline, read_outline
from agent.ledger import LedgerSnapshot
from agent.site import published as site_published


class View(NamedTuple):
    """State at one moment. pid: of the daemon, 0 when none runs. reply: to the request "status", {} without any."""

    path: Path
    outline: Outline  # of the configuration
    run_dir: Path
    pid: int
    reply: dict[str, Any]
    ledgers: dict[str, LedgerSnapshot]  # by the lane's name
    troubles: list[str]  # files and folders that could not be read
    now: int  # CLOCK_MONOTONIC, ns
    drift: dict[str, Any] = {}  # of each lane that is watched, its report (agent/drift/report.py)
    site: dict[str, Any] = {}  # what the link knows of this box and the others (agent/site/link.py)

    @property
    def forbidden(self) -> bool:
        """Whether the daemon runs cannot be known: this user may not read run_dir."""
        return not self.pid and os.path.isdir(self.run_dir) and not os.access(self.run_dir, os.R_OK | os.X_OK)

    def of_daemon(self, lane: LedgerSnapshot) -> bool:
        """A ledger of the daemon that runs, or of a worker of it, also of one that has ended and is started again."""
        if not self.pid or lane.pid == self.pid:
            return bool(self.pid)
        workers = self.reply.get("workers", [])
        ended = 0 in workers and lane.lane in self.reply.get("lanes", {})
        return lane.pid in workers or ended or (not self.reply and parent(lane.pid) == self.pid)

    @property
    def never_ran(self) -> bool:
        """Since the boot of this box, with this run_dir."""
        return not self.pid and not os.path.isdir(self.run_dir)


def read_snapshot(path: Path) -> View:
    """path: of the configuration."""
    outline, mistakes = read_outline(path)
    run_dir = outline.run_dir
    ledgers, troubles = read_ledgers(run_dir)
    reply = control.ask(run_dir, {"do": "status"}) or {}
    return View(
        path=path,
        outline=outline,
        run_dir=run_dir,
        pid=int(reply.get("pid") or 0) or lock_holder(run_dir / "reflexd.lock"),
        reply=reply,
        ledgers=ledgers,
        troubles=[*mistakes, *troubles],
        now=time.monotonic_ns(),
        drift=published.read(run_dir),
        site=site_published.read(run_dir),
    )


def read_ledgers(run_dir: Path) -> tuple[dict[str, LedgerSnapshot], list[str]]:
    """Every ledger of a run_dir by its lane's name, and a line for each file that could not be read."""
    ledgers: dict[str, LedgerSnapshot] = {}
    troubles: list[str] = []
    try:
        paths = sorted(run_dir / name for name in os.listdir(run_dir) if name.endswith(".ledger"))
    except FileNotFoundError:
        return {}, [f"run_dir '{run_dir}' does not exist"]
    except OSError as error:
        return {}, [_trouble(run_dir, error)]
    for path in paths:
        try:
            ledgers[path.stem] = ledger.read(path)
        except OSError as error:
            troubles.append(_trouble(path, error))
        except ValueError as error:
            troubles.append(str(error))
    return ledgers, troubles


def _trouble(path: Path, error: OSError) -> str:
    return f"{path}: {error.strerror}" + (": try sudo" if isinstance(error, PermissionError) else "")


def lock_holder(path: Path, locks: Path = Path("/proc/locks")) -> int:
    """The process that holds a lock file, 0 for none. Trying the lock instead would hinder a daemon that starts."""
    try:
        file, lines = path.stat(), locks.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:"
    for line in lines:  # 1: FLOCK  ADVISORY  WRITE 27331 fe:00:2149665 0 EOF
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(file.st_ino):
            # btrfs and overlays number their devices otherwise in stat(2) than here; then the process's name decides
            if fields[5].startswith(device) or _is_reflexd(int(fields[4])):
                return int(fields[4])
    return 0


def _is_reflexd(pid: int) -> bool:
    try:
        return bool(re.search(rb"reflexd|agent", Path(f"/proc/{pid}/cmdline").read_bytes()))
    except OSError:
        return False


def parent(pid: int, proc: Path = Path("/proc")) -> int:
    """The process that started it; 0 where it does not live."""
    try:
        return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def uptime_s(pid: int, proc: Path = Path("/proc")) -> float | None:
    """For how long a process has lived; None when it does not."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        since_boot = float((proc / "uptime").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return max(0.0, since_boot - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
