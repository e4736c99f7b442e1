"""Updates of models: what they need, whether they are possible, and what was rejected."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from agent.config.models import Config
from agent.config.services import Update
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check
from agent.update import library, progress
from agent.update.fetching.clock import FLOOR
from agent.update.progress import Progress
from agent.update.store import Store, StoreError

NO_UPDATE = "the models in use run on; newer ones do not come"


def checks(box: Box) -> Iterator[Check]:
    section = box.config.update
    if section is None:
        yield Check("updates", SKIP, "not configured (section update)")
        return
    if not library.installed():
        fix = "scripts/setup update, or pip install 'reflexd[update]'; then systemctl restart reflexd"
        yield Check("update libraries", BAD, "tuf or bsdiff4 is not installed", NO_UPDATE, fix)
    yield trusted_root(box.view.path.resolve().parent / section.root)
    yield clock(time.time())
    noted = progress.read(box.view.run_dir)
    yield last_check(noted, section, time.time())
    yield signatures(box.config.state_dir, datetime.now(timezone.utc))
    yield from rejected(box.config)


def trusted_root(path: Path) -> Check:
    fix = "copy metadata/1.root.json of the repository there, by a way that you trust; update.root names it"
    try:
        kind = json.loads(path.read_bytes())["signed"]["_type"]
    except OSError as error:
        return Check("trusted root", BAD, f"{path}: {error.strerror}", NO_UPDATE, fix)
    except (ValueError, KeyError, TypeError):
        kind = ""
    if kind != "root":
        return Check("trusted root", BAD, f"{path} is no root.json", NO_UPDATE, fix)
    return Check("trusted root", GOOD, str(path))


def clock(now: float) -> Check:
    if now < FLOOR:
        cause = f"it is {datetime.fromtimestamp(now, timezone.utc):%Y-%m-%d} by this box's clock"
        effect = f"an old copy of the repository would pass for new: {NO_UPDATE}"
        return Check("clock for updates", BAD, cause, effect, "sudo timedatectl set-ntp true")
    return Check("clock for updates", GOOD, "plausible")


def last_check(noted: Progress, section: Update, now: float) -> Check:
    """section: how often it checks."""
    if not noted.checked:
        fix = "reflexd status: does the daemon run? journalctl -u reflexd shows what its updater says"
        return Check("last update check", WARN, "none since the boot, or run_dir cannot be read", NO_UPDATE, fix)
    hours = (now - noted.checked) / 3600
    if noted.reason:
        return Check("last update check", WARN, f"{noted.reason}: {noted.message}", NO_UPDATE, "see the message above")
    if hours > 24 + 3 * section.every_s / 3600:
        fix = "journalctl -u reflexd shows what the updater says; is update.window long enough?"
        return Check("last update check", WARN, f"{hours:.0f} hours ago", NO_UPDATE, fix)
    return Check("last update check", GOOD, f"{max(hours, 0):.1f} hours ago, {noted.installed} versions fetched")


def signatures(state_dir: Path, now: datetime) -> Check:
    """Of the newest timestamp.json that this box has verified."""
    path = state_dir / "update/metadata/timestamp.json"
    try:
        text = json.loads(path.read_bytes())["signed"]["expires"]
        end = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except OSError as error:
        return Check("repository's signature", SKIP, f"{path}: {error.strerror}")
    except (ValueError, KeyError, TypeError):
        return Check("repository's signature", SKIP, f"{path} is damaged: the next check replaces it")
    if end < now:
        fix = "where the repository is signed: reflexd model refresh --repo DIR, daily"
        return Check("repository's signature", WARN, f"ended {end:%Y-%m-%d %H:%M} UTC", NO_UPDATE, fix)
    return Check("repository's signature", GOOD, f"until {end:%Y-%m-%d %H:%M} UTC")


def rejected(config: Config) -> Iterator[Check]:
    """The newest one of each model."""
    for name in config.updatable:
        try:
            store = Store(config.state_dir, name)
        except StoreError:
            continue
        if os.path.isdir(store.path) and not os.access(store.path, os.R_OK | os.X_OK):
            yield Check(f"model {name}", SKIP, f"{store.path} cannot be read: try sudo")
            continue
        barred = store.state().rejected
        if barred:
            version, reason = list(barred.items())[-1]
            fix = f"reflexd model history {name}; publish a corrected one under another version"
            yield Check(f"model {name}", WARN, f"version {version} was rejected: {reason}", "an older one runs", fix)
