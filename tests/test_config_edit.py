"""Single values changed in a configuration's text: comments, order and layout stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent import yamlfile
from agent.config.edit import EditError, changed
from agent.scenes import catalog
from agent.yamlfile import Place

HEAD = "node: cell-1   # the left one\nlanes:\n"
MODEL, THREADS = ("lanes", "a", "model"), ("lanes", "a", "threads")
AREA = ("lanes", "a", "gate", "motion", "min_area")


def edited(folder: Path, text: str, changes: dict[Place, Any]) -> str:
    path = folder / "cell.yaml"
    path.write_bytes(text.encode())
    return changed(path, changes).decode()


@pytest.mark.parametrize(
    "lane, changes, expected",
    [
        (
            "  a:\n    model: m   # why\n    # and this\n    source: {driver: camera.sim}\n",
            {MODEL: "person-coarse"},
            "  a:\n    model: person-coarse   # why\n    # and this\n    source: {driver: camera.sim}\n",
        ),
        ("  a: {model: m, source: {}}   # one line\n", {MODEL: "p"}, "  a: {model: p, source: {}}   # one line\n"),
        ("  a: {model: m}   # one line\n", {THREADS: 2}, "  a: {model: m, threads: 2}   # one line\n"),
        (
            "  a:\n    source: {}\n    model: m   # why\n    # the zones\n    zones: {}\n",
            {THREADS: 2},
            "  a:\n    source: {}\n    model: m   # why\n    threads: 2\n    # the zones\n    zones: {}\n",
        ),
        ("  a:\n    model: m", {THREADS: 2}, "  a:\n    model: m\n    threads: 2\n"),
        (
            "  a:\n    threads: 1  # of one\n    model: m\n",
            {THREADS: 2},
            "  a:\n    threads: 2  # of one\n    model: m\n",
        ),
        ("  a:\r\n    model: m\r\n", {THREADS: 2}, "  a:\r\n    model: m\r\n    threads: 2\r\n"),
        (
            "  a:\n    gate:\n      motion: {pad: 0.2}   # wide\n      keyframe: {}\n    model: m\n",
            {AREA: 0.01},
            "  a:\n    gate:\n      motion: {pad: 0.2, min_area: 0.01}   # wide\n      keyframe: {}\n    model: m\n",
        ),
        (
            "  a:\n    model: m\n    gate: {motion: {}}\n",
            {AREA: 0.01},
            "  a:\n    model: m\n    gate: {motion: {min_area: 0.01}}\n",
        ),
        (
            "  a:\n    model: m\n",
            {("lanes", "a", "gate"): {"motion": {"crop": True}, "active_interval_ms": 160.0}, MODEL: "./my model"},
            '  a:\n    model: "./my model"\n    gate: {motion: {crop: true}, active_interval_ms: 160.0}\n',
        ),
        ("  a:\n    model: m\n", {AREA: 0.01}, "  a:\n    model: m\n    gate: {motion: {min_area: 0.01}}\n"),
        ("  a:\n    model: |\n      m\n    then: p\n", {MODEL: "p"}, "  a:\n    model: p\n    then: p\n"),
        ('  a:\n    model: "m"\n', {MODEL: "off"}, '  a:\n    model: "off"\n'),
    ],
)
def test_only_the_values_change(tmp_path: Path, lane: str, changes: dict[Place, Any], expected: str) -> None:
    assert edited(tmp_path, HEAD + lane, changes) == HEAD + expected


def test_the_other_lanes_of_every_scene_stay_as_they_are(tmp_path: Path) -> None:
    for scene in catalog.names():
        path = catalog.find(scene)
        before, data = path.read_text(), yamlfile.read(path).data
        for lane in data["lanes"]:
            after = changed(path, {("lanes", lane, "model"): "other", ("lanes", lane, "threads"): 2}).decode()
            lines, new = before.splitlines(), after.splitlines()
            assert len([line for line in lines if line not in new]) == 1
            data["lanes"][lane] |= {"model": "other", "threads": 2}
            assert yamlfile.parse(after.encode(), path).data == data
            data = yamlfile.read(path).data


@pytest.mark.parametrize(
    "lanes",
    [
        "  b: &same\n    model: m\n  a: *same\n",  # a change of one would change both
        "  a: m\n",
        "  a: [m]\n",
    ],
    ids=["anchor", "no section", "a list"],
)
def test_what_cannot_be_changed_alone_is_left_with_a_message(tmp_path: Path, lanes: str) -> None:
    with pytest.raises(EditError, match=r"cell\.yaml.*by hand"):
        edited(tmp_path, HEAD + lanes, {MODEL: "n", THREADS: 2})


def test_a_file_in_json_stays_one(tmp_path: Path) -> None:
    data = {"node": "cell-1", "lanes": {"a": {"source": {"driver": "camera.sim"}, "model": "m"}}}
    for indent in (None, 1):
        changes: dict[Place, Any] = {MODEL: "p", THREADS: 2, AREA: 0.5}
        lane = json.loads(edited(tmp_path, json.dumps(data, indent=indent), changes))["lanes"]["a"]
        assert (lane["model"], lane["threads"], lane["gate"]) == ("p", 2, {"motion": {"min_area": 0.5}})
