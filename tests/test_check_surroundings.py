"""`reflexd check` finds what a configuration names and would never get: folders, devices, senders, addresses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent import keys
from agent.box.watchdog import HardwareWatchdog
from agent.config.load import check_config, load_config
from tests.test_check import has, lane, problems, relay, written

SIREN = {"device": {"driver": "actuator.sim"}, "rest": "off"}


@pytest.mark.parametrize("name", ["gate-1.key", "gate-1.txt", "gate-1.key_secret"])
def test_kind_a_secret_key_among_the_authorized_ones(tmp_path: Path, name: str) -> None:
    """Whatever its file is called."""
    public, secret = keys.make(tmp_path / "keys", "box")
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    shutil.copy(public, boxes / "far.key")
    (boxes / "README").write_text("keys of the boxes\n")
    sections = {"keys": {"own": str(secret), "authorized": str(boxes)}}
    assert problems(tmp_path, **sections) == []
    shutil.copy(secret, boxes / name)
    assert has(problems(tmp_path, **sections), f"{boxes / name}: a secret key, which stays on its box")


def test_kind_nobody_is_authorized(tmp_path: Path) -> None:
    """The actuator listens in the network, and no other box could ever command it."""
    _, secret = keys.make(tmp_path / "keys", "box")
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "README").write_text("keys of the boxes\n")
    (boxes / "._far.key").write_text("what a Mac puts beside a file\n")
    sections: dict[str, Any] = {"keys": {"own": str(secret), "authorized": str(boxes)}}
    served = {"actuators": {"siren": {**SIREN, "endpoint": "tcp://0.0.0.0:5599"}}}

    def warned(**more: Any) -> list[str]:
        return [
            line
            for line in check_config(written(tmp_path, **sections, **more))[1]
            if "authorized" in line or "no key" in line
        ]

    (warning,) = warned(**served)
    assert f"warning: no key in '{boxes}'" in warning and "named NODE.key" in warning
    assert warned(actuators={"siren": SIREN}) == [], "nobody commands it from another box"
    public, _ = keys.make(tmp_path / "far", "box")
    shutil.copy(public, boxes / "far.key")
    assert warned(**served) == []
    shutil.rmtree(boxes)
    assert has(problems(tmp_path, **sections, **served), "no folder")


@pytest.mark.parametrize(
    "sender, words",
    [
        ("gate-1/yrd", "no lane 'gate-1/yrd', which this actuator waits for; did you mean 'gate-1/yard'?"),
        ("yard", "expected box/lane, found 'yard'; did you mean 'gate-1/yard'?"),
        ("gate-1/", "expected box/lane"),
        ("gate-1/yard/x", "expected box/lane"),
        ("gate-1/yard", ""),
        ("gate-2/yrd", ""),
    ],
)
def test_kind_a_sender_that_never_sends(tmp_path: Path, sender: str, words: str) -> None:
    """Its actuator would stay in the safe state for ever; lanes of other boxes are not known here."""
    sections: dict[str, Any] = {"node": "gate-1", "lanes": {"yard": lane()}, "actuators": {"siren": SIREN}}
    assert problems(tmp_path, **sections) == []
    sections["actuators"] = {"siren": {**SIREN, "senders": ["gate-1/yard", sender]}}
    assert has(problems(tmp_path, **sections), *([words] if words else []))


def test_a_file_of_actuators_alone_may_wait_for_any_lane(tmp_path: Path) -> None:
    assert problems(tmp_path, node="gate-1", actuators={"siren": {**SIREN, "senders": ["gate-1/yard"]}}) == []


@pytest.mark.parametrize(
    "source, words",
    [
        ({"driver": "camera.file", "path": "DIR"}, "is a folder: name a file"),
        ({"driver": "camera.file", "path": "/dev/null"}, "is no regular file"),
        ({"driver": "camera.file", "path": "EMPTY"}, "is empty"),
        ({"driver": "audio.file", "path": "DIR"}, "is a folder: name a file"),
        ({"driver": "audio.file", "path": "FILE"}, "FILE"),
        ({"driver": "sensor.replay", "path": "DIR"}, "is a folder: name a file"),
        ({"driver": "camera.replay", "folder": "FILE"}, "is a file: a folder is needed"),
        ({"driver": "camera.replay", "folder": "DIR"}, "contains no .png"),
        ({"driver": "camera.replay", "folder": "PICTURES"}, "does not decode"),
    ],
)
def test_kind_a_recording_that_could_never_be_played(tmp_path: Path, source: dict[str, Any], words: str) -> None:
    for name in ("DIR", "PICTURES"):
        (tmp_path / name).mkdir()
    for name, text in (("FILE", "no,recording\n"), ("EMPTY", ""), ("PICTURES/1.png", "no picture")):
        (tmp_path / name).write_text(text)
    key = "folder" if "folder" in source else "path"
    found = problems(tmp_path, lanes={"a": {"source": {**source, key: f"{tmp_path / source[key]}"}, "model": "none"}})
    assert any("no model package 'none'" in line for line in found)
    assert has([line for line in found if "no model package" not in line], words)


def test_an_actuator_that_would_write_into_a_folder(tmp_path: Path) -> None:
    log = {"device": {"driver": "actuator.log", "path": str(tmp_path)}, "rest": "off"}
    assert has(problems(tmp_path, actuators={"a": log}), f"'{tmp_path}' is a folder: name a file")


def test_kind_a_file_where_a_folder_is_made(tmp_path: Path) -> None:
    file = tmp_path / "rec.csv"
    file.write_text("t_s,x\n")
    for sections in ({"run_dir": str(file)}, {"state_dir": str(file / "deep" / "er")}):
        assert has(problems(tmp_path, **sections), f"'{file}' is a file: name another folder")
    ipc = {"a": {**SIREN, "endpoint": f"ipc://{file}/a.sock"}}
    assert has(problems(tmp_path, actuators=ipc), f"'{file}' is a file: name another folder")


def test_kind_a_watchdog_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A device may come later; to feed a file would be to overwrite it."""
    file = tmp_path / "rec.csv"
    assert has(problems(tmp_path, watchdog_device=str(file)), f"warning: '{file}' is not there")
    assert has(problems(tmp_path, watchdog_device=str(tmp_path)), "is no device: name one such as /dev/watchdog1")
    assert problems(tmp_path, watchdog_device="/dev/null") == []
    file.write_text("t_s,x\n")
    assert has(problems(tmp_path, watchdog_device=str(file)), "is no device: name one such as /dev/watchdog1")
    watchdog = HardwareWatchdog(file)
    watchdog.feed(1)
    watchdog.close(stop=True)
    assert file.read_text() == "t_s,x\n" and "a file, no device: not fed" in caplog.text


@pytest.mark.parametrize(
    "first, second, clash",
    [
        ("FOLDER/relay", "relay", True),
        ("relay", "./x/../relay", True),
        ("socket://Relay.local:4001", "socket://relay.local:4001/", True),
        ("socket://localhost:4001", "socket://127.0.0.1:04001", True),
        ("rfc2217://relay:4001", "rfc2217://RELAY:4001?timeout=3", True),
        ("socket://relay:4001", "socket://relay:4002", False),
        ("socket://relay:4001", "rfc2217://relay:4001", False),
        ("relay", "relay2", False),
    ],
)
def test_kind_one_device_in_two_spellings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str, clash: bool
) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    names = [name.replace("FOLDER", str(tmp_path)) for name in (first, second)]
    found = problems(tmp_path, actuators={"a": relay(names[0], 1), "b": relay(names[1], 1)})
    mistakes = [line for line in found if "warning:" not in line]
    assert has(mistakes, *(["is switched by actuator 'a', too"] if clash else []))


def test_an_absent_device_of_a_relative_name_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert has(problems(tmp_path, actuators={"a": relay("relay", 1)}), "warning: 'relay' is not there (plugged in?)")
    os.symlink("/dev/null", "relay")
    assert problems(tmp_path, actuators={"a": relay("relay", 1)}) == []


@pytest.mark.parametrize(
    "source, words",
    [
        ({"driver": "camera.v4l2", "device": "rtsp://admin:Zebra9Qx@192.0.2.7/l"}, "driver camera.rtsp"),
        ({"driver": "camera.file", "path": "rtsp://admin:Zebra9Qx@192.0.2.7/l"}, "driver camera.rtsp"),
        ({"driver": "camera.replay", "folder": "rtsp://admin:Zebra9Qx@192.0.2.7/l"}, "driver camera.rtsp"),
        ({"driver": "camera.rtsp", "url": "/dev/video0"}, "driver camera.v4l2"),
    ],
)
def test_kind_an_address_of_another_driver(tmp_path: Path, source: dict[str, Any], words: str) -> None:
    """The driver that reads it is named, the password is not."""
    path = written(tmp_path, lanes={"a": lane(**source)})
    os.chmod(path, 0o600)
    with pytest.raises(Exception, match=words) as raised:
        load_config(path)
    assert "Zebra9Qx" not in str(raised.value) and len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("endpoint", ["tcp://::1:5571", "tcp://fd00::2:5571", "tcp://[::1:5571"])
def test_kind_an_ipv6_endpoint_without_brackets(tmp_path: Path, endpoint: str) -> None:
    found = problems(tmp_path, insecure=True, actuators={"a": {**SIREN, "endpoint": endpoint}})
    address = endpoint.removeprefix("tcp://").removesuffix(":5571").strip("[")
    assert has(found, f"write an IPv6 address in brackets, then the port: tcp://[{address}]:5571")
    good = {"a": {**SIREN, "endpoint": f"tcp://[{address}]:5571"}}
    assert problems(tmp_path, insecure=True, actuators=good) == []


@pytest.mark.parametrize(
    ("model", "more", "condition", "key"),
    [
        ("person-coarse", {}, {"zone": "door"}, "zone"),
        ("person-coarse", {}, {"count": 2}, "count"),
        ("person-coarse", {}, {}, ""),
        ("person-coarse", {"refine": {"model": "movenet", "label": "person"}}, {"zone": "door"}, ""),
        ("objects", {}, {"zone": "door", "count": 2}, ""),
    ],
)
def test_a_wake_up_gate_gives_no_positions(
    tmp_path: Path, model: str, more: dict[str, Any], condition: dict[str, Any], key: str
) -> None:
    zones = {"door": [[0.6, 0], [1, 0], [1, 1], [0.6, 1]]}
    camera = {"driver": "camera.v4l2", "device": "/dev/video0"}
    lanes = {"yard": {"source": camera, "model": model, "zones": zones, **more}}
    rules = {"in": {"any": [{"lane": "yard", "label": "person", **condition}], "actuator": "siren", "verb": "on"}}
    path = written(tmp_path, lanes=lanes, rules=rules, actuators={"siren": SIREN})
    warnings = [line for line in check_config(path)[1] if "wake-up gate" in line]
    assert len(warnings) == bool(key)
    assert all(
        f"'{key}' may miss them: use 'objects', or 'refine: {{model: movenet, label: person}}'" in line
        for line in warnings
    )
