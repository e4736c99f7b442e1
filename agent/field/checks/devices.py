"""The files in /dev that the configuration names: do they exist, and may the service use them?"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

from agent.config.models import Device
from agent.field.checks.base import BAD, GOOD, SERVICE_USER, SKIP, Box, Check, listed


def checks(box: Box) -> Iterator[Check]:
    user = service_user(box.view.pid)
    used = [(name, path) for name, device in box.devices() for path in paths(device)]
    for name, path in used:
        yield usable(name, path, box.root, user)
    if not used:
        yield Check("devices", SKIP, "the configuration names no file in /dev")


def paths(device: Device) -> list[str]:
    return [value for value in device.options.values() if isinstance(value, str) and value.startswith("/dev/")]


def service_user(pid: int) -> str:
    """The user that opens the devices: the daemon's user, else the service's, else ours."""
    uid = os.geteuid()
    try:
        uid = os.stat(f"/proc/{pid}").st_uid if pid else pwd.getpwnam(SERVICE_USER).pw_uid
    except (OSError, KeyError):
        pass
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def usable(name: str, path: str, root: Path, user: str) -> Check:
    file, title = root / path[1:], f"{name}: {path}"
    try:
        entry = file.stat()
    except OSError:
        similar = _similar(path, root)
        fix = f"plug it in; present: {listed(similar)}" if similar else "plug it in; then: dmesg | tail"
        return Check(title, BAD, "is not there (plugged in?)", "nothing comes from it, nothing reaches it", fix)
    uid, groups = _identity(user)
    mode = S_IMODE(entry.st_mode)
    if allowed(entry.st_uid, entry.st_gid, mode, uid, groups):
        return Check(title, GOOD, f"user {user} may read and write it")
    group = _group_name(entry.st_gid)
    fix = f"sudo usermod -aG {group} {user}; then: sudo systemctl restart reflexd"
    if group == "root" or mode & 0o060 != 0o060:
        fix = f'a udev rule that gives it to a group: KERNEL=="{file.name}", GROUP="dialout", MODE="0660"'
    cause = f"user {user} may not read and write it (mode {mode:04o}, group {group})"
    return Check(title, BAD, cause, "the device cannot be opened", fix)


def allowed(owner: int, group: int, mode: int, uid: int, groups: set[int]) -> bool:
    """Reading and writing, by the plain permission bits."""
    if uid == 0:
        return True
    shift = 6 if uid == owner else 3 if group in groups else 0
    return (mode >> shift) & 0o6 == 0o6


def _identity(user: str) -> tuple[int, set[int]]:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return int(user) if user.isdigit() else os.geteuid(), set(os.getgroups())
    return entry.pw_uid, set(os.getgrouplist(user, entry.pw_gid))


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _similar(path: str, root: Path) -> list[str]:
    """Existing devices of the same kind; names by-id stay the same when numbers change."""
    kind = Path(path).name.rstrip("0123456789") if "/by-" not in path else "video" if "v4l" in path else "tty"
    folder = "v4l" if kind == "video" else "serial" if kind.startswith("tty") else "none"
    files = sorted(root.glob(f"dev/{folder}/by-id/*")) or sorted(root.glob(f"dev/{kind}[0-9]*"))
    return ["/" + str(file.relative_to(root)) for file in files]
