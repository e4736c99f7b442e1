"""A model is exchanged between two samples: the window, the recording and the number of samples stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends.base import Tensor
from agent.config.models import LaneConfig
from agent.errors import PackageError
from agent.gates.config import GateConfig
from agent.lane import Lane
from agent.offline import offline_lane
from agent.packages import package
from agent.packages.manifest import SoundInput, Window
from agent.packages.package import Package
from agent.perception import Perception
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from agent.prepare.sound import Sound
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.update.probation.replacement import open_like
from agent.update.probation.shadow import Shadow
from agent.update.probation.visitor import Visitor
from tests.model_versions import version
from tests.waiting import until

WINDOW = Window.model_validate({"channels": ["a", "b"], "length": 4, "hop": 2, "mean": [0.0, 1.0], "std": [2.0, 4.0]})
SECTION = LaneConfig.model_validate({"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"})


def fed(preparation: Readings, rows: list[list[float]], tensor: Tensor) -> list[bool]:
    view = np.zeros(tensor.shape, tensor.dtype)
    return [preparation(np.array([row], np.float32), view) for row in rows]


@pytest.mark.parametrize("scale", [0.1, 0.05])
def test_a_window_of_readings_goes_on_in_the_quantisation_of_the_new_model(scale: float) -> None:
    one, two = (Tensor("x", (1, 4, 2), np.int8, each, 3) for each in (0.1, scale))
    rows = [[0.4 * n, 1.0 - 0.8 * n] for n in range(7)]
    old, new, whole = (
        Readings(WINDOW, one, ("a", "b")),
        Readings(WINDOW, two, ("a", "b")),
        Readings(WINDOW, two, ("a", "b")),
    )
    fed(old, rows[:5], one)
    new.carry_over(old)
    assert fed(new, rows[5:], two) == fed(whole, rows, two)[5:] == [True, False]
    at = new.count % 4
    expected = whole.ring[at : at + 4].astype(int)
    assert np.abs(new.ring[at : at + 4].astype(int) - expected).max() <= (0 if scale == 0.1 else 1)


def test_a_window_of_another_shape_begins_anew() -> None:
    tensor = Tensor("x", (1, 4, 2), np.int8, 0.1)
    old = Readings(WINDOW, tensor, ("a", "b"))
    fed(old, [[1.0, 1.0]] * 5, tensor)
    new = Readings(WINDOW.model_copy(update={"hop": 1}), tensor, ("a", "b"))
    new.carry_over(old)
    assert new.count == 0


def test_a_window_of_sound_goes_on() -> None:
    sound = SoundInput.model_validate({"rate_hz": 8000, "length": 8, "hop": 4})
    one, two = Tensor("x", (8,), np.float32), Tensor("x", (8,), np.int8, 1 / 128)
    old, new = Sound(sound, one, 8000), Sound(sound, two, 8000)
    values = np.linspace(-0.5, 0.5, 12, dtype=np.float32)
    view_one, view_two = np.zeros(8, np.float32), np.zeros(8, np.int8)
    assert old(values[:10], view_one)
    new.carry_over(old)
    assert new(values[10:], view_two)
    assert np.array_equal(view_two, np.rint(values[4:] * 128))


def test_a_picture_keeps_its_region_and_its_thinning() -> None:
    opened = package.open_package(package.find("person-coarse"))
    picture, tensor = opened.manifest.picture, opened.engine.inputs[0]
    assert picture
    old, new = (Pixels(picture, tensor, "bgr", shrink=2) for _ in range(2))
    frame = np.zeros((120, 160, 3), np.uint8)
    old(frame, opened.engine.input(0))
    old.aim(old.whole._replace(left=20, width=100))
    new.carry_over(old)
    assert (new.region, new.shrink, new.frame_shape) == (old.region, 2, frame.shape)


def test_what_does_not_fit_in_its_place_is_refused(tmp_path: Path) -> None:
    old = package.open_package(package.find("arm-deviation"))
    window = old.manifest.window
    assert window
    other = version(tmp_path, "2", window=window.model_copy(update={"hop": 2}).model_dump())
    with pytest.raises(PackageError, match=r"its input \(window\) is another one"):
        open_like(old, other, SECTION)
    labels = version(tmp_path, "3", labels=["normal", "deviation", "collision", "fast"])
    with pytest.raises(PackageError, match="lacks the label 'overspeed'"):
        open_like(old, labels, SECTION)


def test_a_new_version_has_the_models_name_in_messages_and_the_lanes_settings(tmp_path: Path) -> None:
    old = package.open_package(package.find("arm-deviation"))
    new = open_like(old, version(tmp_path, "2.0"), SECTION)
    assert (new.name, new.manifest.version, new.backend) == ("arm-deviation", "2.0", "litert")
    assert str(new.outputs.fault("x")) == "model arm-deviation: x"


def test_the_version_beside_computes_on_copies_of_what_the_lane_inferred(tmp_path: Path) -> None:
    live = package.open_package(package.find("arm-deviation"))
    shadow = Shadow(live, open_like(live, version(tmp_path, "2.0"), SECTION), {}, realtime=False)
    shadow.start()
    try:
        random = np.random.default_rng(0)
        for number in range(5):
            live.engine.input(0)[...] = random.integers(-90, 90, live.engine.inputs[0].shape)
            live.infer()
            shadow.offer(1_000_000_000 * (number + 1))
            shadow.offer(1_000_000_000 * (number + 1) + 1)  # too soon: it is not taken
            live.engine.input(0)[...] = 0  # the lane goes on at once
            live.infer()
            until(lambda: shadow.compared == number + 1)  # noqa: B023 - called here
        assert (shadow.fault, shadow.agreement) == ("", 1.0)
        assert shadow.p99_ms > 0
    finally:
        shadow.stop()


def test_an_exchange_on_one_thread_while_another_asks_for_it(tmp_path: Path) -> None:
    """No request is lost between two turns of the lane."""
    old = package.open_package(package.find("arm-deviation"))
    new = open_like(old, version(tmp_path, "2.0"), SECTION)
    lane = offline_lane("arm", "sensor.sim_arm", {}, Perception(old))
    lane.open()
    visitor, stop = Visitor(lane, old), threading.Event()
    visitor.attach()

    def visit() -> None:
        while not stop.is_set() and lane.between:
            lane.between(None)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        for _ in range(200):
            for wanted in (visitor.exchange(new), visitor.exchange(old)):
                until(wanted.done.is_set)
        assert lane.perception.package is old
        until(visitor.leave(new).done.is_set)
        assert lane.perception.package is new
        assert lane.perception.engine is new.engine
        assert lane.between is None
    finally:
        stop.set()
        thread.join()
        lane.source.close()


def played(lane: Lane, samples: int, at: Mapping[int, Package]) -> list[Any]:
    """Of each sample what followed. at: the package that takes the first one's place before this sample."""
    lane.open()
    results: list[Any] = []
    scene = Scene(Rules({}, {}))
    while len(results) < samples:
        sample = lane.source.read(1.0)
        if sample is None:
            continue
        if new := at.get(len(results)):
            lane.perception.exchange(lane.perception.package, new, lane.source)
        lane.step(sample, scene)
        evidence = lane.evidence and [each._replace(t_capture=0) for each in lane.evidence]
        results.append((lane.perception.gated, evidence))
    lane.source.close()
    return results


def arm_lane() -> Lane:
    options = {"fault_every_s": 0.2}
    return offline_lane(
        "arm", "sensor.sim_arm", options, Perception(package.open_package(package.find("arm-deviation")))
    )


def camera_lane() -> Lane:
    gate = GateConfig.model_validate({"motion": {"min_area": 0.001, "crop": True}, "idle_interval_ms": 400})
    options = {"width": 320, "height": 240, "fps": 20, "pictures": 7}
    opened = package.open_package(package.find("person-coarse"))
    return offline_lane("door", "camera.sim", options, Perception(opened, gate=gate))


@pytest.mark.parametrize("make, samples", [(arm_lane, 500), (camera_lane, 60)])
def test_the_lane_goes_on_as_if_nothing_had_happened(tmp_path: Path, make: Callable[[], Lane], samples: int) -> None:
    lane = make()
    old = lane.perception.package
    section = SECTION.model_copy(update={"model": old.name})
    new = open_like(old, version(tmp_path, "2.0", model=old.name), section)
    expected = played(make(), samples, {})
    assert len({str(result) for result in expected}) > 1  # something happens in it
    assert played(lane, samples, {samples // 3: new, samples // 2: old, 2 * samples // 3: new}) == expected
    assert lane.perception.package is new
