"""Writes every command as one line of JSON, into a file or into the daemon's log; the actuator of a dry run."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

from pydantic import Field

from agent.data import Arguments
from drivers.base import Actuator, DeviceFault, DeviceMissing, DriverOptions
from drivers.options import OptionalFilePath

log = logging.getLogger(__name__)


class Options(DriverOptions):
    """Where the lines are written."""

    path: OptionalFilePath = Field(None, description="file to append to; empty: the daemon's log")
    safe: str = Field("safe", min_length=1, description="the verb written for the safe state")

    def input_folders(self) -> list[Path]:
        return [self.path.parent] if self.path else []


class Driver(Actuator):
    """A line: t_ns (monotonic), unix_s, actuator, verb, arguments. A full disk is a fault until it has space again."""

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.file = -1
        self.cut = False

    def open(self) -> None:
        self.close()
        if not self.options.path:
            return
        try:
            self.file = os.open(self.options.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DeviceMissing(f"{self.options.path}: {error.strerror}") from error

    def apply(self, verb: str, arguments: Arguments) -> None:
        line = json.dumps(
            {
                "t_ns": time.monotonic_ns(),
                "unix_s": round(time.time(), 3),
                "actuator": self.name,
                "verb": verb,
                "arguments": dict(arguments),
            }
        )
        if self.options.path:
            self._write(line)
        else:
            log.info("%s", line)

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        file, self.file = self.file, -1
        if file >= 0:
            try:
                os.close(file)
            except OSError as error:  # a network disk reports here that the last lines were not written
                log.warning("%s: %s at close", self.options.path, error.strerror)

    def _write(self, line: str) -> None:
        # a disk that fills up cuts a line; the next line must not be appended to it
        data = f"{chr(10) if self.cut else ''}{line}\n".encode()
        try:
            written = os.write(self.file, data)
        except OSError as error:
            raise DeviceFault(f"{self.options.path}: {error.strerror}") from error
        self.cut = written < len(data)
        if self.cut:
            raise DeviceFault(f"{self.options.path}: disk full, the line was cut")
