"""What a configuration needs beside itself: recordings, folders, devices, files that other users can read.

Only `reflexd check` looks at it. A daemon starts without: a device or a disk may come later, and its lane waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent import endpoints, keys, redact
from agent.config.device_checks import Usage, bad_channels, bad_model_rate, bad_rate, usages
from agent.config.groups import groups
from agent.config.models import Config, LaneConfig
from agent.config.redundancy_checks import redundancy_warnings
from agent.config.references import has_reference
from agent.errors import PackageError
from agent.ledger_text import counted
from agent.packages import package
from agent.yamlfile import Document, Place
from drivers import base as drivers
from drivers.base import DeviceError

INPUTS = ("path", "folder")  # options that name one
SIMULATED = ("camera.sim",)  # one person and nothing else that moves: what a model cannot tell apart is not there


def missing(config: Config, document: Document) -> Iterator[str]:
    """Files and folders that are not there, or are the other one, and recordings that do not open or do not fit."""
    for usage in usages(config):
        files, folders = _inputs(usage, "input_files"), _inputs(usage, "input_folders")
        key = next((key for key in INPUTS if hasattr(usage.options, key)), "driver")
        bad = [*filter(None, map(_bad_file, files)), *filter(None, map(_bad_folder, folders)), *_bad_output(usage)]
        yield from (f"{document.at((*usage.place, key))}: {mistake}" for mistake in bad)
        kinds = (drivers.SensorStream, drivers.Microphone, *([drivers.Camera] if folders else []))
        recording = hasattr(usage.options, "pace")  # others read a file that describes their device
        if recording and (files or folders) and not bad and issubclass(usage.module.Driver, kinds):
            yield from _bad_recording(config, document, usage, key)
    for place, folder in _made_folders(config):
        file = next((path for path in (folder, *folder.parents) if os.path.exists(path)), Path())
        if not os.path.isdir(file):
            yield f"{document.at(place)}: '{file}' is a file: name another folder, which reflexd makes"
    yield from _bad_root(config, document)
    watchdog = config.watchdog_device
    if watchdog and (os.path.isfile(watchdog) or os.path.isdir(watchdog)):
        yield f"{document.at(('watchdog_device',))}: '{watchdog}' is no device: name one such as /dev/watchdog1"


def _bad_root(config: Config, document: Document) -> Iterator[str]:
    """What updates are trusted by."""
    path = document.path.resolve().parent / config.update.root if config.update else None
    mistake = _bad_file(path) if path else ""
    if mistake:
        yield f"{document.at(('update', 'root'))}: {mistake}: copy metadata/1.root.json of the repository there"


def _made_folders(config: Config) -> Iterator[tuple[Place, Path]]:
    """Those that are made where they are missing."""
    yield ("run_dir",), config.run_dir
    yield ("state_dir",), config.state_dir
    for name, actuator in config.actuators.items():
        address = actuator.endpoint.removeprefix("ipc://")
        if address != actuator.endpoint and not address.startswith("@"):
            yield ("actuators", name, "endpoint"), Path(address).parent


def _inputs(usage: Usage, method: str) -> list[Path]:
    """Of a driver of others none."""
    return list(getattr(usage.options, method, list)())


def _bad_file(path: Path) -> str:
    if not os.path.exists(path):
        return f"'{path}' does not exist"
    if os.path.isdir(path):
        return f"'{path}' is a folder: name a file"
    if not os.path.isfile(path):
        return f"'{path}' is no regular file"
    return "" if os.path.getsize(path) else f"'{path}' is empty"


def _bad_folder(path: Path) -> str:
    if not os.path.exists(path):
        return f"'{path}' does not exist"
    return "" if os.path.isdir(path) else f"'{path}' is a file: a folder is needed"


def _bad_output(usage: Usage) -> Iterator[str]:
    """A folder where an actuator would write a file."""
    path = getattr(usage.options, "path", "")
    if path and issubclass(usage.module.Driver, drivers.Actuator) and os.path.isdir(path):
        yield f"'{path}' is a folder: name a file"


def _bad_recording(config: Config, document: Document, usage: Usage, key: str) -> Iterator[str]:
    """It opens; of readings: it has the channels that the model needs, often enough."""
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
    if not isinstance(driver, drivers.SensorStream):
        return
    yield from bad_channels(document, usage, lane, manifest, driver.channels)
    if usage.options.pace != "fast":
        yield from bad_rate(config, document, usage, str(usage.place[1]), manifest, driver.rate_hz)
    else:
        yield from bad_model_rate(document, usage, lane, manifest, driver.rate_hz)


def _by_size(config: Config, document: Document) -> Iterator[str]:
    """Models that tell labels by the size of what moves: along a road a distant car has the size of a person."""
    for name, lane in _real(config):
        try:
            decoder = package.read(package.find(lane.model, document.path.resolve().parent)).decoder
        except PackageError:
            continue  # reported as a mistake
        if decoder == "blobs":
            place = document.at(("lanes", name, "model"))
            yield (
                f"{place}: warning: '{lane.model}' tells labels by size, which holds only where the camera looks"
                " straight down: for any other view use 'objects'"
            )


def _real(config: Config) -> list[tuple[str, LaneConfig]]:
    return [(name, lane) for name, lane in config.lanes.items() if lane.source.driver not in SIMULATED]


def _gate_as_positions(config: Config, document: Document) -> Iterator[str]:
    """A wake-up gate whose boxes a rule counts or looks for in a zone; where a model refines them they are not used."""
    lanes = dict(_real(config))
    for name, rule in config.rules.items():
        for index, condition in enumerate(rule.conditions):
            lane = lanes.get(condition.lane)
            if lane is None or lane.refine or not (condition.zone or condition.count > 1):
                continue
            gate = next((model for model in lane.first_models if _is_gate(document, model)), "")
            if not gate:
                continue
            key = "zone" if condition.zone else "count"
            yield (
                f"{document.at(('rules', name, rule.kind, index, key))}: warning: '{gate}' is a wake-up gate:"
                f" persons metres apart may share one box, so '{key}' may miss them: use 'objects', or"
                f" 'refine: {{model: movenet, label: person}}' in lane '{condition.lane}'"
            )


def _is_gate(document: Document, model: str) -> bool:
    try:
        manifest = package.read(package.find(model, document.path.resolve().parent))
    except PackageError:
        return False  # reported as a mistake
    return manifest.decoder == "grid" and manifest.options.get("wake_up_gate") is True


def _nobody_authorized(config: Config, document: Document) -> Iterator[str]:
    """Commands arrive over the network, and the folder of those who may send them holds no key yet."""
    served = [name for name, actuator in config.actuators.items() if actuator.device]
    if not config.keys or not config.keys.authorized or all(endpoints.is_ipc(config.endpoint(name)) for name in served):
        return
    try:
        names = os.listdir(config.keys.authorized)
    except OSError:
        return  # a folder that is missing is a mistake; one that only the service may read, `doctor` looks at
    if not any(map(keys.is_public_file, names)):
        yield (
            f"{document.at(('keys', 'authorized'))}: warning: no key in '{config.keys.authorized}': only this box may"
            " command its actuators; copy the public key of each commanding box there, named NODE.key after it"
        )


def _idle_workers(config: Config, document: Document) -> Iterator[str]:
    """Lanes that belong together run in one process."""
    count = len(groups(config))
    if config.workers != "auto" and int(config.workers) > count:
        yield (
            f"{document.at(('workers',))}: warning: {config.workers} workers, but rules, actuators, 'share' and"
            f" 'update' join the lanes to {counted(count, 'group')}: the other workers have none"
        )


def warnings(config: Config, document: Document) -> Iterator[str]:
    """Devices that are not there now, models that need a special view, passwords that other users can read."""
    for usage in usages(config):
        name = str(getattr(usage.options, "exclusive_device", str)())
        if (name.startswith("/") or ":" not in name) and name and not os.path.exists(name):
            yield f"{document.at(usage.place)}: warning: '{name}' is not there (plugged in?)"
    yield from _by_size(config, document)
    yield from _gate_as_positions(config, document)
    yield from _nobody_authorized(config, document)
    yield from redundancy_warnings(config, document)
    yield from _idle_workers(config, document)
    yield from _bad_root(config, document)
    watchdog = config.watchdog_device
    if watchdog and not os.path.exists(watchdog):
        yield f"{document.at(('watchdog_device',))}: warning: '{watchdog}' is not there: it would not be fed"
    try:
        readable = os.stat(document.path).st_mode & 0o004
    except OSError:
        return
    if readable and not all(map(has_reference, redact.secrets(document.data))):
        yield (
            f"{document.path}: warning: every user of this box can read the password in it: chmod 640, or write"
            " '${NAME}' and set NAME in EnvironmentFile= or LoadCredential= of the service"
        )
