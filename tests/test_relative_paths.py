"""Relative paths in drivers' options start from the configuration file's folder, wherever a driver is opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.config.load import load_config, validate_config
from agent.config.paths import anchored
from agent.errors import ConfigError
from agent.yamlfile import read
from drivers import base
from tests.processes import Process
from tests.waiting import until

PICTURES = {"driver": "camera.replay", "folder": "pictures", "loop": True}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with all beside it; the current folder is another one."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    (site / "pictures").mkdir(parents=True)
    elsewhere.mkdir()
    cv2.imwrite(str(site / "pictures/0.png"), np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8))
    config = {
        "node": "site-1",
        "run_dir": str(site / "run"),
        "state_dir": str(site / "state"),
        "lanes": {"door": {"source": PICTURES, "model": "person-coarse"}},
        "actuators": {"lamp": {"device": {"driver": "actuator.log", "path": "lamp.jsonl"}, "rest": "off"}},
        "rules": {
            "person": {"any": [{"lane": "door", "label": "person", "score": 0.5}], "actuator": "lamp", "verb": "on"}
        },
    }
    (site / "reflexd.yaml").write_text(json.dumps(config))
    monkeypatch.chdir(elsewhere)
    return site


def test_kind_run_and_actuate_open_what_is_beside_the_configuration(site: Path, tmp_path: Path) -> None:
    config, logs = str(site / "reflexd.yaml"), tmp_path / "elsewhere"
    processes = [Process(logs / f"{command}.log", command, "-c", config) for command in ("actuate", "run")]
    try:
        until(lambda: (site / "lamp.jsonl").is_file() and '"off"' in (site / "lamp.jsonl").read_text())
    finally:
        for process in processes:
            process.stop()
    assert not [*logs.glob("*.jsonl")] and all("DeviceMissing" not in process.text for process in processes)


def _ended(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    code = result.return_value if isinstance(result.return_value, int) else int(result.exception is not None)
    return code, result.output + str(result.exception or "")


@pytest.mark.parametrize("command", [["check"], ["check", "--json"], ["zones", "--lane", "door", "-o", "out.png"]])
def test_kind_commands_find_what_is_beside_the_configuration(site: Path, command: list[str]) -> None:
    arguments = [*command, "-c", str(site / "reflexd.yaml")]
    assert _ended(*arguments)[0] == 0
    shutil.rmtree(site / "pictures")
    code, output = _ended(*arguments)
    assert code != 0 and str(site / "pictures") in output


def test_a_source_on_the_command_line_starts_from_the_current_folder(site: Path) -> None:
    shutil.copytree(site / "pictures", "pictures")
    shutil.rmtree(site / "pictures")
    assert _ended("view", "pictures", "-c", str(site / "reflexd.yaml"), "-o", "out.png")[0] == 0


def test_absolute_paths_addresses_and_the_log_stay(site: Path) -> None:
    data = json.loads((site / "reflexd.yaml").read_text())
    data["lanes"]["door"]["source"]["folder"] = str(site / "pictures")
    data["actuators"]["lamp"]["device"]["path"] = ""
    (site / "reflexd.yaml").write_text(json.dumps(data))
    config = load_config(site / "reflexd.yaml")
    assert config.lanes["door"].source.options["folder"] == str(site / "pictures")
    device = config.actuators["lamp"].device
    assert device and device.options["path"] == ""
    data["lanes"]["door"]["source"] = {"driver": "camera.file", "path": "rtsp://camera/1"}
    (site / "reflexd.yaml").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="camera.rtsp"):
        validate_config(read(site / "reflexd.yaml"))


def _path_options(kind: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every option of a driver whose schema is a path, also in options within options."""
    schema = kind.model_json_schema()

    def walk(node: Any, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        if node.get("format") == "path":
            yield place
        for name, inner in node.get("properties", {}).items():
            yield from walk(inner, (*place, name))
        for inner in node.get("anyOf", []):
            yield from walk(inner, place)

    return walk(schema, place)


@pytest.mark.parametrize("name", base.names())
def test_kind_every_path_of_every_driver(name: str) -> None:
    try:
        options = base.load(name).Options
    except base.DriverError as error:
        pytest.skip(str(error))
    for place in _path_options(options):
        source: Any = "x/y"
        for key in reversed(place):
            source = {key: source}
        made: Any = anchored({"lanes": {"l": {"source": {"driver": name, **source}}}}, Path("/site"))["lanes"]["l"][
            "source"
        ]
        for key in place:
            made = made[key]
        assert made == "/site/x/y", place


def test_kind_the_options_that_name_files_are_paths() -> None:
    expected = {
        "camera.file": ("path",),
        "camera.replay": ("folder",),
        "sensor.replay": ("path",),
        "board.replay": ("path",),
        "sensor.wfdb": ("path",),
        "audio.file": ("path",),
        "actuator.log": ("path",),
        "actuator.signal": ("path",),
    }
    for name, place in expected.items():
        assert place in set(_path_options(base.load(name).Options)), name


OWN = """\
from pathlib import Path
from drivers.actuator import log

class Options(log.Options):
    more: list[Path] = []
    by_name: dict[str, Path] = {}
    plain: str = ""

Driver = log.Driver
"""


def test_kind_lists_of_paths_and_drivers_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs_w").mkdir()
    (tmp_path / "theirs_w/lamp.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    device = {"driver": "theirs_w.lamp", "more": ["a", "/b", 3], "by_name": {"c": "c", "": None}, "plain": "d"}
    made = anchored({"actuators": {"lamp": {"device": device}, "other": None}}, Path("/site"))
    expected = {**device, "more": ["/site/a", "/b", 3], "by_name": {"c": "/site/c", "": None}}
    assert made["actuators"]["lamp"]["device"] == expected


@pytest.mark.parametrize("device", [None, 3, "x", [], {}, {"driver": 3}, {"driver": "camera.none"}, {"driver": []}])
def test_what_is_no_device_stays_for_the_checks(device: Any) -> None:
    data = {"lanes": {"door": {"source": device}}, "actuators": [], "rules": {}}
    assert anchored(data, Path("/site")) == data
