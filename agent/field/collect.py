"""The texts in the archive of `reflexd diag`, before redaction; only the configuration is redacted here."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from agent import ledger_text, redact, yamlfile
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.field.checks.base import Tool
from agent.field.snapshot import View
from agent.field.valid_parts import read_config
from agent.ledger_text import counted
from agent.recorder import recording
from agent.recorder.series import newest_first
from agent.yamlfile import YamlError

CONTINUED = re.compile(r"^(?!\s*(?:-\s+)?[\w\"'-]+\s*:(?:\s|$))")  # no key begins here
BEFORE_SECRET = re.compile(r"([\w-]+)[\"']?\s*[:=](?!//)|://")


def parsed(path: Path) -> dict[str, Any] | None:
    """None where the file is absent or not valid YAML."""
    try:
        return yamlfile.read(path).data
    except YamlError:
        return None


def configuration(path: Path) -> tuple[str | None, str]:
    """(redacted text or None, reason for None). Written from its values: comments are left out."""
    data = parsed(path)
    if data is not None:
        return f"# {path}, without comments and secrets\n{_yaml(redact.tree(data))}", ""
    try:
        if path.exists() and not path.is_file():
            return None, f"{path}: is no regular file"
        raw = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    return f"# {path}, not valid YAML; without comments, and without secrets that were recognised\n{_masked(raw)}", ""


def masked_lines(path: Path) -> list[str]:
    """The configuration's own lines, as many as it has, without comments and secrets. Raises OSError."""
    if not path.is_file():
        raise OSError(0, "is no regular file", str(path))
    raw, data = path.read_text(encoding="utf-8-sig", errors="replace"), parsed(path)
    secrets = redact.longest_first(redact.raw_secrets(raw) if data is None else redact.secrets(data))
    lines = redact.without(_masked(raw), secrets).split("\n")
    return [redact.text(line, []).rstrip() for line in lines[:-1]]


def _yaml(data: Any) -> str:
    from ruamel.yaml import YAML

    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.width = False, 4096
    # ruamel declares the attribute as None, and reads it as a bool
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(data, out)
    return out.getvalue()


def _masked(raw: str) -> str:
    """Lines, also of a file that cannot be parsed: no comments, after a secret's name nothing until the next key."""
    lines, hidden = [], False
    for line in raw.removesuffix("\n").split("\n"):
        line = re.sub(r"(^|\s)#.*", "", line)
        if hidden and CONTINUED.match(line):
            lines.append(redact.MASK)
            continue
        end = next((match.end() for match in BEFORE_SECRET.finditer(line) if _hides(match[1])), 0)
        hidden = bool(end)
        lines.append(f"{line[:end]} {redact.MASK}" if hidden else line)
    return "\n".join(lines) + "\n"


def _hides(name: str | None) -> bool:
    """Is the text after this name, or after the :// of a URL, secret?"""
    return name is None or bool(redact.SECRET_NAME.search(name) or redact.KEY_NAME.search(name))


def mistakes(path: Path) -> str:
    try:
        load_config(path)
    except ConfigError as error:
        return "\n".join(error.mistakes) + "\n"
    return "none\n"


def versions() -> str:
    """As pip freeze would write it, with the machine."""
    head = [f"# Python {sys.version.splitlines()[0]}", f"# {' '.join(os.uname())}"]
    head += [f"# {line}" for line in (read("/etc/nv_tegra_release"), read("/proc/device-tree/model")) if line]
    packages = {
        f"{package.metadata['Name']}=={package.version}"
        for package in metadata.distributions()
        if package.metadata["Name"]
    }
    return "\n".join([*head, *sorted(packages, key=str.lower)]) + "\n"


def read(path: str) -> str | None:
    try:
        if not os.path.isfile(path):  # the open of a pipe would wait for its writer
            return None
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0\n") + "\n"
    except OSError:
        return None


def journal(tool: Tool) -> tuple[str | None, str]:
    """(log or None, reason for None)."""
    log = tool(["journalctl", "-u", "reflexd*", "-n", "5000", "--no-pager", "-o", "short-iso"])
    return (
        log,
        "" if log is not None else "journalctl gives no answer: no systemd, or not permitted (sudo reflexd diag)",
    )


def summary(view: View) -> str:
    """A table for each ledger."""
    tables = [ledger_text.table(snapshot) for snapshot in view.ledgers.values()]
    return "\n\n".join([*tables, *view.troubles] or [f"no ledgers in {view.run_dir}"]) + "\n"


def recordings(view: View) -> list[Path]:
    """Newest first."""
    return newest_first((read_config(view.path).state_dir / "recordings").glob("*.mcap"))


def content(path: Path) -> str:
    """What a recording shows of people and machines, in words."""
    try:
        messages = recording.read(path).messages
    except recording.RecordingError as error:
        return str(error)
    lanes = sorted({lane for lane, _ in messages})
    with_pictures = sorted({lane for lane, message in messages if message.get("inputs")})
    pictures = f"with the pictures of lane {', '.join(with_pictures)}" if with_pictures else "without pictures"
    return f"{counted(len(messages), 'sample')} of lane {', '.join(lanes) or 'none'}, {pictures}"


def listing(paths: list[Path]) -> str | None:
    """Time, bytes and path of each file; None without any."""
    lines = []
    for path in paths:
        entry = path.stat()
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.st_mtime))
        lines.append(f"{when} {entry.st_size:>12} {path}")
    return "\n".join(lines) + "\n" if lines else None
