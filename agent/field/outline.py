"""What `reflexd status` shows of a configuration: names and plain values, unchecked, as checking would take longer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agent import yamlfile
from agent.box.folders import default_run_dir
from agent.yamlfile import YamlError

SYSTEM_RUN_DIR = Path("/run/reflexd")


class LaneOutline(NamedTuple):
    """model: a package's name or folder. driver: of its source."""

    model: str
    driver: str
    critical: bool


class ActuatorOutline(NamedTuple):
    """endpoint: ZeroMQ address. rest: the verb while no rule holds. here: its device is on this box."""

    endpoint: str
    rest: str
    here: bool


class Outline(NamedTuple):
    """Of a configuration that may have mistakes: what has another type than it should is left out or empty."""

    node: str
    run_dir: Path
    lanes: dict[str, LaneOutline]
    actuators: dict[str, ActuatorOutline]


def read_outline(path: Path) -> tuple[Outline, list[str]]:
    """(outline, why the file cannot be read). A broken file must not hide the ledgers of the daemon that runs."""
    try:
        return outline(yamlfile.read(path).data), []
    except YamlError as error:
        return outline({"run_dir": _guess_run_dir(path)}), [str(error)]


def outline(data: dict[str, Any]) -> Outline:
    """data: of the whole file."""
    run_dir = run_dir_of(data)
    return Outline(
        node=_text(data, "node") or "box",
        run_dir=run_dir,
        lanes={name: _lane(lane) for name, lane in _sections(data, "lanes")},
        actuators={name: _actuator(name, section, run_dir) for name, section in _sections(data, "actuators")},
    )


def _lane(section: dict[str, Any]) -> LaneOutline:
    source = section.get("source")
    driver = _text(source, "driver") if isinstance(source, dict) else ""
    return LaneOutline(_text(section, "model"), driver, section.get("critical") is not False)


def _actuator(name: str, section: dict[str, Any], run_dir: Path) -> ActuatorOutline:
    endpoint = _text(section, "endpoint") or f"ipc://{run_dir}/{name}.sock"
    return ActuatorOutline(endpoint, _text(section, "rest"), bool(section.get("device")))


def _sections(data: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    sections = data.get(key)
    if isinstance(sections, dict):
        yield from ((name, section) for name, section in sections.items() if isinstance(section, dict))


def _text(section: dict[str, Any], key: str) -> str:
    value = section.get(key)
    return value if isinstance(value, str) else ""


def _guess_run_dir(path: Path) -> str:
    """The run_dir of a file that is not valid YAML."""
    try:
        if not path.is_file():  # the open of a pipe would wait for its writer
            return ""
        match = re.search(r"^run_dir:\s*[\"']?([^\"'#\n]+)", path.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return match[1].strip() if match else ""


def run_dir_of(data: dict[str, Any]) -> Path:
    """The configured one; else the default one of this user or of the system's service, whichever is in use."""
    configured = data.get("run_dir")
    if isinstance(configured, str) and configured:
        return Path(configured)
    of_user = default_run_dir()
    used = os.path.exists(of_user / "reflexd.lock") or not os.path.isdir(SYSTEM_RUN_DIR)
    return of_user if used else SYSTEM_RUN_DIR
