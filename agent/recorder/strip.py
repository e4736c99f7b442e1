"""Pictures of an earlier time, taken out of plain recordings where clips are sealed now; all else stays replayable."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mcap.records import Channel, McapRecord, Message, Metadata

from agent.box import private
from agent.ledger_text import counted
from agent.recorder import recording
from agent.recorder.recording import Recording
from agent.recorder.records import READ_ERRORS, Hole, records
from agent.recorder.series import Series, is_open
from agent.tapes.format import TapeHeader

log = logging.getLogger("reflexd.record")
KEPT, DELETED = "kept", "deleted"
HEADER = "reflexd"  # the metadata with the configuration


def start(recordings: Series, clips: Series) -> None:
    """On a thread of its own: it takes about a second for each file, and the tapes hold a few."""
    threading.Thread(target=_run, args=(recordings, clips, recordings.paths()), daemon=True).start()


def _run(recordings: Series, clips: Series, own: list[Path]) -> None:
    counts = Counter(map(_stripped, own))
    if counts[KEPT] or counts[DELETED]:
        log.warning(
            "plain pictures of a time without sealing: removed from %s, deleted with %s that could not be read",
            *(counted(counts[KEPT], "recording"), counted(counts[DELETED], "recording")),
        )
    for series in (recordings, clips):
        others = {path for path in series.folder.glob("*.mcap") if path.is_file()} - set(series.paths())
        if plain := sum(map(_may_hold_pictures, others)):
            files = counted(plain, "file")
            log.warning("%s: %s of other nodes may hold plain pictures: move or delete them", series.folder, files)


def _stripped(path: Path) -> str:
    """What was done to it."""
    try:
        if is_open(path) or not _may_hold_pictures(path):
            return ""
        return KEPT if _strip(path) else DELETED
    except FileNotFoundError:  # the oldest are deleted meanwhile
        private.unfinished(path).unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: it may hold plain pictures, and cannot be written: %s", path, error.strerror)
    return ""


def _may_hold_pictures(path: Path) -> bool:
    """By the configuration in its header; so does a file without one."""
    try:
        with open(path, "rb") as file:
            header = _header(records(file))
        kept = json.loads(header["config"])["recorder"].get("pictures", False)
        return bool(kept) if "event" in header else kept is True
    except OSError:
        return False  # gone meanwhile, or somebody else's
    except READ_ERRORS:
        return True


def _strip(path: Path) -> bool:
    """False where it is no recording, and deleted. What an end that is missing leaves is kept. Raises OSError."""
    with open(path, "rb") as file:
        content = records(file)
        header = _header(content)
        if not header:
            path.unlink(missing_ok=True)
            return False
        with open(private.create_unfinished(path), "w+b") as plain:
            _copy(content, Recording(plain, _without_pictures(header)))
            os.fsync(plain.fileno())
    path.stat()  # raises where it was deleted meanwhile
    os.replace(private.unfinished(path), path)
    return True


def _copy(content: Iterator[McapRecord | Hole], to: Recording) -> None:
    tapes: dict[int, TapeHeader] = {}
    try:
        for record in content:
            if isinstance(record, Hole):
                to.flush()  # what was before it must stand before it
                to.add_metadata(recording.HOLE, {"bytes": str(record.size)})
            elif isinstance(record, Channel):
                source = recording.source(record)
                lane = record.topic.removeprefix("/")
                tapes[record.id] = TapeHeader(lane, source["channels"], [], [], source["rate_hz"])
            elif isinstance(record, Message):
                message = json.loads(record.data)
                plain = {**message, "inputs": []} if "inputs" in message else message
                to.add(tapes[record.channel_id], plain, record.log_time)
                if to.unflushed > recording.CHUNK:
                    to.flush()
            elif isinstance(record, Metadata) and record.name != HEADER:
                to.add_metadata(record.name, dict(record.metadata))
    except READ_ERRORS:
        pass
    to.finish()


def _header(content: Iterator[McapRecord | Hole]) -> dict[str, str]:
    """Empty where there is none."""
    try:
        for record in content:
            if isinstance(record, Metadata) and record.name == HEADER:
                return dict(record.metadata)
    except READ_ERRORS:
        pass
    return {}


def _without_pictures(header: dict[str, str]) -> dict[str, str]:
    try:
        config = json.loads(header["config"])
        config["recorder"]["pictures"] = False
    except READ_ERRORS:
        return header
    return {**header, "config": json.dumps(config)}
