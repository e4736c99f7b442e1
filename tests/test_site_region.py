"""Evidence of other boxes as a lane: what it delivers, what rules make of it, and that a recording of it replays."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.benches.programs import free_port
from agent.data import Sample
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError
from agent.packages import package
from agent.packages.package import Package
from agent.prepare.make import make_preparation
from drivers.base import DeviceFault, open_source
from drivers.remote import BYTES, RemoteEvidence, pack
from drivers.sensor import _site_datagram as datagram
from tests.processes import Cell
from tests.recordings import recorded, replayed
from tests.site_fixtures import HAND, SITE, SiteBox, SiteMaker, site_of
from tests.waiting import until

SECOND = 1_000_000_000


class Lane:
    """A source of remote evidence with the model that passes it on, fed by hand."""

    def __init__(self, folder: Path, *sources: str) -> None:
        options = {"from": sources or ("b/cam",), "timeout_ms": 300}
        source = open_source("sensor.site", options, "region")
        assert isinstance(source, RemoteEvidence)
        self.source = source
        self.source.path = datagram.path(folder, "region")
        self.source.open()
        self.model: Package = package.open_package(package.find("remote-evidence"))
        self._output = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def arrives(self, source: str, t_capture: int, *found: Any) -> None:
        self._output.sendto(datagram.pack(source, t_capture, found), str(self.source.path))

    def read(self) -> Sample | None:
        return self.source.read(0.0)

    def found(self) -> list[tuple[str, float]]:
        """Labels and scores of the newest sample, through model and decoder."""
        sample = self.read()
        assert sample is not None
        assert make_preparation(self.source, self.model, None)(sample.payload, self.model.engine.input(0))
        return [(finding.label, finding.score) for finding in self.model.infer()]


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    made = Lane(tmp_path, "b/cam", "c/cam")
    yield made
    made.source.close()


def test_what_was_found_is_found_here_with_its_place_and_time(lane: Lane) -> None:
    lane.arrives("b/cam", 5, ("hand", 0.9, [0.1, 0.2, 0.3, 0.4], "near"))
    sample = lane.read()
    assert sample and sample.t_capture == 5 and sample.sequence == 0
    lane.model.engine.input(0)[0, : len(sample.payload)] = sample.payload
    (finding,) = lane.model.infer()
    assert (finding.label, finding.score, finding.mark) == ("hand", 0.9, "b/cam near")
    assert finding.box == (0.1, 0.2, 0.3, 0.4)
    assert lane.read() is None


def test_several_lanes_are_one_source_until_each_is_stale(lane: Lane) -> None:
    lane.arrives("b/cam", SECOND, ("hand", 0.9, None, ""))
    assert lane.found() == [("hand", 0.9)]
    lane.arrives("c/cam", SECOND + 1, ("hand", 0.7, None, ""), ("arm", 0.95, None, ""))
    assert lane.found() == [("arm", 0.95), ("hand", 0.9), ("hand", 0.7)]
    lane.arrives("b/cam", SECOND + 2)
    assert lane.found() == [("arm", 0.95), ("hand", 0.7)]
    lane.arrives("b/cam", SECOND + 400_000_000)
    assert lane.found() == [], "c was last heard 0.4 s ago"


def test_only_lanes_that_it_names_are_read(lane: Lane) -> None:
    lane.arrives("d/cam", 5, ("hand", 0.9, None, ""))
    lane._output.sendto(b"\xc1 no datagram of the link", str(lane.source.path))
    assert lane.read() is None


def test_more_than_a_sample_holds_leaves_out_the_least(lane: Lane) -> None:
    lane.arrives("b/cam", 5, *(("hand", n / 100, [0.1, 0.2, 0.3, 0.4], "near") for n in range(60)))
    found = lane.found()
    assert 8 < len(found) < 60 and [score for _, score in found] == [n / 100 for n in range(59, 59 - len(found), -1)]


def test_it_opens_again_and_leaves_no_socket(lane: Lane) -> None:
    assert lane.source.path and lane.source.path.stat().st_mode & 0o077 == 0
    lane.source.open()
    lane.arrives("b/cam", 7)
    sample = lane.read()
    assert sample and sample.sequence == 0
    lane.source.close()
    lane.source.close()
    assert not lane.source.path.exists()


def test_outside_a_daemon_it_says_so() -> None:
    with pytest.raises(DeviceFault, match="only lanes of a daemon"):
        open_source("sensor.site", {"from": ["b/cam"]}, "region").open()


@given(st.binary(max_size=BYTES))
def test_no_bytes_do_anything_but_be_refused(raw: bytes) -> None:
    decoder = decoders.make("evidence", [], {}, [(1, BYTES)])
    stored = np.zeros((1, BYTES), np.uint8)
    stored[0, : len(raw)] = np.frombuffer(raw, np.uint8)
    try:
        for finding in decoder([stored]):
            assert 0 <= finding.score <= 1 and isinstance(finding.label, str)
    except DecoderError:
        pass


def test_a_sample_is_never_longer_than_the_model_takes() -> None:
    for count in range(70):
        assert len(pack([("x" * 64, 0.5, [0.1] * 4, "y" * 64)] * count)) <= BYTES


TOGETHER = [{"lane": name, "label": "hand", "score": 0.5, "within_ms": 400} for name in ("first", "second")]
SUM = [{**condition, "weight": 2.0, "missing_penalty": 3.0} for condition in TOGETHER]


@pytest.fixture
def region(tmp_path: Path) -> Iterator[tuple[Cell, SiteBox, SiteBox]]:
    """A daemon over the evidence of the boxes b and c, which see it."""
    with site_of(tmp_path) as maker:
        address = f"tls/127.0.0.1:{free_port()}"
        b, c = (_box(maker, name, address) for name in "bc")
        with Cell(tmp_path, {}) as cell:
            cell.config.update(_config(maker, address, cell))
            yield cell, b, c


def _box(maker: SiteMaker, name: str, address: str) -> SiteBox:
    box = maker.box(name, ["region", "b", "c"], peers=[address])
    box.settings = box.settings._replace(boxes=[other for other in ("region", "b", "c") if other != name])
    box.start()
    return box


def _config(maker: SiteMaker, address: str, cell: Cell) -> dict[str, Any]:
    keys = maker.authority.make_box("region")
    sources = {"first": "b/cam", "second": "c/cam"}
    return {
        "node": "region",
        "state_dir": str(cell.folder / "state"),
        "site": {"name": SITE, "boxes": ["b", "c"], "listen": [address], "keys": str(keys)},
        "lanes": {
            name: {
                "source": {"driver": "sensor.site", "from": [source], "timeout_ms": 400},
                "critical": name == "first",
            }
            for name, source in sources.items()
        },
        "rules": {"together": {"all": TOGETHER, "actuator": "robot", "verb": "stop"}},
    }


class Shown:
    """Two lanes that infer at 30 Hz until they are changed."""

    def __init__(self, *boxes: SiteBox) -> None:
        self.boxes = boxes
        self.evidence: dict[str, list[Any]] = {box.name: [] for box in boxes}

    def until(self, condition: Any, awaited: Any) -> None:
        def infers() -> Any:
            for box in self.boxes:
                if box.name in self.evidence:
                    box.show(*self.evidence[box.name])
            time.sleep(0.02)  # the lanes' own pace: nothing is waited for
            return condition()

        until(infers, awaited)


def test_two_boxes_together_stop_the_robot_and_the_recording_replays(region: tuple[Cell, SiteBox, SiteBox]) -> None:
    cell, b, c = region
    shown = Shown(b, c)
    cell.actuate()
    daemon = cell.run()
    shown.until(lambda: cell.verbs()[-1:] == ["run"], cell.logs)
    shown.evidence["b"] = [HAND]
    shown.until(lambda: cell.counts("first")["inferences"] > 15, cell.logs)
    assert "stop" not in cell.verbs(), "one of them alone does not"
    shown.evidence["c"] = [HAND]
    shown.until(lambda: cell.verbs()[-1:] == ["stop"], cell.logs)
    shown.evidence["b"] = []
    shown.until(lambda: cell.verbs()[-1:] == ["run"], cell.logs)
    assert daemon.stop() == 0
    report = json.loads(replayed(recorded(cell), "--json")[1])
    assert report["differences"] == [] and report["decisions"] >= 3 and report["lost"] == 0
    assert report["inferences"] == sum(cell.counts(lane)["inferences"] for lane in ("first", "second"))


def test_a_box_that_is_missing_lowers_the_sum_and_counts_again_when_it_is_back(
    region: tuple[Cell, SiteBox, SiteBox],
) -> None:
    cell, b, c = region
    shown = Shown(b, c)
    cell.config["rules"] = {"sum": {"sum": SUM, "prior": 0.2, "confidence": 0.9, "actuator": "robot", "verb": "stop"}}
    cell.actuate()
    daemon = cell.run()
    shown.evidence = {"b": [HAND], "c": [HAND]}
    shown.until(lambda: cell.verbs()[-1:] == ["stop"], cell.logs)
    c.stop(signal.SIGKILL)
    del shown.evidence["c"]
    shown.until(lambda: cell.verbs()[-1:] == ["run"], cell.logs)
    daemon.wait_for("lane second: no new")
    c.start()
    shown.evidence["c"] = [HAND]
    shown.until(lambda: cell.verbs()[-1:] == ["stop"], cell.logs)


def test_a_daemon_whose_link_is_killed_goes_on_and_has_it_back(region: tuple[Cell, SiteBox, SiteBox]) -> None:
    cell, b, c = region
    shown = Shown(b, c)
    cell.actuate()
    daemon = cell.run()
    shown.until(lambda: cell.verbs()[-1:] == ["run"], cell.logs)

    children = psutil.Process(daemon.popen.pid).children()
    (link,) = [each for each in children if "agent.site.link" in each.cmdline()]
    link.kill()
    daemon.wait_for("link ended with -9")
    shown.evidence = {"b": [HAND], "c": [HAND]}
    shown.until(lambda: cell.verbs()[-1:] == ["stop"], cell.logs)
    assert daemon.stop() == 0
