"""Pictures of an earlier time, taken out of plain recordings where clips are sealed now; all else stays replayable."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcap.records import McapRecord, Message, Metadata, Statistics

from agent.box import private
from agent.ledger_text import counted
from agent.recorder import recording
from agent.recorder.contents import CHANNELS, HEADER, HOLE, Beginning
from agent.recorder.recording import Recording
from agent.recorder.records import READ_ERRORS, Hole, records
from agent.recorder.series import Series, is_open
from agent.tapes.format import TapeHeader

log = logging.getLogger("reflexd.record")
KEPT, DELETED = "kept", "deleted"


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
            header = _beginning(records(file)).header
        kept = json.loads(header["config"])["recorder"].get("pictures", False)
        return bool(kept) if "event" in header else kept is True
    except OSError:
        return False  # gone meanwhile, or somebody else's
    except READ_ERRORS:
        return True


def _strip(path: Path) -> bool:
    """False where it is no recording, and deleted. What an end that is missing leaves is kept. Raises OSError."""
    with open(path, "rb") as file:
        beginning = _beginning(records(file), whole=True)
        if not beginning.header:
            path.unlink(missing_ok=True)
            return False
        with open(private.create_unfinished(path), "w+b") as plain:
            _copy(records(file), beginning, Recording(plain, _without_pictures(beginning.header)))
            os.fsync(plain.fileno())
    path.stat()  # raises where it was deleted meanwhile
    os.replace(private.unfinished(path), path)
    return True


def _copy(content: Iterator[McapRecord | Hole], beginning: Beginning, to: Recording) -> None:
    lost: Counter[int] = Counter()  # messages of each channel
    try:
        for record in content:
            if isinstance(record, Hole):
                _note_hole(to, record.size)
            elif isinstance(record, Message):
                known = record.channel_id in beginning.channels
                lost[record.channel_id] += -1 if known else 1
                if known:
                    _copy_message(record, *beginning.channels[record.channel_id], to)
            elif isinstance(record, Statistics):
                lost.update({c: n for c, n in record.channel_message_counts.items() if c in beginning.channels})
            elif isinstance(record, Metadata) and record.name not in (HEADER, CHANNELS):
                to.add_metadata(record.name, dict(record.metadata))
    except READ_ERRORS:
        pass
    if sum_lost := sum(count for count in lost.values() if count > 0):
        _note_hole(to, 0, sum_lost)
    to.finish()


def _note_hole(to: Recording, size: int, lost: int = 0) -> None:
    to.flush()  # what was before it must stand before it
    to.add_metadata(HOLE, {"bytes": str(size), "messages": str(lost)})


def _copy_message(record: Message, lane: str, source: dict[str, Any], to: Recording) -> None:
    message = json.loads(record.data)
    plain = {**message, "inputs": []} if "inputs" in message else message
    to.add(TapeHeader(lane, source["channels"], [], [], source["rate_hz"]), plain, record.log_time)
    if to.unflushed > recording.CHUNK:
        to.flush()


def _beginning(content: Iterator[McapRecord | Hole], whole: bool = False) -> Beginning:
    """whole: channels of lanes that begin later, too. Without a header where there is none."""
    beginning = Beginning()
    try:
        for record in content:
            beginning.add(record)
            if beginning.header and not whole:
                break
    except READ_ERRORS:
        pass
    return beginning


def _without_pictures(header: dict[str, str]) -> dict[str, str]:
    try:
        config = json.loads(header["config"])
        config["recorder"]["pictures"] = False
    except READ_ERRORS:
        return header
    return {**header, "config": json.dumps(config)}
