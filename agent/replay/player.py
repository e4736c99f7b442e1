"""A lane without a source, fed with recorded samples."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.build import open_models
from agent.data import NEVER, Array, Decision, Sample
from agent.decoders.base import Finding
from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.packages.package import Package
from agent.packages.recorded import RecordedEngine
from agent.perception import Perception
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from agent.prepare.region import Region
from agent.replay.header import Header
from agent.rules.scene import Scene
from drivers.base import DriverOptions, Stream


class Player:
    """The models of a lane, fed with its recorded messages."""

    def __init__(self, name: str, header: Header, scene: Scene, models: Mapping[str, Path]) -> None:
        """models: folder of each package. Raises PackageError."""
        section = header.config.lanes[name]
        opened = open_models(section, header.base_folder, engines=header.engines_of(name), folders=models)
        self.perception = ReplayPerception(opened)
        source, ledger = NoSource(DriverOptions(), name), Ledger(None, name, 1.0)
        self.lane = Lane(name, source, self.perception, Limits(0, 1.0), ledger)
        self._manifest = self.perception.package.manifest
        self._engines = self.perception.recorded_engines  # the real ones
        self._scene = scene
        self._prepared_for: tuple[tuple[str, ...], float] | tuple[int, ...] | None = (
            None  # channels and rate, or a frame's shape
        )

    def play(self, message: dict[str, Any]) -> list[Decision]:
        """The decisions that follow from this sample. Damaged content raises LookupError, ValueError and the like."""
        if "readings" in message:
            with np.errstate(over="ignore"):  # a damaged number
                payload = np.array(message["readings"], np.float32)
            self._prepare_for_readings(tuple(message["channels"]), message.get("rate_hz", 0.0))
            if message["discontinuity"]:
                self.perception.preparation.reset()
        else:
            payload = np.broadcast_to(np.uint8(0), message["frame"])  # of a frame only the shape was recorded
            self._prepare_for_picture(tuple(message["frame"]))
            self._load_tensors(message)
        self.perception.set_message(message)
        sample = Sample("", message["sequence"], message["t_capture"], payload, message["skipped"])
        decisions = self.lane.step(sample, self._scene) or []
        if "position" in message and isinstance(self.perception.preparation, Readings):
            self.perception.preparation.resume(message["position"])
        dropped = {decision["actuator"] for decision in message["decisions"] if decision["dropped"]}
        for decision in decisions:
            if decision.actuator in dropped:
                self._scene.withdraw(decision)
        return decisions

    def _prepare_for_readings(self, channels: tuple[str, ...], rate_hz: float) -> None:
        window = self._manifest.window
        if self._prepared_for == (channels, rate_hz) or not window:
            return
        self._prepared_for = channels, rate_hz
        self.perception.preparation = Readings(window, self._engines[0].inputs[0], channels, rate_hz)

    def _prepare_for_picture(self, shape: tuple[int, ...]) -> None:
        """Boxes and keypoints are mapped back to frames of this shape."""
        if self._manifest.sound or self._manifest.evidence:
            self.perception.preparation = RecordedOutputs()
        if self._prepared_for == shape or not self._manifest.picture:
            return
        self._prepared_for = shape
        self.perception.preparation = RecordedPixels(self.perception.package, shape)
        if self.perception.refine:
            self.perception.refine.pixels = RecordedPixels(self.perception.refine.package, shape)

    def _load_tensors(self, message: dict[str, Any]) -> None:
        """Into the engines' inputs where these were recorded, else into their outputs."""
        self._aim(message["region"])
        if message["inputs"]:
            tensors = iter(message["inputs"])
            for engine in self._engines:
                for index in range(len(engine.inputs)):
                    engine.input(index)[...] = _array(next(tensors))
            return
        tensors = iter(message["outputs"])
        heads = self.perception.heads.all if self.perception.heads else []
        for holder, engine in zip((self.perception, *heads, self.perception.refine), self._engines):
            assert holder
            if not isinstance(holder.engine, RecordedEngine):
                holder.engine = holder.package.engine = RecordedEngine(engine)
            holder.engine.recorded = [_array(next(tensors)) for _ in engine.outputs]

    def _aim(self, region: Sequence[int]) -> None:
        if isinstance(self.perception.preparation, RecordedPixels) and region[2]:
            self.perception.preparation.aim(Region(*region))


class ReplayPerception(Perception):
    """Infers exactly when the lane did: what the gate decided on, and the refining model's clock, are not recorded."""

    def __init__(self, original: Perception) -> None:
        super().__init__(original.package, heads=original.heads, refine=original.refine, second=original.second)
        self._has_gate = original.gate_config is not None
        self._message: dict[str, Any] = {}

    def set_message(self, message: dict[str, Any]) -> None:
        """The next sample is this one."""
        self._message = message

    def prepare(self, sample: Sample) -> bool:
        due, inferred = super().prepare(sample), bool(self._message["inferred"])
        return inferred if self._has_gate else due and inferred  # under overload not on every sample

    def infer(self, sample: Sample, deadline: int) -> list[Finding]:
        if self._message.get("restarted"):
            self.restart()
        if self.heads:
            self.heads.recorded = self._message.get("heads", 0)
        return super().infer(sample, 0 if self._message.get("refine_skipped") else NEVER)


class RecordedPixels(Pixels):
    """Of a frame that was not recorded: its tensors were."""

    def __init__(self, opened: Package, shape: tuple[int, ...]) -> None:
        assert opened.manifest.picture
        picture = opened.manifest.picture.model_copy(update={"reference": False, "colour": "grey"})
        super().__init__(picture, opened.engine.inputs[0], "grey")
        self.allocate(shape)

    def __call__(self, frame: Array, view: Array) -> bool:
        return True


class RecordedOutputs(Preparation):
    """Of sound, which was not recorded, and of evidence of other boxes: the model's outputs were."""

    def __call__(self, payload: Array, view: Array) -> bool:
        return True


class NoSource(Stream):
    """Never gives a sample: they come from the recording."""

    def open(self) -> None:
        pass

    def read(self, wait_s: float) -> Sample | None:
        return None

    def close(self) -> None:
        pass


def _array(tensor: dict[str, Any]) -> Array:
    raw: Array = np.frombuffer(base64.b64decode(tensor["data"]), np.dtype(tensor["dtype"]))
    shaped: Array = raw.reshape(tensor["shape"])
    return shaped
