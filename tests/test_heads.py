"""A backbone with heads: one inference for all of them, the tensor between them checked, heads that load on demand."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.backends.base import Engine, Tensor
from agent.box.worker import Worker
from agent.config.models import LaneConfig
from agent.decoders.base import Finding
from agent.errors import PackageError
from agent.offline import offline_lane
from agent.packages import golden, heads, package
from agent.packages.manifest import Manifest
from agent.packages.on_demand import OnDemandEngine, make_on_demand
from agent.packages.outputs import ModelFault
from agent.packages.package import Package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from agent.update.probation.replacement import open_like
from agent.vision.config import HeadConfig
from agent.vision.heads import Head, Heads
from tests.model_versions import version
from tests.waiting import until

TRUNK, HEAD, SECOND = "person-trunk", "person-head", "view-head"
CAMERA = {"width": 320, "height": 240, "pictures": 8}
SECTION = LaneConfig.model_validate(
    {"source": {"driver": "camera.sim"}, "model": TRUNK, "heads": {HEAD: {}, SECOND: {}}}
)
PERSON = [Finding("person", 0.9)]
SECOND_NS = 1_000_000_000


def opened(name: str) -> Package:
    return package.open_package(package.find(name))


def on_demand(load: Callable[[Engine], Engine] = lambda engine: engine, **config: Any) -> tuple[Head, OnDemandEngine]:
    """The second head; load: given its engine, what a load gives."""
    trunk, second = opened(TRUNK), opened(SECOND)
    network = second.network
    engine = OnDemandEngine(network, lambda: load(network), Worker(False))
    second.network = second.engine = engine
    return Head(second, HeadConfig(when="person", **config), trunk, 2), engine


# -- a backbone and a head are the whole model ---------------------------------------------------------------


def test_every_bit_is_that_of_the_model_that_was_cut() -> None:
    whole, trunk, head = opened("person-coarse"), opened(TRUNK), opened(HEAD)
    rows = golden.load(whole.folder / "golden.npz", whole.engine)["input_0"]
    number = heads.output_of(trunk, head)
    for row in rows:
        for each in (whole, trunk):
            each.engine.fill(row)
            each.engine.invoke()
        np.copyto(head.engine.input(0), trunk.network.output(number))
        head.engine.invoke()
        assert np.array_equal(head.engine.output(0), whole.engine.output(0))


def test_a_lane_with_heads_finds_what_the_whole_model_finds() -> None:
    trunk = opened(TRUNK)
    both = Heads(trunk, [(opened(HEAD), HeadConfig()), (opened(SECOND), HeadConfig())])
    whole, more = played(Perception(opened("person-coarse"))), played(Perception(trunk, heads=both))
    assert [[item for item in row if item[0] == "person"] for row in more] == whole and any(whole)
    assert both.ran == 3


def played(perception: Perception, count: int = 20) -> list[list[tuple[Any, ...]]]:
    """Label, score and box of what is found in the first pictures of a simulated camera."""
    lane = offline_lane("cam", "camera.sim", CAMERA, perception)
    steps, rows = lane.play(Scene(Rules({}, {}))), []
    for _ in range(count):
        next(steps)
        rows.append([(item.label, item.score, item.box) for item in lane.evidence or []])
    return rows


# -- what does not fit -----------------------------------------------------------------------------------


def test_a_head_of_other_weights_is_refused(tmp_path: Path) -> None:
    other = version(tmp_path, "2", model=HEAD, backbone={"model": TRUNK, "sha256": "0" * 64})
    with pytest.raises(
        PackageError, match=r"manifest.yaml: backbone.sha256 is 0000000000000000\.\.\., that of the lane"
    ):
        heads.output_of(opened(TRUNK), package.open_package(other))
    with pytest.raises(PackageError, match="only models with a section 'backbone' are heads"):
        heads.output_of(opened(TRUNK), opened("person-coarse"))


@pytest.mark.parametrize(
    "change",
    [{"scale": 0.5}, {"zero_point": 3}, {"shape": (1, 8, 8, 112)}, {"dtype": np.uint8}, {"scale": 0.0}],
    ids=lambda change: next(iter(change)),
)
def test_a_tensor_that_is_not_the_backbones_is_refused(change: dict[str, Any]) -> None:
    trunk, head = opened(TRUNK), opened(HEAD)
    head.network.inputs = [head.network.inputs[0]._replace(**change)]
    with pytest.raises(PackageError, match=r"the model reads .*, its backbone person-trunk gives .* \(scale "):
        heads.output_of(trunk, head)


def test_a_scale_that_a_converter_rounded_is_the_same() -> None:
    trunk, head = opened(TRUNK), opened(HEAD)
    tensor: Tensor = head.network.inputs[0]
    head.network.inputs = [tensor._replace(scale=tensor.scale * (1 + 1e-7))]
    assert heads.output_of(trunk, head) == 0


def test_the_output_is_chosen_by_its_name() -> None:
    trunk, head = opened(TRUNK), opened(HEAD)
    assert head.manifest.backbone
    name = trunk.network.outputs[0].name
    for output, known in ((name, True), ("0", True), ("edges", False)):
        backbone = head.manifest.backbone.model_copy(update={"output": output})
        head.manifest = head.manifest.model_copy(update={"backbone": backbone})
        if known:
            assert heads.output_of(trunk, head) == 0
        else:
            with pytest.raises(PackageError, match="backbone.output: no output 'edges'; the model has"):
                heads.output_of(trunk, head)


def test_a_manifest_has_one_kind_of_input() -> None:
    facts = package.read(package.find(HEAD)).model_dump()
    with pytest.raises(ValueError, match="exactly one section that describes the input"):
        Manifest.model_validate(facts | {"picture": {}})


# -- on demand ---------------------------------------------------------------------------------------------


def test_it_is_loaded_beside_the_lane_once_its_label_is_found_and_freed_when_idle() -> None:
    go, threads = threading.Event(), []
    loaded: list[weakref.ref[Engine]] = []

    def load(engine: Engine) -> Engine:
        threads.append(threading.current_thread().name)
        go.wait()
        made = package.open_package(package.find(SECOND)).network
        loaded.append(weakref.ref(made))
        return made

    head, engine = on_demand(load, idle_s=2)
    assert not head.due(0, [], False) and not threads
    assert not head.due(0, PERSON, False)  # it does not wait
    assert not head.due(SECOND_NS, PERSON, False)
    go.set()
    until(lambda: engine.engine is not None)
    assert threads == ["worker"] and engine.loads == 1
    assert head.due(3 * SECOND_NS, [], False)  # two seconds after the label
    assert not head.due(3 * SECOND_NS + 1, [], False)
    until(lambda: loaded[0]() is None, "its memory is freed")
    assert not head.due(4 * SECOND_NS, PERSON, False)
    until(lambda: engine.engine is not None)
    assert engine.loads == 2


def test_a_label_that_is_too_weak_or_another_one_loads_nothing() -> None:
    head, engine = on_demand(score=0.8)
    assert not head.due(0, [Finding("person", 0.7), Finding("cat", 0.9)], True)
    assert engine.loads == 0
    assert head.due(0, [Finding("person", 0.8)], True)


def test_a_recording_has_a_place_for_it_all_the_time() -> None:
    _, engine = on_demand()
    (tensor,) = engine.outputs
    assert engine.output(0).shape == tensor.shape and not engine.output(0).any()


def test_one_that_cannot_be_loaded_is_a_fault_of_the_lane_until_it_can() -> None:
    broken = [True]

    def load(engine: Engine) -> Engine:
        if broken:
            raise PackageError("view-head.tflite: the disk is gone")
        return engine

    head, engine = on_demand(load)
    head.due(0, PERSON, False)
    until(lambda: engine.fault)
    for _ in range(2):  # then at once, on the lane's thread: it is not healthy in between
        with pytest.raises(ModelFault, match="model view-head: it cannot be loaded again: .*the disk is gone"):
            head.due(0, PERSON, False)
    broken.clear()
    assert head.due(0, PERSON, False)


def test_an_engine_that_fails_as_it_likes_ends_no_thread() -> None:
    def load(engine: Engine) -> Engine:
        raise ZeroDivisionError("of an engine")

    head, engine = on_demand(load)
    for _ in range(2):
        head.due(0, PERSON, False)
        until(lambda: engine.fault == "of an engine")
        engine.fault = ""


def test_files_are_verified_at_each_load(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(package.find(SECOND), tmp_path / SECOND))
    second = package.open_package(copy)
    make_on_demand(second, 1, False)
    assert isinstance(second.network, OnDemandEngine)
    second.network.load_now()
    second.network.unload()
    model = copy / second.manifest.file
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(PackageError, match="sha256 is"):
        second.network.load_now()


def test_a_lane_without_a_clock_waits_for_it() -> None:
    trunk, second = opened(TRUNK), opened(SECOND)
    make_on_demand(second, 1, False)
    both = Heads(trunk, [(second, HeadConfig(when="person")), (opened(HEAD), HeadConfig())])
    lane = offline_lane("cam", "camera.sim", CAMERA, Perception(trunk, heads=both))
    played = lane.play(Scene(Rules({}, {})))
    for _ in range(20):
        next(played)
        found = {item.label for item in lane.evidence or []}
        assert both.ran & 2  # which finds the person, though it stands behind
        if "person" in found:
            break
    assert both.ran == 3
    assert both.status()[SECOND] == {"loaded": True, "on_demand": True, "loads": 1, "load_ms": 0.0}


# -- updates --------------------------------------------------------------------------------------------------


def test_another_version_of_a_head_takes_its_place(tmp_path: Path) -> None:
    trunk, old = opened(TRUNK), opened(SECOND)
    perception = Perception(trunk, heads=Heads(trunk, [(opened(HEAD), HeadConfig()), (old, HeadConfig())]))
    lane = offline_lane("cam", "camera.sim", CAMERA, perception)
    played = lane.play(Scene(Rules({}, {})))
    next(played)
    new = open_like(old, version(tmp_path, "2.0", model=SECOND), SECTION)
    perception.exchange(old, new, lane.source)
    assert [each.manifest.version for each in perception.packages[1:]] == ["2.2.0", "2.0"]
    next(played)
    assert perception.heads and perception.heads.ran == 3


def test_a_version_for_another_backbone_is_refused(tmp_path: Path) -> None:
    other = version(tmp_path, "2", model=SECOND, backbone={"model": TRUNK, "sha256": "0" * 64})
    with pytest.raises(PackageError, match=r"its input \(backbone\) is another one"):
        open_like(opened(SECOND), other, SECTION)


def test_a_backbone_is_not_exchanged_alone(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="a backbone is not exchanged alone"):
        open_like(opened(TRUNK), version(tmp_path, "3.0", model=TRUNK), SECTION)


def test_a_head_on_demand_is_not_exchanged(tmp_path: Path) -> None:
    old = opened(SECOND)
    make_on_demand(old, 1, False)
    with pytest.raises(PackageError, match="'view-head' loads on demand, so no trial of another version would end"):
        open_like(old, version(tmp_path, "2.0", model=SECOND), SECTION)
