"""Zones drawn in the browser: their lines of YAML, and what writing them leaves as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent import yamlfile
from agent.benches.programs import free_port
from agent.config.edit import write
from agent.scenes import catalog
from agent.web.zones import ZoneError, as_yaml, checked, replaced
from tests.processes import Process
from tests.waiting import until
from tests.web import CELL, Page

DOOR = {"door": [(0.1, 0.2), (0.3, 0.2), (0.3, 0.9)]}
SHAPE = [[0.1, 0.2], [0.3, 0.2], [0.3, 0.9]]
HEAD = "node: cell-1   # the left one\nlanes:\n"


def test_only_the_zones_of_the_lane_change(tmp_path: Path) -> None:
    for scene in ("robot-cell", "perimeter", "campus"):
        path = catalog.find(scene)
        before = path.read_text()
        data = yamlfile.read(path).data
        lane = next(name for name, lane in data["lanes"].items() if "zones" in lane)
        after = replaced(path, lane, DOOR).decode()
        parsed = yamlfile.parse(after.encode(), path).data
        assert parsed["lanes"][lane].pop("zones") == {"door": SHAPE}
        data["lanes"][lane].pop("zones")
        assert parsed == data
        comments = [line for line in before.splitlines() if line.lstrip().startswith("#")]
        assert [line for line in after.splitlines() if line.lstrip().startswith("#")] == comments


@pytest.mark.parametrize(
    "lane, expected",
    [
        (
            "  a:\n    model: m  # why\n    source: {driver: camera.sim}\n\n  # the second\n  b:\n    model: n\n",
            "  a:\n    model: m  # why\n    source: {driver: camera.sim}\n"
            "    zones:\n      door: [[0.1, 0.2], [0.3, 0.2], [0.3, 0.9]]\n\n  # the second\n  b:\n    model: n\n",
        ),
        (
            "  a:\n    zones: {old: [[0, 0], [1, 0], [1, 1]]}\n    model: m\n",
            "  a:\n    zones:\n      door: [[0.1, 0.2], [0.3, 0.2], [0.3, 0.9]]\n    model: m\n",
        ),
        (
            "  a:\n      zones:\n        old:\n          - [0, 0]\n          - [1, 0]\n"
            "          - [1, 1]\n      model: m\n",
            "  a:\n      zones:\n        door: [[0.1, 0.2], [0.3, 0.2], [0.3, 0.9]]\n      model: m\n",
        ),
    ],
    ids=["no zones yet", "one line", "block lists"],
)
def test_the_new_lines_stand_where_the_old_ones_did(tmp_path: Path, lane: str, expected: str) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(HEAD + lane)
    assert replaced(path, "a", DOOR).decode() == HEAD + expected


@pytest.mark.parametrize(
    "text",
    [
        '{"lanes": {"a": {"model": "m", "zones": {}}}}',
        "lanes: {a: {model: m}}\n",
        "lanes:\n  b: &shared\n    model: m\n    zones: {z: [[0, 0], [1, 0], [1, 1]]}\n  a: *shared\n",
        "lanes:\n  a: {model: m}\n",
    ],
)
def test_where_lines_cannot_be_replaced_it_says_so_and_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text(text)
    with pytest.raises(ZoneError, match="copy the zones by hand"):
        replaced(path, "a", DOOR)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {"a b": SHAPE},
        {"": SHAPE},
        {"z": SHAPE[:2]},
        {"z": [[0, 0], [1, 0], [1, 2]]},
        {"z": [[0, 0], [1, 0], [1, float("nan")]]},
        {"z": [[0, 0], [1, 0], [1, True]]},
        {"z": [[0, 0], [1, 0], "x"]},
        {"z": SHAPE * 100},
        {f"z{number}": SHAPE for number in range(65)},
    ],
)
def test_what_is_no_zone_is_refused(raw: Any) -> None:
    with pytest.raises(ZoneError, match="expected|a name has|a corner is"):
        checked(raw)


def test_zones_as_lines_read_back_the_same() -> None:
    zones = checked({"door": SHAPE, "floor": [[0, 0], [1, 0], [1, 1], [0, 1]]})
    text = as_yaml(zones)
    data = yamlfile.parse(text.encode(), Path("x")).data
    assert data == {"zones": {name: [list(corner) for corner in corners] for name, corners in zones.items()}}
    assert as_yaml({}) == "zones: {}\n"


def test_a_file_keeps_its_mode_and_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_text("old: 1\n")
    os.chmod(path, 0o640)
    backup = write(path, b"new: 1\n")
    assert (path.read_text(), backup.read_text()) == ("new: 1\n", "old: 1\n")
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == sorted([path, backup])


@pytest.mark.parametrize("edit", [True, False])
def test_a_zone_that_is_written_decides(tmp_path: Path, edit: bool) -> None:
    port, path = free_port(), tmp_path / "reflexd.yaml"
    folders = {"run_dir": json.dumps(str(tmp_path / "run")), "state_dir": json.dumps(str(tmp_path / "state"))}
    path.write_text(CELL.format(**folders, port=port, edit=str(edit).lower()))
    before = path.read_text()
    daemon = Process(tmp_path / "run.log", "run", "-c", str(path))
    try:
        page = Page(f"http://127.0.0.1:{port}")
        until(lambda: page.get("/api/status")[0] == 200, lambda: daemon.text)
        whole = {"lane": "floor", "zones": {"reach": [[0, 0], [1, 0], [1, 1], [0, 1]]}}
        code, answer = page.post("/api/zones", whole)
        assert (code, answer["ok"]) == (200, True) and "reach: [[0, 0], [1, 0], [1, 1], [0, 1]]" in answer["yaml"]
        unused = page.post("/api/zones", {"lane": "floor", "zones": {"other": SHAPE}})[1]
        assert not unused["ok"] and "reach" in unused["mistakes"][0]
        assert path.read_text() == before
        code, answer = page.post("/api/zones/write", whole)
        if not edit:
            assert code == 403 and "edit: true" in answer["error"] and path.read_text() == before
            return
        assert answer["ok"] and answer["reloaded"] and (tmp_path / answer["backup"]).read_text() == before
        until(lambda: _stops(page), lambda: daemon.text)
    finally:
        daemon.stop()


def _stops(page: Page) -> bool:
    decisions = page.get("/api/decisions")[1]["decisions"]
    return any(decision["rule"] == "reach" and decision["verb"] == "stop" for decision in decisions)
