"""`release`, `offload` and what a box serves: checked, with advice; the examples of the documentation work."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent import yamlfile
from agent.config.load import check_config
from agent.errors import ConfigError
from agent.packages import package
from agent.web import make_keys
from tests.serving import parameters, remote_package
from tests.shared import ROOT

README = ROOT / "agent/offload/README.md"
CAMERA = {"driver": "camera.sim", "timeout_ms": 1000}
PEERS = {"p": {"url": "https://box-2:8443", "keys": "keys"}}


def keys(folder: Path) -> None:
    """The files that the example names."""
    certificate, _, token = make_keys.make(folder / "keys", ["yard-1.local"])
    (folder / "yard-2").mkdir()
    for file in (certificate, token):
        shutil.copy(file, folder / "yard-2")


def test_the_examples_of_the_documentation_are_accepted(tmp_path: Path) -> None:
    remote, box = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    keys(tmp_path)
    (tmp_path / "reflexd.yaml").write_text(box)
    config, _ = check_config(tmp_path / "reflexd.yaml")
    assert config.lanes["yard"].release == ["yard-2"] and config.offload and config.offload.serve
    stated, network = (
        yamlfile.parse(remote.encode(), README).data,
        package.open_package(package.find("movenet")).network,
    )
    assert stated["input"]["shape"] == list(network.inputs[0].shape)
    assert stated["outputs"][0]["shape"] == list(network.outputs[0].shape)


def mistakes(folder: Path, **changes: Any) -> list[str]:
    """Of a good configuration with something changed."""
    if not (folder / "keys").exists():
        make_keys.make(folder / "keys", [])
    lane = {"source": CAMERA, "model": "person-coarse", "critical": False, "release": ["p"], "offload": {}}
    content = {
        "run_dir": str(folder / "run"),
        "lanes": {"yard": {**lane, **changes.pop("lane", {})}},
        "actuators": {"gate": {"device": {"driver": "actuator.sim"}, "rest": "open"}},
        "offload": {"peers": PEERS},
        **changes,
    }
    path = folder / "reflexd.yaml"
    path.write_text(json.dumps(content, indent=1))
    try:
        check_config(path)
    except ConfigError as error:
        return [re.sub(r"^.*?:\d+: ", "", mistake) for mistake in error.mistakes if "warning" not in mistake]
    return []


def test_a_good_one_has_no_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path) == []


REFINE = {"model": "movenet", "label": "person"}


@pytest.mark.parametrize(
    ("lane", "mistake"),
    [
        ({"release": []}, "no peer gets this lane's inputs: add 'release: [PEER]'"),
        ({"release": ["q"]}, "no peer gets this lane's inputs"),
        ({"critical": True}, "a critical lane with 2 ms waits for no other box"),
        ({"critical": True, "budget_ms": 20}, "of a critical lane only the model of 'refine' may leave"),
        ({"critical": True, "budget_ms": 20, "refine": REFINE, "offload": {"models": ["person-coarse"]}}, "no model"),
        ({"offload": {"models": ["movenet"]}}, "no model 'movenet' that may leave"),
        ({"offload": {"start": 0.5}}, "stop: expected less than start, 0.5"),
        ({"offload": {"begin": 0.5}}, "unknown key 'lanes.yard.offload.begin'"),
    ],
)
def test_what_may_not_leave_is_said_with_what_to_do(lane: dict[str, Any], mistake: str, tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, lane=lane)
    assert mistake in found, found


@pytest.mark.parametrize(
    ("peer", "mistake"),
    [
        ({"url": "box-2"}, "expected http://"),
        ({"url": "grpcs://box-2:8001"}, "a peer is asked over https://"),
        ({"url": "http://box-2:8000"}, "the link is not encrypted, so nothing is released to it: use https://"),
        ({"url": "https://me:hunter2@box-2"}, "a url has no user and no password"),
        ({"url": "https://box-2", "keys": None}, "add keys: FOLDER, with copies of its web.crt and web.token"),
        ({"url": "https://box-2", "keys": "absent"}, "absent: No such file or directory: copy web.crt and web.token"),
    ],
)
def test_a_peer_that_would_get_nothing_is_a_mistake(peer: dict[str, Any], mistake: str, tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, offload={"peers": {"p": {"keys": "keys", **peer}}})
    assert mistake in found and "hunter2" not in found


@pytest.mark.parametrize(
    ("serve", "mistake"),
    [
        ({"host": "0.0.0.0"}, "can be reached from the network, and inferences for others have no keys"),
        ({"host": "0.0.0.0", "keys": "absent"}, "'reflexd keys --web"),
        ({"models": ["unheard-of"]}, "no model package 'unheard-of'"),
        ({"models": []}, "models"),
        ({"port": 0}, "port"),
        ({"busy": 2}, "busy"),
    ],
)
def test_what_cannot_be_served_is_a_mistake(serve: dict[str, Any], mistake: str, tmp_path: Path) -> None:
    section = {"port": 8443, "models": ["person-coarse"], **serve}
    (found,) = mistakes(tmp_path, offload={"peers": PEERS, "serve": section})
    assert mistake in found, found


def test_two_that_listen_at_one_address_are_a_mistake(tmp_path: Path) -> None:
    serve = {"port": 9108, "models": ["person-coarse"]}
    offload = {"peers": PEERS, "serve": serve}
    (found,) = mistakes(tmp_path, offload=offload, metrics={"port": 9108})
    assert "has this address, too" in found


def test_a_lane_releases_its_pictures_to_its_server_by_name(tmp_path: Path) -> None:
    content = parameters("person-coarse", "https://gpu-1:8443")
    remote = str(remote_package(tmp_path / "remote", "person-coarse", content))
    lane = {"model": remote, "release": [], "offload": None}
    (found,) = mistakes(tmp_path, lane=lane)
    assert "runs on server 'gpu-1', which then gets what this lane's source delivers" in found
    assert "add 'release: [gpu-1]'" in found
    assert mistakes(tmp_path, lane={**lane, "release": ["gpu-1"]}) == []
    (found,) = mistakes(tmp_path, lane={**lane, "release": ["gpu-1"], "share": True})
    assert "runs on a server: remove 'share'" in found
    remote_package(tmp_path / "remote", "person-coarse", {**content, "url": "http://gpu-1:8000"})
    (found,) = mistakes(tmp_path, lane={**lane, "release": ["gpu-1"]})
    assert "is not encrypted, so nothing is released to it" in found
    serve = {"port": 8443, "models": [remote]}
    (found,) = mistakes(tmp_path, offload={"peers": PEERS, "serve": serve})
    assert "runs on a server: ask that one" in found
