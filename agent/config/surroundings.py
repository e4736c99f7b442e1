"""What a configuration needs beside itself: recordings, folders, devices, files that other users can read.

Only `reflexd check` looks at it. A daemon starts without: a device or a disk may come later, and its lane waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent import redact
from agent.config.device_checks import Usage, bad_channels, bad_rate, usages
from agent.config.models import Config
from agent.errors import PackageError
from agent.packages import package
from agent.yamlfile import Document
from drivers import base as drivers
from drivers.base import DeviceError

INPUTS = ("path", "folder")  # options that name one


def missing(config: Config, document: Document) -> Iterator[str]:
    """Files and folders that are not there, and recordings that do not fit."""
    for usage in usages(config):
        absent = [path for path in _inputs(usage) if not os.path.exists(path)]
        key = next((key for key in INPUTS if hasattr(usage.options, key)), "driver")
        for path in absent:
            yield f"{document.at((*usage.place, key))}: '{path}' does not exist"
        if _inputs(usage) and not absent and issubclass(usage.module.Driver, drivers.SensorStream):
            yield from _bad_recording(config, document, usage, key)


def _inputs(usage: Usage) -> list[Path]:
    """Of a driver of others none."""
    return list(getattr(usage.options, "input_files", list)())


def _bad_recording(config: Config, document: Document, usage: Usage, key: str) -> Iterator[str]:
    """Of readings: it opens, and has the channels that the model needs, often enough."""
    lane = config.lanes[str(usage.place[1])]
    driver = usage.module.Driver(usage.options)
    try:
        driver.open()
        manifest = package.read(package.find(lane.model, document.path.resolve().parent))
    except DeviceError as error:
        yield f"{document.at((*usage.place, key))}: {error}"
        return
    except PackageError:
        return  # reported at the model
    finally:
        driver.close()
    yield from bad_channels(document, usage, lane, manifest, driver.channels)
    if usage.options.pace != "fast":
        yield from bad_rate(config, document, usage, str(usage.place[1]), manifest, driver.rate_hz)


def warnings(config: Config, document: Document) -> Iterator[str]:
    """Devices that are not there now, and passwords that other users of this box can read."""
    for usage in usages(config):
        name = str(getattr(usage.options, "exclusive_device", str)())
        if name.startswith("/") and not os.path.exists(name):
            yield f"{document.at(usage.place)}: warning: '{name}' is not there (plugged in?)"
    try:
        readable = os.stat(document.path).st_mode & 0o004
    except OSError:
        return
    if readable and any(redact.secrets(document.data)):
        yield (
            f"{document.path}: warning: every user of this box can read the password in it: chmod 640, or write"
            " '${NAME}' and set NAME in EnvironmentFile= or LoadCredential= of the service"
        )
