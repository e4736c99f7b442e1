"""`reflexd site`, doctor, metrics: what a person sees of the site, also where something is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest

from agent import children
from agent.cli import cli
from agent.field.checks import site as check
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Check
from agent.metrics import LedgerCollector
from agent.site import library, published
from agent.site.make_keys import Authority
from tests.field_fixtures import box, configuration
from tests.processes import Cell, arm
from tests.site_fixtures import SiteMaker, site_of
from tests.waiting import until

NOW = datetime(2027, 1, 1, tzinfo=timezone.utc)
OTHER = {
    "state": "there",
    "for_s": 12.0,
    "trip_ms": 0.4,
    "version": "0.2.0",
    "busy": 0.25,
    "p99_ms": {"person-coarse": 1.5},
    "models": {},
    "links": {"c": 0.7},
    "troubles": [],
}
SITE = {
    "site": "hall",
    "node": "a",
    "version": "0.2.0",
    "linked": True,
    "troubles": [],
    "busy": 0.5,
    "p99_ms": {},
    "models": {},
    "boxes": {"b": OTHER},
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteMaker]:
    with site_of(tmp_path) as maker:
        yield maker


def shown(folder: Path, *options: str, **changes: Any) -> tuple[int, str]:
    path = configuration(folder)
    (folder / "run").mkdir(exist_ok=True)
    if changes or "--json" in options:
        published.write(folder / "run", {**SITE, **changes})
    result = CliRunner().invoke(cli, ["site", "-c", str(path), *options], standalone_mode=False)
    return int(result.return_value), result.output


def test_a_line_for_each_box(tmp_path: Path) -> None:
    code, output = shown(tmp_path, boxes={"b": OTHER, "c": {**OTHER, "state": "gone", "for_s": 150.0}})
    assert code == 1
    assert output.splitlines() == [
        "site hall: this box is a, 0.2.0, 50% busy",
        "b: there for 12 s, round trip 0.4 ms, 25% busy, person-coarse p99 1.5 ms, its links: c 0.7 ms, 0.2.0",
        "c: gone for 2 min",
    ]


def test_json_is_what_the_link_wrote(tmp_path: Path) -> None:
    code, output = shown(tmp_path, "--json")
    assert code == 0 and json.loads(output)["boxes"] == {"b": OTHER}


def test_troubles_are_shown_and_escape_no_terminal(tmp_path: Path) -> None:
    code, output = shown(tmp_path, troubles=["another box has the name of this one\x1b[2J"])
    assert code == 1 and "  another box has the name of this one?[2J" in output


def test_alone(tmp_path: Path) -> None:
    code, output = shown(tmp_path)
    assert code == 1 and output.startswith("this box is alone")


def test_metrics_have_each_box(tmp_path: Path) -> None:
    published.write(tmp_path, {**SITE, "boxes": {"b": OTHER, "c": {**OTHER, "state": "gone", "trip_ms": None}}})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector(tmp_path))
    text = generate_latest(registry).decode()
    assert 'reflexd_site_box_up{box="b"} 1.0' in text and 'reflexd_site_box_up{box="c"} 0.0' in text
    assert 'reflexd_site_round_trip_seconds{box="b"} 0.0004' in text and "reflexd_site_linked 1.0" in text
    (tmp_path / published.NAME).unlink()
    assert b"reflexd_site" not in generate_latest(registry)


def checked(folder: Path, section: dict[str, Any], **site: Any) -> dict[str, Check]:
    path = configuration(folder, node="a", insecure=True, site={"name": "hall", "boxes": ["b"], **section})
    (folder / "run").mkdir(exist_ok=True)
    if site:
        published.write(folder / "run", {**SITE, **site})
    return {each.name: each for each in check.checks(box(path))}


def test_doctor_skips_a_box_that_is_alone(tmp_path: Path) -> None:
    assert [each.state for each in check.checks(box(configuration(tmp_path)))] == [SKIP]


def test_doctor_reads_the_certificate(tmp_path: Path) -> None:
    keys = Authority(tmp_path / "keys").make_box("a")
    assert check.certificate(keys, "a", NOW).state == GOOD
    assert check.certificate(keys, "b", NOW).state == BAD
    ends = check.site_keys.read(keys).ends
    soon = check.certificate(keys, "a", ends - check.SOON / 2)
    assert soon.state == WARN and str(ends.year) in soon.cause
    late = check.certificate(keys, "a", datetime(2099, 1, 1, tzinfo=timezone.utc))
    assert late.state == BAD and "2099-01-01" in late.cause


def test_doctor_says_why_a_peer_does_not_answer(site: SiteMaker, tmp_path: Path) -> None:
    a, b = site.pair()
    keys = str(tmp_path / "keys/a")
    good = checked(tmp_path, {"keys": keys, "peers": [b.address]}, boxes={"b": OTHER})
    assert good[f"site peer {b.address}"].cause == "the box there is 'b'" and good["box b"].state == GOOD
    unlisted = checked(tmp_path, {"keys": keys, "peers": [b.address], "boxes": ["c"]})
    assert "the box there is 'b', which site.boxes does not name" in unlisted[f"site peer {b.address}"].cause
    stranger = Authority(tmp_path / "elsewhere").make_box("a")
    refused = checked(tmp_path, {"keys": str(stranger), "peers": [b.address]})[f"site peer {b.address}"]
    assert refused.state == BAD and "no agreement on TLS" in refused.cause
    b.stop()
    away = checked(tmp_path, {"keys": keys, "peers": [b.address]})[f"site peer {b.address}"]
    assert away.state == WARN and "refused" in away.cause.lower()


def test_doctor_names_boxes_that_are_away_or_of_another_version(tmp_path: Path) -> None:
    boxes = {
        "b": {**OTHER, "state": "gone"},
        "c": {**OTHER, "version": "0.1.0"},
        "d": {**OTHER, "troubles": ["two boxes have this name"]},
    }
    found = checked(tmp_path, {}, boxes=boxes, troubles=["this box is alone: no certificate"])
    assert found["box b"].cause == "gone for 12 s" and found["box c"].cause == "has 0.1.0, this box 0.2.0"
    assert found["box d"].cause == "two boxes have this name" and found["site link"].state == BAD


def test_a_daemon_without_the_library_says_so_once_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from agent.config.models import Config

    monkeypatch.setattr(library, "installed", lambda: False)
    config = Config.model_validate({"run_dir": str(tmp_path), "site": {"name": "hall"}})
    children.start_site(None, config, [])  # type: ignore[arg-type]
    assert caplog.messages == [library.MISSING]


def test_a_daemon_starts_changes_and_ends_its_link(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        daemon = cell.run(cell.write())
        daemon.wait_for("runs: lanes arm")
        assert published.read(cell.run_dir) == {}
        keys = Authority(tmp_path / "keys").make_box("cell-1")
        for boxes in (["b"], ["b", "c"]):
            cell.write(site={"name": "hall", "boxes": boxes, "keys": str(keys)})
            daemon.signal(1)
            until(lambda seen=boxes: list(published.read(cell.run_dir).get("boxes", {})) == seen, cell.logs)
        until(lambda: os.path.exists(cell.run_dir / "arm.evidence"), "its lane gives evidence")
        cell.write()
        daemon.signal(1)
        until(lambda: published.read(cell.run_dir) == {}, cell.logs)
        assert daemon.stop() == 0
