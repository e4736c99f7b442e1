"""`reflexd replay FILE`: compute every decision of a recording again and compare."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import click

from agent import keys
from agent.ledger_text import counted
from agent.recorder.recording import RecordingContents, RecordingError, read
from agent.replay.compare import Report, replay

MAX_SHOWN = 20  # differences


def run(path: Path, key: Path | None, as_json: bool) -> int:
    """0 when every decision is the same, 1 when not. key: of a sealed file. Raises ClickException, PackageError."""
    try:
        contents = _read_sealed(path, key) if path.name.endswith(".sealed") else read(path)
    except RecordingError as error:
        raise click.ClickException(str(error)) from error
    try:
        report = replay(contents)
    except RecordingError as error:
        raise click.ClickException(f"{path}: {error}") from error
    if as_json:
        click.echo(
            json.dumps(
                {
                    **report._asdict(),
                    "lost": contents.lost,
                    "lost_decisions": contents.lost_decisions,
                    "damaged": contents.damaged,
                    "unreadable_bytes": contents.unreadable,
                    "missing": contents.missing,
                }
            )
        )
    else:
        _print(path, contents, report)
    return 1 if report.differences else 0


def _read_sealed(path: Path, key: Path | None) -> RecordingContents:
    """A sealed clip, decrypted in memory only."""
    from agent.recorder import seal

    if not key:
        raise RecordingError(f"{path}: sealed: name the secret key file with --key")
    if path.exists() and not path.is_file():
        raise RecordingError(f"{path}: not a file")  # the open of a pipe would wait for its writer
    try:
        return read(path, BytesIO(seal.decrypt(path.read_bytes(), keys.read_secret(key)[1])))
    except seal.SealError as error:
        raise RecordingError(f"{path}: {error}") from error


def _outcome(report: Report) -> str:
    if report.differences:
        return counted(len(report.differences), "difference")
    return "all the same" if report.compared else "none compared: the rules look back further than its samples reach"


def _print(path: Path, contents: RecordingContents, report: Report) -> None:
    for line in report.differences[:MAX_SHOWN]:
        click.echo(line)
    if len(report.differences) > MAX_SHOWN:
        click.echo(f"and {len(report.differences) - MAX_SHOWN} more")
    counts = ((report.samples, "sample"), (report.inferences, "inference"), (report.decisions, "decision"))
    computed = ", ".join(counted(number, noun) for number, noun in counts)
    click.echo(f"{path}: {computed}: {_outcome(report)}")
    if contents.lost or contents.lost_decisions or contents.damaged:
        end = "; its end is missing or damaged" if contents.damaged else ""
        also = f" and {counted(contents.lost_decisions, 'decision')}" if contents.lost_decisions else ""
        click.echo(f"{path}: not recorded: {counted(contents.lost, 'sample')}{also}{end}")
    if contents.unreadable:
        missing = f"{contents.missing} readings or pictures are missing"
        click.echo(f"{path}: {counted(contents.unreadable, 'byte')} cannot be read: at least {missing}")
