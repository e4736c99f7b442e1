"""`reflexd check` finds what it can before a device moves: keys, files, devices and addresses used twice, misfits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent import keys
from agent.cli import cli
from agent.config.load import check_config
from agent.errors import ConfigError
from agent.packages import package

RELAY = {"driver": "actuator.serial_relay", "channels": {"on": {1: True}, "off": {1: False}}, "safe": "off"}
CAMERA = {"driver": "camera.sim", "width": 320, "height": 240}


def relay(url: str, number: int, **more: Any) -> dict[str, Any]:
    channels = {"on": {number: True}, "off": {number: False}}
    return {"device": {**RELAY, "url": url, "channels": channels, **more}, "rest": "off"}


def rule(lane: str, actuator: str, label: str = "person", **more: Any) -> dict[str, Any]:
    return {"any": [{"lane": lane, "label": label, **more}], "actuator": actuator, "verb": "on"}


def lane(model: str = "person-coarse", **source: Any) -> dict[str, Any]:
    return {"source": source or CAMERA, "model": model}


def written(folder: Path, **sections: Any) -> Path:
    path = folder / "reflexd.yaml"
    head = {"run_dir": str(folder / "run"), "state_dir": str(folder / "state"), "realtime": False}
    path.write_text(json.dumps(head | sections, indent=1), encoding="utf-8")
    return path


def problems(folder: Path, **sections: Any) -> list[str]:
    """Mistakes and warnings, without the file's name."""
    path = written(folder, **sections)
    try:
        warnings = check_config(path)[1]
    except ConfigError as error:
        warnings = error.mistakes
    return [warning.removeprefix(f"{path}:") for warning in warnings]


def has(found: list[str], *words: str) -> bool:
    return len(found) == len(words) and all(word in line for word, line in zip(words, found))


# -- keys ----------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "boxes").mkdir()
    return keys.make(tmp_path, "box")


def test_kind_a_wrong_kind_of_key(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """14: and a missing file, a secret that everybody can read, a network endpoint without server_key."""
    public, secret = map(str, pair)
    remote = {"endpoint": "tcp://192.0.2.9:5555", "rest": "off"}
    good = {"keys": {"own": secret}, "actuators": {"a": {**remote, "server_key": public}}}
    assert problems(tmp_path, **good) == []
    assert has(problems(tmp_path, **{**good, "keys": {"own": public}}), "holds no secret key: name the .key_secret")
    assert has(problems(tmp_path, **{**good, "keys": {"own": f"{secret}x"}}), "reflexd keys DIR")
    wrong = {"a": {**remote, "server_key": secret}}
    assert has(problems(tmp_path, **{**good, "actuators": wrong}), "holds a secret key, which stays on its box")
    assert has(problems(tmp_path, **{**good, "actuators": {"a": remote}}), "set server_key: FILE")
    seal = {"events": {"seal": secret}}
    assert has(problems(tmp_path, **good, recorder=seal), "holds a secret key, which stays on its box")
    os.chmod(secret, 0o604)
    assert has(problems(tmp_path, **good), "mode 0604, so every user of this box can copy the secret key: chmod 600")


def test_the_folder_of_authorized_keys(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    here = {"a": {"device": {"driver": "actuator.sim"}, "endpoint": "tcp://0.0.0.0:5555", "rest": "off"}}
    own = {"own": str(pair[1])}
    assert has(problems(tmp_path, keys=own, actuators=here), "set keys.authorized: FOLDER")
    authorized = {**own, "authorized": str(tmp_path / "boxes")}
    assert has(problems(tmp_path, keys=authorized, actuators=here), "warning: no key in")
    (tmp_path / "boxes" / "far.key").write_bytes(pair[0].read_bytes())
    assert problems(tmp_path, keys=authorized, actuators=here) == []
    (tmp_path / "boxes" / "far.key_secret").write_bytes(pair[1].read_bytes())
    assert has(problems(tmp_path, keys=authorized, actuators=here), "keep only public keys in this folder")
    assert has(problems(tmp_path, keys={**own, "authorized": f"{tmp_path}/none"}), "no folder")


# -- used twice ------------------------------------------------------------------------------------------


def test_kind_one_device_under_two_names(tmp_path: Path) -> None:
    """14: links, and two nodes of one number; other relays of one board are fine."""
    far, near = os.openpty()
    name, link, node = os.ttyname(near), tmp_path / "by-id", tmp_path / "node"
    link.symlink_to(name)
    both = {"a": relay(name, 1), "b": relay(str(link), 2)}
    assert problems(tmp_path, actuators=both) == []
    same = problems(tmp_path, actuators={**both, "b": relay(str(link), 1)})
    assert has(same, f"relay 1 of '{link}' is switched by actuator 'a', too, as '{name}'")
    assert has(problems(tmp_path, actuators={**both, "b": relay(name, 2, baud=19200)}), "at another baud")
    sensor = {"driver": "sensor.serial", "url": str(link), "rate_hz": 100, "channels": ["e1"]}
    found = problems(tmp_path, lanes={"s": {"source": sensor, "model": "nothing"}}, actuators={"a": relay(name, 1)})
    assert any(f"'{name}' is used by lane 's', too, as '{link}': only one may open it" in line for line in found)
    if os.geteuid() == 0:
        os.mknod(node, 0o020600, os.stat(name).st_rdev)
        cameras = {"a": lane(driver="camera.v4l2", device=name), "b": lane(driver="camera.v4l2", device=str(node))}
        assert has(problems(tmp_path, lanes=cameras), "is used by lane 'a', too, as")
    os.close(far)
    os.close(near)


@pytest.mark.parametrize(
    "first, second, clash",
    [
        ("tcp://*:5555", "tcp://0.0.0.0:5555", True),
        ("tcp://*:5555", "tcp://127.0.0.1:05555", True),
        ("tcp://localhost:5555", "tcp://127.0.0.1:5555", True),
        ("tcp://[::1]:5555", "tcp://[0:0::1]:5555", True),
        ("tcp://[::]:5555", "tcp://0.0.0.0:5555", True),
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.2:5555", False),
        ("tcp://*:5555", "tcp://*:5556", False),
        ("ipc:///tmp/x/../a", "ipc:///tmp/a", True),
        ("", "ipc://RUN/a.sock", True),
        ("ipc://RUN/control.sock", "", True),
        ("tcp://127.0.0.1:9109", "", True),
        ("", "", False),
    ],
)
def test_kind_one_address_twice(tmp_path: Path, first: str, second: str, clash: bool) -> None:
    """14: in any spelling; the control socket and metrics have addresses, too."""
    device = {"device": {"driver": "actuator.sim"}, "rest": "off"}
    endpoints = [text.replace("RUN", str(tmp_path / "run")) for text in (first, second)]
    actuators = {name: {**device, "endpoint": text} for name, text in zip("ab", endpoints)}
    found = problems(tmp_path, insecure=True, metrics={"port": 9109}, actuators=actuators)
    assert ["has this address, too" in line for line in found] == ([True] if clash else [])


def test_two_remote_actuators_at_one_address(tmp_path: Path) -> None:
    far = {"endpoint": "tcp://192.0.2.9:5555", "rest": "off"}
    assert has(problems(tmp_path, insecure=True, actuators={"a": far, "b": far}), "actuator 'a' has this address")


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_kind_a_port_that_does_not_exist(tmp_path: Path, port: int) -> None:
    """14."""
    far = {"endpoint": f"tcp://127.0.0.1:{port}", "rest": "off"}
    assert has(problems(tmp_path, actuators={"a": far}), "expected a port from 1 to 65535")


@pytest.mark.parametrize("name, over", [("a", "control.sock"), ("a-long-name-of-an-actuator", None)])
def test_kind_a_run_dir_too_long_for_its_longest_socket(tmp_path: Path, name: str, over: str | None) -> None:
    """14: the kernel's limit is 107 bytes."""
    longest = max(len(f"{name}.sock"), len("control.sock"))
    device = {name: {"device": {"driver": "actuator.sim"}, "rest": "off"}}
    for size, good in ((107, True), (108, False)):
        run_dir = "/" + "d" * (size - longest - 2)
        found = problems(tmp_path, run_dir=run_dir, actuators=device)
        assert found == [] if good else has(found, f"socket {over or name + '.sock'} in run_dir has 108 bytes")


# -- what does not fit ---------------------------------------------------------------------------------------


def test_kind_a_channel_that_the_model_lacks(tmp_path: Path) -> None:
    """14: of a serial line, a simulated sensor, a recording; and in a gate."""
    serial = {"driver": "sensor.serial", "url": "/dev/null", "rate_hz": 250, "channels": ["ecgx"]}
    needs = "model 'heart' needs channel 'ecg'; the source has "
    assert has(problems(tmp_path, lanes={"h": lane("heart", **serial)}), f"{needs}ecgx")
    wave = {"driver": "sensor.sim", "rate_hz": 250, "channels": {"ecg_mv": {}}}
    assert has(problems(tmp_path, lanes={"h": lane("heart", **wave)}), f"{needs}ecg_mv")
    (tmp_path / "run.csv").write_text("t_s,ECG\n" + "".join(f"{i / 250},0\n" for i in range(9)))
    recording = {"driver": "sensor.replay", "path": str(tmp_path / "run.csv")}
    assert has(problems(tmp_path, lanes={"h": lane("heart", **recording)}), f"{needs}ECG")
    gate = {"outlier": {"e1": {"center": 0, "tolerance": 1}, "ex": {"center": 0, "tolerance": 1}}}
    arm = {**lane("arm-deviation", driver="sensor.sim_arm"), "gate": gate}
    assert has(problems(tmp_path, lanes={"arm": arm}), "no channel 'ex'; did you mean")
    assert has(problems(tmp_path, lanes={"h": lane("heart", **CAMERA)}), "driver 'camera.sim' is a camera")
    assert has(problems(tmp_path, lanes={"h": lane("person-coarse", **wave)}), "driver 'sensor.sim' is not a camera")


def test_kind_a_rate_slower_than_the_time_out(tmp_path: Path) -> None:
    """14: cameras, sensors, recordings; and rules that count the lane as missing in between."""
    slow = {**CAMERA, "fps": 1}
    stale = "a sample comes every 1000 ms, but after timeout_ms: 500 the source counts as stale"
    assert has(problems(tmp_path, lanes={"a": lane(**slow)}), stale)
    assert problems(tmp_path, lanes={"a": lane(**slow, timeout_ms=3000)}) == []
    siren = {"siren": {"device": {"driver": "actuator.sim", "verbs": ["on", "off"]}, "rest": "off"}}
    sections = {"lanes": {"a": lane(**slow, timeout_ms=3000)}, "actuators": siren}
    found = problems(tmp_path, **sections, rules={"r": rule("a", "siren")})
    assert any("lane 'a' infers every 1000 ms, but rule 'r' counts it as missing before" in line for line in found)
    found = problems(tmp_path, **sections, rules={"r": rule("a", "siren", within_ms=2500)})
    assert not any("missing before" in line for line in found)
    (tmp_path / "run.csv").write_text("t_s,heart_rate_bpm,contact,rr_ms\n0,0,0,0\n1,0,0,0\n2,0,0,0\n")
    recording = {"driver": "sensor.replay", "path": str(tmp_path / "run.csv")}
    assert has(problems(tmp_path, lanes={"h": lane("heart-strap", **recording)}), stale)


@pytest.mark.parametrize(
    "source",
    [
        {"driver": "camera.file", "path": "FOLDER/none.mp4"},
        {"driver": "camera.replay", "folder": "FOLDER/none"},
        {"driver": "sensor.replay", "path": "FOLDER/none.csv", "channels": ["ecg"], "rate_hz": 250},
        {"driver": "sensor.wfdb", "path": "FOLDER/none"},
        {"driver": "audio.file", "path": "FOLDER/none.wav"},
    ],
)
def test_kind_missing_files_and_folders(tmp_path: Path, source: dict[str, Any]) -> None:
    """14."""
    there = {
        key: value.replace("FOLDER", str(tmp_path)) if isinstance(value, str) else value
        for key, value in source.items()
    }
    found = problems(tmp_path, lanes={"a": {"source": there, "model": "none-such"}})
    assert any(f"'{tmp_path}/none" in line and "does not exist" in line for line in found), found


def test_an_absent_device_is_a_warning_and_a_folder_for_commands_a_mistake(tmp_path: Path) -> None:
    """A daemon starts without its device, which may be plugged in later."""
    found = problems(tmp_path, lanes={"a": lane(driver="camera.v4l2", device=f"{tmp_path}/video9")})
    assert has(found, f"warning: '{tmp_path}/video9' is not there (plugged in?)")
    log = {"device": {"driver": "actuator.log", "path": f"{tmp_path}/none/commands"}, "rest": "off"}
    assert has(problems(tmp_path, actuators={"a": log}), f"'{tmp_path}/none' does not exist")


def test_kind_all_mistakes_in_one_pass(tmp_path: Path) -> None:
    """14: a wrong key hides no mistake of another kind, nor makes one up."""
    found = problems(
        tmp_path,
        nodee="x",
        lanes={"a": {**lane(), "budget": 3}, "b": {"source": "text", "model": "person-coarse"}, "c": lane("no-such")},
        actuators={"siren": {"device": {"driver": "actuator.sim", "verb": 1}, "rest": 7}, "lamp": {"rest": "off"}},
        rules={"r": rule("b", "siren", "persn"), "s": rule("a", "siren", "persn"), "t": rule("x", "lamp")},
    )
    expected = [
        "unknown key 'nodee'",
        "unknown key 'lanes.a.budget'",
        "'lanes.b.source': expected lines",
        "'actuators.siren.rest': expected",
        "no model package 'no-such'",
        "no label 'persn' in model 'person-coarse'",
        "no lane 'x'",
    ]
    assert all(any(word in line for line in found) for word in expected), found
    assert len(found) == len(expected), found


def test_kind_labels_of_a_file_from_windows(tmp_path: Path) -> None:
    """14: a byte order mark and carriage returns are no part of a label."""
    source, folder = package.BUNDLED / "person-coarse", tmp_path / "copy"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    manifest = (folder / "manifest.yaml").read_text()
    changed = manifest.replace('labels: ["person"]', r'labels: ["\uFEFFperson\r"]')
    assert changed != manifest
    (folder / "manifest.yaml").write_text(changed)
    assert package.labels(folder) == ["person"]


@pytest.mark.parametrize(
    "name", ["run", "actuate", "check", "status", "top", "doctor", "trace", "diag", "zones", "view"]
)
def test_kind_a_configuration_without_c(tmp_path: Path, name: str) -> None:
    """14: the file is an argument of every command that has -c."""
    path = tmp_path / "broken.yaml"
    path.write_text("nonsense: 1\n")
    more = {
        "zones": ["-o", "x.png"],
        "view": ["-o", "x.png"],
        "top": ["--once"],
        "doctor": ["--help"],
        "diag": ["--help"],
    }
    run = CliRunner().invoke(cli, [name, str(path), *more.get(name, [])], standalone_mode=name != "check")
    assert "unexpected extra argument" not in run.output.lower()
    if name == "check":
        assert run.return_value == 2 and "unknown key 'nonsense'" in run.stderr
    if name in ("run", "actuate", "zones", "view"):
        assert isinstance(run.exception, ConfigError) and "unknown key 'nonsense'" in str(run.exception)
    twice = CliRunner().invoke(cli, [name, str(path), "-c", "other.yaml", *more.get(name, [])])
    assert "--help" in more.get(name, []) or "two configurations" in twice.output


@pytest.mark.parametrize("model", ["motion-blobs", "person-coarse"])
def test_a_model_that_tells_labels_by_size_is_for_a_camera_that_looks_straight_down(tmp_path: Path, model: str) -> None:
    lanes = {"road": {"source": {"driver": "camera.v4l2", "device": "/dev/video0"}, "model": model}}
    path = written(tmp_path, lanes=lanes)
    warnings = [line for line in check_config(path)[1] if "tells labels by size" in line]
    assert len(warnings) == (model == "motion-blobs")
    assert all("only where the camera looks straight down: for any other view use 'objects'" in w for w in warnings)
