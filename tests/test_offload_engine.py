"""A lane's engine that asks a peer while its box is busy: in time, released, and with an answer of its own."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends.base import Late
from agent.benches.programs import free_port
from agent.build import make_lane
from agent.config.models import Config
from agent.data import Array, Box, Sample
from agent.decoders.base import Finding
from agent.errors import PackageError
from agent.offload import peers
from agent.offload.choose import Limits, PeerState
from agent.offload.engine import NEVER, Lane, OffloadEngine
from agent.offload.links import BytesLink, HttpLink, Link, Model
from agent.offload.peers import Peers, View
from agent.open_inference.release import Recipient, Release, Released, opened
from agent.open_inference.server import Away, Refusal, parse
from agent.packages import package
from agent.packages.package import Package
from agent.vision.config import RefineConfig
from agent.vision.refine import Refine
from tests.serving import serving

MODEL = "person-coarse"
MS = 1_000_000
FRAME = np.full((240, 320, 3), 110, np.uint8)


class Fake:
    """A link that answers as the test says."""

    def __init__(self, name: str = "p") -> None:
        self.recipient = Recipient(name, here=True, encrypted=False)
        self.failure: Exception | None = None
        self.asked: list[Array] = []
        self.deadlines: list[int] = []

    def infer(self, model: Model, released: Released, deadline: int) -> list[Array]:
        self.asked.append(opened(released, self.recipient))
        self.deadlines.append(deadline)
        if self.failure:
            raise self.failure
        return [np.full(tensor.shape, 7, tensor.dtype) for tensor in model.outputs]


class Moved:
    """A package with an engine that may ask, on a box whose load and peers a test sets."""

    def __init__(self, folder: Path, link: Link, may_skip: bool = False, release: tuple[str, ...] = ("p",)) -> None:
        self.folder, self.link = folder, link
        self.opened = package.open_package(package.find(MODEL))
        checksum = self.opened.manifest.checksum
        lane = Lane("yard", MODEL, Limits(0.8, 0.6), lambda: 0.0, 2)
        links = {link.recipient.name: link}
        self.engine = OffloadEngine(self.opened.network, checksum, lane, View(folder), links, may_skip)
        self.engine.permit(Release(release))
        self.opened.put_around(self.engine)

    def know(self, busy: float, peer_busy: float = 0.2, ms: float = 1.0) -> None:
        now = time.monotonic_ns()
        state = PeerState("p", peer_busy, 0.1, {self.opened.manifest.checksum: ms}, now)
        peers.write(self.folder, Peers(busy, (state,), now))
        self.engine._view._looked = self.engine._view._changed = self.engine._observed = 0

    def infer(self, left_ms: float = 1000.0) -> None:
        self.engine.deadline = time.monotonic_ns() + int(left_ms * MS)
        self.engine.invoke()

    @property
    def asked(self) -> bool:
        return bool((self.engine.output(0) == 7).all())


def test_a_box_that_is_not_busy_computes_here(tmp_path: Path) -> None:
    moved = Moved(tmp_path, Fake())
    moved.infer()
    moved.know(busy=0.5)
    moved.infer()
    assert not moved.asked and moved.engine.handed == 0


def test_a_busy_one_asks_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake()
    moved = Moved(tmp_path, fake)
    moved.engine.input(0)[...] = 3
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            moved.know(busy=0.9)
            moved.infer()
    assert moved.asked and moved.engine.handed == 3 and (fake.asked[0] == 3).all()
    assert caplog.messages == ["lane yard: box busy 90 %: model person-coarse is handed to peers"]


@pytest.mark.parametrize("deadline", [0, -1, NEVER, 1 << 62])
def test_without_a_budget_or_after_it_nobody_is_asked(deadline: int, tmp_path: Path) -> None:
    """A replay is exact on one box alone."""
    fake = Fake()
    moved = Moved(tmp_path, fake)
    moved.know(busy=0.9)
    moved.engine.deadline = time.monotonic_ns() + deadline if deadline < 0 else deadline
    moved.engine.invoke()
    assert not fake.asked and not moved.asked


def test_a_lane_that_does_not_release_its_inputs_asks_nobody(tmp_path: Path) -> None:
    fake = Fake()
    for release in ((), ("q",)):
        moved = Moved(tmp_path, fake, release=release)
        moved.know(busy=0.9)
        moved.infer()
        assert not fake.asked and not moved.asked and moved.engine.missed == 0


FAILURES = [Away("does not answer in time"), Refusal("answers with status 503"), Away("cannot be reached")]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_peer_that_fails_is_counted_and_the_answer_is_computed_here(failure: Exception, tmp_path: Path) -> None:
    fake = Fake()
    moved = Moved(tmp_path, fake)
    fake.failure = failure
    for _ in range(3):
        moved.know(busy=0.9)
        moved.infer()
        assert not moved.asked
    assert len(fake.asked) == 1 and moved.engine.missed == 1  # then it is left alone for a while
    assert moved.engine.reason == f"peer 'p' {failure}"


def test_a_call_ends_early_enough_to_compute_it_here_where_there_is_room_for_both(tmp_path: Path) -> None:
    fake = Fake()
    moved = Moved(tmp_path, fake)
    moved.engine._here_ns = 100 * MS
    moved.know(busy=0.9)
    moved.infer(left_ms=1000)
    assert fake.deadlines[-1] == moved.engine.deadline - 100 * MS
    moved.know(busy=0.9)
    moved.infer(left_ms=90)
    assert fake.deadlines[-1] == moved.engine.deadline


def test_a_peer_is_not_asked_where_its_answer_would_come_too_late(tmp_path: Path) -> None:
    fake = Fake()
    moved = Moved(tmp_path, fake)
    moved.know(busy=0.9, ms=500.0)
    moved.infer(left_ms=400)
    assert not fake.asked and not moved.asked


def test_a_refining_look_that_is_missed_is_none_and_the_first_answer_stands(tmp_path: Path) -> None:
    fake = Fake()
    moved = Moved(tmp_path, fake, may_skip=True)
    moved.know(busy=0.9)
    fake.failure = Away("does not answer in time")
    with pytest.raises(Late, match="peer 'p' does not answer in time"):
        moved.infer()
    moved.engine._here_ns = 10**10
    with pytest.raises(Late, match="no time for it here"):
        moved.infer()


class Refining:
    """A refining model that peers may compute, and one object in doubt."""

    def __init__(self, folder: Path, fake: Fake) -> None:
        self.moved = Moved(folder, fake, may_skip=True)
        self.refine = Refine(self.moved.opened, RefineConfig.model_validate({"model": MODEL, "label": "person"}))
        self.refine.start("bgr")
        self.coarse = [Finding("person", 0.5, Box(0.4, 0.3, 0.5, 0.6))]

    def look(self, left_ms: float) -> Any:
        deadline = time.monotonic_ns() + int(left_ms * MS)
        self.moved.engine.deadline = deadline
        return self.refine(Sample("cam", 1, time.monotonic_ns(), FRAME), self.coarse, deadline)


def test_the_lane_keeps_the_coarse_answer_and_marks_it(tmp_path: Path) -> None:
    fake = Fake()
    refining = Refining(tmp_path, fake)
    refining.moved.know(busy=0.9)
    assert refining.look(1000).refined and refining.moved.engine.handed == 1
    fake.failure = Refusal("answers with status 503: busy")
    refining.moved.know(busy=0.9)
    missed = refining.look(1000)
    assert missed.refine_skipped and missed.findings == refining.coarse and refining.moved.engine.missed == 1


def test_a_peer_is_asked_where_there_was_no_time_for_it_here(tmp_path: Path) -> None:
    """On a busy box the refining model takes too long: that is what peers are for."""
    refining = Refining(tmp_path, Fake())
    refining.refine.cost_ns = refining.moved.engine._here_ns = 10**10
    refining.moved.know(busy=0.5)
    assert refining.look(1000).refine_skipped
    refining.moved.know(busy=0.9)
    assert refining.look(1000).refined and refining.moved.engine.handed == 1


def test_another_version_on_the_lane_is_handed_over_as_the_one_before(tmp_path: Path) -> None:
    first, second = (package.open_package(package.find(MODEL)) for _ in range(2))
    wrapped: list[Package] = []
    first.on_lane = wrapped.append
    second.follow(first)
    first.follow(second)  # it is taken back, and has its engine still
    assert wrapped == [second]


@pytest.mark.parametrize("link", ["http", "bytes"])
def test_a_peer_computes_what_this_box_would(link: str, tmp_path: Path) -> None:
    with serving(MODEL) as box:
        made: Link = HttpLink(parse("p", box.url))
        if link == "bytes":
            made = BytesLink(Recipient("p", here=True, encrypted=False), box.served.infer)
        moved, local = Moved(tmp_path, made), package.open_package(package.find(MODEL))
        for row in np.load(local.folder / "golden.npz")["input_0"][:3]:
            for each in (local.engine, moved.engine):
                each.fill(row)
            local.engine.invoke()
            moved.know(busy=0.9)
            moved.infer(left_ms=60_000)
            assert np.array_equal(moved.engine.output(0), local.engine.output(0))
            assert moved.opened.findings() == (local.infer())
        assert moved.engine.handed == 3 and box.served.served == 3


CAMERA = {"driver": "camera.sim", "width": 160, "height": 120, "fps": 20, "timeout_ms": 1000}


def configured(folder: Path, **lane: Any) -> Config:
    url = f"http://127.0.0.1:{free_port()}"
    section = {"source": CAMERA, "model": MODEL, "critical": False, "budget_ms": 200, **lane}
    content = {"run_dir": folder, "offload": {"peers": {"p": {"url": url}}}, "lanes": {"yard": section}}
    return Config.model_validate(content)


def engines(config: Config, folder: Path) -> dict[str, bool]:
    """Of each package of the lane: may a peer compute it?"""
    lane = make_lane("yard", config, folder, 0)
    perception = lane.perception
    assert perception.engine is perception.package.engine
    assert perception.refine is None or perception.refine.engine is perception.refine.package.engine
    return {each.name: isinstance(each.network, OffloadEngine) for each in perception.packages}


REFINE = {"model": "movenet", "label": "person"}


@pytest.mark.parametrize(
    ("lane", "moved"),
    [
        ({"offload": {}}, {MODEL: True}),
        ({}, {MODEL: False}),
        ({"offload": {}, "refine": REFINE}, {MODEL: True, "movenet": True}),
        ({"offload": {}, "refine": REFINE, "critical": True}, {MODEL: False, "movenet": True}),
        ({"offload": {"models": ["movenet"]}, "refine": REFINE}, {MODEL: False, "movenet": True}),
    ],
)
def test_a_lane_hands_over_what_its_configuration_says(
    lane: dict[str, Any], moved: dict[str, bool], tmp_path: Path
) -> None:
    assert engines(configured(tmp_path, release=["p"], **lane), tmp_path) == moved


def test_a_model_that_remembers_is_handed_to_nobody(tmp_path: Path) -> None:
    config = configured(tmp_path, release=["p"], offload={}, model="motion-blobs")
    with pytest.raises(PackageError, match="motion-blobs: offload: its outputs depend on earlier samples"):
        make_lane("yard", config, tmp_path, 0)
