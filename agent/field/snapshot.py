"""What can be known of a daemon from outside, also of a dead one: configuration, lock, ledgers, and what it says itself."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from agent import control, ledger, yamlfile
from agent.config.models import Config, default_run_dir
from agent.ledger import LedgerSnapshot
from agent.yamlfile import YamlError

SYSTEM_RUN_DIR = Path("/run/reflexd")


class View(NamedTuple):
    """One look. pid: of the daemon, 0 when none runs. said: its answer to "status", {} when it gives none."""

    path: Path
    config: Config  # what is good of it
    mistakes: list[str]  # what is not
    run_dir: Path
    pid: int
    said: dict[str, Any]
    snapshots: dict[str, LedgerSnapshot]
    troubles: list[str]  # files and folders that could not be read
    now: int  # CLOCK_MONOTONIC, ns

    @property
    def blind(self) -> bool:
        """May this user not see whether it runs?"""
        return not self.pid and os.path.isdir(self.run_dir) and not os.access(self.run_dir, os.R_OK | os.X_OK)


def look(path: Path) -> View:
    config, mistakes, run_dir = read_config(path)
    snapshots, troubles = read_ledgers(run_dir)
    said = control.ask(run_dir, {"do": "status"}) or {}
    pid = int(said.get("pid") or 0) or holder(run_dir / "reflexd.lock")
    return View(path, config, mistakes, run_dir, pid, said, snapshots, troubles, time.monotonic_ns())


def read_config(path: Path) -> tuple[Config, list[str], Path]:
    """(what is good of it, what is not, run_dir). A broken file must not hide the ledgers of the daemon that runs."""
    try:
        data = yamlfile.read(path).data
    except YamlError as error:
        return Config.model_validate({}), [str(error)], _run_dir_of({"run_dir": _guess_run_dir(path)})
    try:
        config, mistakes = Config.model_validate(data), []
    except ValidationError:
        config, mistakes = _salvage(data), [f"{path}: has mistakes: 'reflexd check -c {path}' lists them"]
    return config, mistakes, _run_dir_of(data)


def _salvage(data: dict[str, Any]) -> Config:
    """The good lanes, actuators, rules and sections of a configuration; without those that are wrong."""
    left = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    while True:
        try:
            return Config.model_validate(left)
        except ValidationError as error:
            for one in error.errors():
                _drop(left, [str(step) for step in one["loc"]])


def _drop(data: dict[str, Any], place: list[str]) -> None:
    """Take out what is wrong at a place: one lane, not all of them."""
    whole = data.get(place[0])
    if place[0] in ("lanes", "actuators", "rules") and len(place) > 1 and isinstance(whole, dict):
        whole.pop(place[1], None)
    else:
        data.pop(place[0], None)


def _guess_run_dir(path: Path) -> str:
    """The run_dir of a file that is no YAML."""
    try:
        found = re.search(r"^run_dir:\s*[\"']?([^\"'#\n]+)", path.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _run_dir_of(data: dict[str, Any]) -> Path:
    """The configured one; else where a daemon of this user, or the system's, would have left its traces."""
    given = data.get("run_dir")
    if isinstance(given, str) and given:
        return Path(given)
    mine = default_run_dir()
    here = os.path.exists(mine / "reflexd.lock") or not os.path.isdir(SYSTEM_RUN_DIR)
    return mine if here else SYSTEM_RUN_DIR


def read_ledgers(run_dir: Path) -> tuple[dict[str, LedgerSnapshot], list[str]]:
    """Every ledger of a run_dir by its lane's name, and what could not be read."""
    found: dict[str, LedgerSnapshot] = {}
    troubles: list[str] = []
    try:
        paths = sorted(run_dir / name for name in os.listdir(run_dir) if name.endswith(".ledger"))
    except OSError as error:
        return {}, [_trouble(run_dir, error)]
    for path in paths:
        try:
            found[path.stem] = ledger.read(path)
        except OSError as error:
            troubles.append(_trouble(path, error))
        except ValueError as error:
            troubles.append(str(error))
    return found, troubles


def _trouble(path: Path, error: OSError) -> str:
    return f"{path}: {error.strerror}" + (": try sudo" if isinstance(error, PermissionError) else "")


def holder(path: Path, locks: Path = Path("/proc/locks")) -> int:
    """The process that holds a lock file, 0 for none. Trying the lock instead would be in the way of a daemon that starts."""
    try:
        file, lines = path.stat(), locks.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines:  # 1: FLOCK  ADVISORY  WRITE 27331 fe:00:2149665 0 EOF
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(file.st_ino):
            # btrfs and overlays number their devices otherwise in stat(2) than here; then the name must do
            where = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
            if words[5].startswith(f"{where}:") or _is_ours(int(words[4])):
                return int(words[4])
    return 0


def _is_ours(pid: int) -> bool:
    try:
        return bool(re.search(rb"reflexd|agent", Path(f"/proc/{pid}/cmdline").read_bytes()))
    except OSError:
        return False


def uptime_s(pid: int, proc: Path = Path("/proc")) -> float | None:
    """For how long a process has lived; None when it does not."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        since_boot = float((proc / "uptime").read_text().split()[0])
    except (OSError, IndexError, ValueError):
        return None
    return max(0.0, since_boot - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
