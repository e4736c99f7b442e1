"""`reflexd diag`: one archive for a support ticket; bounded, without secrets, and with a list of what is missing."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import click

from agent import redact
from agent.field import collect, doctor, status
from agent.field.board import BoardMonitor
from agent.field.checks.base import Box, run_tool
from agent.field.snapshot import View, read_snapshot
from agent.field.valid_parts import read_config

TOTAL = 50_000_000  # bytes before compression
TEXT = 5_000_000  # of one text; its end is kept, where the newest lines are
RECORDING = 10_000_000


class Archive:
    """A tar.gz for its owner only. Texts are redacted when they are added; what cannot be added is noted as missing."""

    def __init__(self, path: Path, secrets: list[str]) -> None:
        """secrets: known ones, masked wherever they stand."""
        self.path = path
        self.secrets = secrets
        self.bytes_left = TOTAL
        self.missing: list[str] = []
        self.packed: list[str] = []
        self.recordings: list[str] = []  # packed, with what is in them
        self.folder = path.name.partition(".")[0]
        self.file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
        self.tar = tarfile.open(fileobj=self.file, mode="w:gz")  # noqa: SIM115 - close() closes it

    def text(self, name: str, content: str | None, reason: str = "not here") -> None:
        """reason: why there is no content, where it is None."""
        if content is None:
            self.missing.append(f"{name}: {reason}")
            return
        clean = redact.text(content, self.secrets)
        if len(clean) > TEXT:
            self.missing.append(f"{name}: only its last {TEXT // 1_000_000} MB")
            clean = clean[-TEXT:]
        self.data(name, clean.encode("utf-8", "replace"))

    def data(self, name: str, content: bytes) -> bool:
        """As it is; not if it holds a secret as plain text. True where it was added."""
        if len(content) > self.bytes_left:
            self.missing.append(f"{name}: {len(content) / 1e6:.1f} MB, more than is left of {TOTAL // 1_000_000} MB")
            return False
        if any(secret.encode() in content for secret in self.secrets if not secret.isdigit()):
            self.missing.append(f"{name}: holds a secret")
            return False
        entry = tarfile.TarInfo(f"{self.folder}/{name}")
        entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
        self.tar.addfile(entry, io.BytesIO(content))
        self.bytes_left -= len(content)
        self.packed.append(name)
        return True

    def close(self) -> None:
        self.tar.close()
        self.file.close()


Step = Callable[[Archive, View], None]


def show(path: Path, output: Path | None, with_recording: bool) -> int:
    """Raises OSError where the archive cannot be written; an older one is not overwritten."""
    view = read_snapshot(path)
    out = output or _folder() / f"reflexd-diag-{view.outline.node}-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz"
    archive = Archive(out, _secrets(view))
    try:
        for name, step in _steps(with_recording).items():
            click.echo(f"  {name} ...", err=True)
            try:
                step(archive, view)
            except OSError as error:  # a file that was removed meanwhile
                archive.missing.append(f"{name}: {error}")
        archive.text("MISSING.txt", "".join(f"{line}\n" for line in archive.missing) or "nothing\n")
    finally:
        archive.close()
    click.echo(f"packed: {', '.join(archive.packed)}")
    for line in archive.recordings:
        click.echo(f"packed {line}")
    for line in archive.missing:
        click.echo(redact.text(f"without {line}", archive.secrets))
    size = out.stat().st_size / 1e6
    click.echo(f"{out.resolve()}: {size:.1f} MB; check its content before you send it: tar -tzf {out}")
    return 0


def _folder() -> Path:
    """The working folder; or the one for temporary files, as the root of an image may be read-only."""
    return Path() if os.access(".", os.W_OK) else Path(tempfile.gettempdir())


def _secrets(view: View) -> list[str]:
    """Of the configuration and of every key file that it names or that lies beside one."""
    data = collect.parsed(view.path)
    keys = read_config(view.path).keys
    files = [keys.own] if keys else []
    files += [secret for file in files for secret in sorted(file.parent.glob("*secret*"))]
    configured = redact.raw_secrets(collect.read(str(view.path)) or "") if data is None else redact.secrets(data)
    return redact.longest_first(chain(configured, redact.key_secrets(files)))


def _steps(with_recording: bool) -> dict[str, Step]:
    """In the order of their worth, as the archive may be full before the end."""
    return {
        "configuration": _add_configuration,
        "status": _add_status,
        "doctor": _add_doctor,
        "versions": _add_versions,
        "log": _add_log,
        "recordings": partial(_add_recordings, wanted=with_recording),
        "ledgers": _add_ledgers,
    }


def _add_configuration(archive: Archive, view: View) -> None:
    archive.text("reflexd.yaml", *collect.configuration(view.path))
    archive.text("mistakes.txt", collect.mistakes(view.path))


def _add_status(archive: Archive, view: View) -> None:
    current = status.read_status(view.path, BoardMonitor())
    archive.text("status.json", json.dumps(redact.tree(status.as_dict(current)), indent=2))
    archive.text("status.txt", "\n".join(status.lines(current)) + "\n")


def _add_doctor(archive: Archive, view: View) -> None:
    checks = list(doctor.examine(Box(view, read_config(view.path), Path("/"), run_tool)))
    archive.text("doctor.json", json.dumps(redact.tree(doctor.as_dict(checks)), indent=2))


def _add_versions(archive: Archive, _: View) -> None:
    archive.text("versions.txt", collect.versions())
    archive.text("os-release", collect.read("/etc/os-release"))


def _add_log(archive: Archive, _: View) -> None:
    archive.text("journal.txt", *collect.journal(run_tool))
    archive.text("dmesg.txt", run_tool(["dmesg"]), "not readable: sudo reflexd diag")


def _add_recordings(archive: Archive, view: View, wanted: bool) -> None:
    paths = collect.recordings(view)
    archive.text("recordings.txt", collect.listing(paths), "no recordings in state_dir")
    newest = next((path for path in paths if path.stat().st_size <= RECORDING), None)
    if not wanted and paths:
        archive.missing.append("recordings: they may show people: reflexd diag --recording packs the newest")
    elif not newest and paths:
        archive.missing.append("recordings: none is below 10 MB")
    elif newest and archive.data(f"recordings/{newest.name}", newest.read_bytes()):
        archive.recordings.append(f"recordings/{newest.name}: {collect.content(newest)}")


def _add_ledgers(archive: Archive, view: View) -> None:
    archive.text("ledgers.txt", collect.summary(view))
    for name in view.ledgers:
        archive.data(f"ledgers/{name}.ledger", (view.run_dir / f"{name}.ledger").read_bytes())
    if view.drift:
        archive.data("drift.json", json.dumps(view.drift, indent=1).encode())
    archive.missing += view.troubles
