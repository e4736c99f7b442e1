"""What goes into the archive of `reflexd diag`, not yet redacted unless it says so."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from agent import ledger, yamlfile
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.field.checks.base import Tool
from agent.field.snapshot import View
from agent.recorder import redact
from agent.yamlfile import YamlError

CONTINUED = re.compile(r"^(?!\s*(?:-\s+)?[\w\"'-]+\s*:(?:\s|$))")  # no key begins here
BEFORE_SECRET = re.compile(r"([\w-]+)[\"']?\s*[:=](?!//)|://")


def parsed(path: Path) -> dict[str, Any] | None:
    try:
        return yamlfile.read(path).data
    except YamlError:
        return None


def configuration(path: Path) -> tuple[str | None, str]:
    """(redacted, why not). Written anew from its values: comments, which may hold anything, stay here."""
    data = parsed(path)
    if data is not None:
        from ruamel.yaml import YAML

        out = io.StringIO()
        writer = YAML(typ="safe", pure=True)
        writer.default_flow_style, writer.width = False, 4096
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        writer.dump(redact.tree(data), out)
        return f"# {path}, without comments and secrets\n{out.getvalue()}", ""
    try:
        raw = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    return f"# {path}, which is no YAML; without comments, secrets as far as they could be told\n{_bare(raw)}", ""


def _bare(raw: str) -> str:
    """Lines of a file that cannot be parsed: no comments, and after a secret's name nothing until the next key."""
    kept, hidden = [], False
    for line in raw.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line)
        if hidden and CONTINUED.match(line):
            kept.append(redact.MASK)
            continue
        end = next((one.end() for one in BEFORE_SECRET.finditer(line) if _hides(one[1])), 0)
        hidden = bool(end)
        kept.append(f"{line[:end]} {redact.MASK}" if hidden else line)
    return "\n".join(kept) + "\n"


def _hides(name: str | None) -> bool:
    """Is what comes after this name, or after the :// of a URL, secret?"""
    return name is None or bool(redact.SECRET_NAME.search(name) or redact.KEY_NAME.search(name))


def mistakes(path: Path) -> str:
    try:
        load_config(path)
    except ConfigError as error:
        return "\n".join(error.mistakes) + "\n"
    return "none\n"


def versions() -> str:
    """As pip freeze would write it, with the machine."""
    kernel = os.uname()
    head = [f"# Python {sys.version.splitlines()[0]}", f"# {' '.join(kernel)}"]
    head += [f"# {line}" for line in (read("/etc/nv_tegra_release"), read("/proc/device-tree/model")) if line]
    found = {f"{one.metadata['Name']}=={one.version}" for one in metadata.distributions() if one.metadata["Name"]}
    return "\n".join([*head, *sorted(found, key=str.lower)]) + "\n"


def read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n") + "\n"
    except OSError:
        return None


def journal(tool: Tool) -> tuple[str | None, str]:
    told = tool(["journalctl", "-u", "reflexd*", "-n", "5000", "--no-pager", "-o", "short-iso"])
    if told is None:
        return None, "journalctl gives no answer: no systemd, or not permitted (sudo reflexd diag)"
    return told, ""


def summary(view: View) -> str:
    tables = [ledger.table(one) for one in view.snapshots.values()]
    return (
        "\n\n".join([*tables, *view.troubles]) + "\n" if tables or view.troubles else f"no ledgers in {view.run_dir}\n"
    )


def recordings(view: View) -> list[Path]:
    """Newest first."""
    found = view.config.state_dir.glob("recordings/*.mcap")
    return sorted((one for one in found if one.is_file()), key=lambda one: one.stat().st_mtime, reverse=True)


def listing(found: list[Path]) -> str | None:
    lines = []
    for path in found:
        told = path.stat()
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told.st_mtime))
        lines.append(f"{when} {told.st_size:>12} {path}")
    return "\n".join(lines) + "\n" if lines else None
