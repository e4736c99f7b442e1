"""A model that fails at run time: a fault of its lane only, whether it gives NaN, another shape or an exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from agent import ledger
from agent.cli import cli
from agent.decoders.ssd import Decoder, Options
from agent.packages import package as packages
from agent.packages.outputs import ModelFault
from agent.packages.package import Package
from agent.recorder.recording import read
from agent.vision.poses import SecondModel
from tests.onnx_models import FAULTS, detector, faulty, poser
from tests.processes import Cell, arm, robot
from tests.recordings import files, recorded, replayed
from tests.waiting import until

pytest.importorskip("onnxruntime", reason="needs onnxruntime: no engine that can be made to fail")

MESSAGES = {
    "nan": "output 'y' has values that are NaN or infinite",
    "inf": "output 'y' has values that are NaN or infinite",
    "shape": "output 'y' has the shape [1, 2], at load [1, 1]",
    "exception": "the engine fails: indices element out of data bounds",
}
LAMP = """\
from pathlib import Path
import numpy as np
from drivers.camera import sim
Options = sim.Options
class Driver(sim.Driver):
    def open(self):
        with open("opened", "a") as log:
            log.write("x")
        super().open()
    def _sample(self, active, skipped):
        sample = super()._sample(active, skipped)
        return sample._replace(payload=np.full_like(sample.payload, 255 * Path("bright").exists()))
"""


def infer(opened: Package, level: float) -> list[str]:
    opened.engine.input(0)[...] = level
    return [finding.label for finding in opened.infer()]


@pytest.mark.parametrize("kind", FAULTS)
def test_each_kind_of_fault_and_recovery(tmp_path: Path, kind: str) -> None:
    opened = packages.open_package(faulty(tmp_path / kind, kind))
    for _ in range(2):
        assert infer(opened, 0.0) == ["person"]
        with pytest.raises(ModelFault) as raised:
            infer(opened, 1.0)
        assert str(raised.value).startswith(f"model {kind}: {MESSAGES[kind]}")


def test_the_number_of_detections_may_change_with_each_picture(tmp_path: Path) -> None:
    opened = packages.open_package(detector(tmp_path / "detector"))
    assert [len(infer(opened, level)) for level in (0.0, 1.0, 0.35, 0.0, -1.0)] == [1, 10, 4, 1, 0]


def test_detections_that_do_not_belong_together() -> None:
    outputs = [np.zeros((1, n, *rest), np.float32) for n, rest in ((3, (4,)), (3, ()), (2, ()), (1, ()))]
    decoder = Decoder(["person"], Options(), [(1, 1, 4), (1, 1), (1, 1), (1,)])
    with pytest.raises(packages.DecoderError, match="3 boxes, 3 classes, 2 scores"):
        decoder(outputs)


def test_a_second_model_that_fails(tmp_path: Path) -> None:
    folder = faulty(tmp_path / "second", "nan", (1, 8, 51), "poses: {length: 8}")
    second = SecondModel(packages.open_package(folder))
    nobody, somebody = np.zeros((17, 3), np.float32), np.ones((17, 3), np.float32)
    second(1, nobody, 1.0)
    with pytest.raises(ModelFault, match="model second: output 'y' has values that are NaN"):
        second(10**10, somebody, 1.0)
    second(10**11, nobody, 1.0)


@pytest.mark.parametrize("command", [["model", "verify"], ["model", "bench"]])
def test_the_tools_say_what_is_wrong(tmp_path: Path, command: list[str]) -> None:
    folder = faulty(tmp_path / "dark", "nan")  # noise is bright
    result = CliRunner().invoke(cli, [*command, str(folder)], standalone_mode=False)
    assert MESSAGES["nan"] in result.output + str(result.exception or "")
    assert result.return_value == 2 or isinstance(result.exception, packages.PackageError)


def test_view_says_what_is_wrong(tmp_path: Path) -> None:
    folder = faulty(tmp_path / "dark", "nan")
    source = tmp_path / "pictures"
    source.mkdir()
    cv2.imwrite(str(source / "0.png"), np.full((48, 64, 3), 255, np.uint8))
    command = ["view", str(source), "--model", str(folder), "-o", str(tmp_path / "out.png")]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code != 0 and MESSAGES["nan"] in result.output


def lamp_cell(folder: Path, **lane: Any) -> Cell:
    """A lane `floor` with a camera that is dark unless a file `bright` exists; a healthy lane with its own actuator."""
    (folder / "ours").mkdir()
    (folder / "ours/lamp.py").write_text(LAMP)
    source = {"driver": "ours.lamp", "width": 64, "height": 48, "fps": 20, "pictures": 1, "timeout_ms": 300}
    source["frozen_ms"] = 0
    cell = Cell(folder, {"floor": {"source": source, **lane}, "arm": arm()})
    nobody = {"lane": "floor", "label": "person", "score": 0.4, "hits": 2, "of": 2, "absent": True}
    deviation = {"lane": "arm", "label": "deviation", "score": 1.0, "hits": 1000, "of": 1000}
    cell.config["state_dir"] = str(folder / "state")
    cell.config["actuators"]["belt"] = robot({"driver": "actuator.log", "path": str(folder / "belt.jsonl")})
    cell.config["rules"] = {
        "nobody": {"any": [nobody], "actuator": "robot", "verb": "stop"},
        "off": {"any": [deviation], "actuator": "belt", "verb": "stop"},
    }
    return cell


def belt_verbs(cell: Cell) -> list[str]:
    return [json.loads(line)["verb"] for line in (cell.folder / "belt.jsonl").read_text().splitlines()]


def replay_is_exact(cell: Cell) -> None:
    code, text = replayed(recorded(cell))
    assert code == 0 and "all the same" in text, text


def failing_lane(folder: Path, kind: str) -> dict[str, Any]:
    """The models of a lane of which one fails: the only one, or that of `refine` or `then`."""
    if kind == "then":
        second = faulty(folder / "failing", "nan", (1, 8, 51), "poses: {length: 8}")
        return {"model": str(poser(folder / "poser")), "then": str(second)}
    failing = str(faulty(folder / "failing", "nan" if kind == "refine" else kind))
    if kind == "refine":
        return {"model": str(detector(folder / "detector")), "refine": {"model": failing, "label": "person"}}
    return {"model": failing}


@pytest.mark.parametrize("kind", [*FAULTS, "refine", "then"])
@pytest.mark.slow
def test_only_the_lane_of_the_model_fails_and_it_recovers(tmp_path: Path, kind: str) -> None:
    lane = failing_lane(tmp_path, kind)
    bright = tmp_path / "bright"
    with lamp_cell(tmp_path, **lane) as cell:
        host, daemon = cell.start_both()
        until(lambda: files(tmp_path / "state"), cell.logs)
        cell.wait_for_count("floor", "inferences", 20)
        done = len(cell.verbs())
        bright.touch()
        cell.wait_for("safe", after=done)
        cell.wait_for_count("floor", "faults", 3)
        assert ledger.read(cell.run_dir / "floor.ledger").state in ("gone", "opening", "running")
        cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 100)
        assert cell.verbs()[done:] == ["safe"]  # neither NaN nor infinity is "nobody there"
        bright.unlink()
        daemon.wait_for("lane floor: floor is back")
        cell.wait_for("run", after=done + 1)
        cell.wait_for_count("floor", "inferences", cell.counts("floor")["inferences"] + 20)
        message = MESSAGES[kind if kind in FAULTS else "nan"]
        assert f"lane floor: model failing: {message}" in daemon.lines("trying again until it is back")[0]
        assert len(daemon.lines("trying again")) == len(daemon.lines("floor is back")) == 1
        assert cell.counts("arm")["faults"] == 0 and "safe" not in belt_verbs(cell)[1:]
        assert (tmp_path / "opened").read_text() == "x"  # the source is not at fault
        assert daemon.stop() == 0 and host.stop() == 0
        replay_is_exact(cell)


def test_a_lane_whose_number_of_detections_changes(tmp_path: Path) -> None:
    bright = tmp_path / "bright"
    with lamp_cell(tmp_path, model=str(detector(tmp_path / "detector"))) as cell:
        _, daemon = cell.start_both()
        until(lambda: files(tmp_path / "state"), cell.logs)
        for change in (bright.touch, bright.unlink, bright.touch):
            change()
            cell.wait_for_count("floor", "inferences", cell.counts("floor")["inferences"] + 10)
        assert daemon.stop() == 0
        assert cell.counts("floor")["faults"] == 0
        replay_is_exact(cell)
        numbers = {len(message["evidence"]) for lane, message in read(recorded(cell)).messages if lane == "floor"}
        assert numbers == {1, 10}
