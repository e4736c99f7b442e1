"""A lane without a source, fed with what was recorded."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.backends.base import Engine
from agent.build import open_models
from agent.config.models import Config
from agent.data import Array, Decision, Sample
from agent.decoders.base import Finding
from agent.lane import NEVER, Lane, Limits
from agent.ledger import Ledger
from agent.package import Package
from agent.perception import Perception
from agent.prepare.base import Preparation
from agent.prepare.pixels import Pixels, Region
from agent.prepare.readings import Readings
from agent.rules.scene import Scene
from drivers.base import DriverOptions, Stream


class RecordedEngine(Engine):
    """An engine whose outputs were recorded, where its inputs were not."""

    def __init__(self, engine: Engine) -> None:
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.recorded: list[Array] = []

    def input(self, index: int) -> Array:
        return np.zeros(0, np.uint8)  # nothing was recorded of it, and nothing is written to it

    def invoke(self) -> None:
        pass

    def output(self, index: int) -> Array:
        return self.recorded[index]


class Player:
    """A lane without a source: its models, fed with what was recorded."""

    def __init__(self, name: str, config: Config, beside: Path, scene: Scene) -> None:
        self.section = config.lanes[name]
        self.perception = ReplayPerception(open_models(self.section, beside))
        self.lane = Lane(
            name, NoSource(DriverOptions(), name), self.perception, Limits(0, 1.0), Ledger(None, name, 1.0)
        )
        self.manifest = self.perception.package.manifest
        self.engines = self.perception.recorded_engines  # the real ones
        self.scene = scene
        self.fitted: Any = None  # to which channels or frame

    def play(self, message: dict[str, Any]) -> list[Decision]:
        if "readings" in message:
            payload = np.array(message["readings"], np.float32)
            self._fit_readings(tuple(message["channels"]))
            if message["discontinuity"]:
                self.perception.preparation.reset()
        else:
            payload = np.broadcast_to(np.uint8(0), message["frame"])  # nothing was recorded of it but its size
            self._fit_picture(tuple(message["frame"]))
            self.show(message)
        self.perception._obey(message)
        sample = Sample("", message["sequence"], message["t_capture"], payload, message["skipped"])
        found = self.lane.step(sample, self.scene) or []
        dropped = {one["actuator"] for one in message["decisions"] if one["dropped"]}
        for decision in found:
            if decision.actuator in dropped:
                self.scene.withdraw(decision)
        return found

    def _fit_readings(self, channels: tuple[str, ...]) -> None:
        if self.fitted == channels or not self.manifest.window:
            return
        self.fitted = channels
        self.perception.preparation = Readings(self.manifest.window, self.engines[0].inputs[0], channels)

    def _fit_picture(self, frame: tuple[int, ...]) -> None:
        """Boxes and keypoints go back to this frame."""
        if self.manifest.sound:
            self.perception.preparation = RecordedSound()
        if self.fitted == frame or not self.manifest.picture:
            return
        self.fitted = frame
        self.perception.preparation = RecordedPixels(self.perception.package, frame)
        if self.perception.refine:
            self.perception.refine.pixels = RecordedPixels(self.perception.refine.package, frame)

    def show(self, message: dict[str, Any]) -> None:
        """Into the inputs where they were kept, else into the outputs."""
        self.aim(message["region"])
        if message["inputs"]:
            tensors = iter(message["inputs"])
            for engine in self.engines:
                for index in range(len(engine.inputs)):
                    engine.input(index)[...] = _array(next(tensors))
            return
        tensors = iter(message["outputs"])
        for holder, engine in zip((self.perception, self.perception.refine), self.engines):
            assert holder
            if not isinstance(holder.engine, RecordedEngine):
                holder.engine = holder.package.engine = RecordedEngine(engine)
            holder.engine.recorded = [_array(next(tensors)) for _ in engine.outputs]

    def aim(self, region: Sequence[int]) -> None:
        if isinstance(self.perception.preparation, RecordedPixels) and region[2]:
            self.perception.preparation.aim(Region(*region))


class ReplayPerception(Perception):
    """Looks at what the lane had looked at; what stood before the models, and their clock, is not there any more."""

    def __init__(self, like: Perception) -> None:
        super().__init__(like.package, refine=like.refine, second=like.second)
        self.gated = like.gate_config is not None
        self.told: dict[str, Any] = {}

    def _obey(self, message: dict[str, Any]) -> None:
        self.told = message

    def prepare(self, sample: Sample) -> bool:
        due = super().prepare(sample)
        return self.told["inferred"] if self.gated else due

    def infer(self, sample: Sample, deadline: int) -> list[Finding]:
        return super().infer(sample, 0 if self.told.get("refine_skipped") else NEVER)


class RecordedPixels(Pixels):
    """Of a frame that is not there: what the model saw or said of it was recorded."""

    def __init__(self, opened: Package, frame: tuple[int, ...]) -> None:
        assert opened.manifest.picture
        picture = opened.manifest.picture.model_copy(update={"reference": False, "colour": "grey"})
        super().__init__(picture, opened.engine.inputs[0], "grey")
        self.fit(frame)

    def __call__(self, frame: Array, view: Array) -> bool:
        return True


class RecordedSound(Preparation):
    """Of sound that was not kept: what the model made of it was."""

    def __call__(self, payload: Array, view: Array) -> bool:
        return True


class NoSource(Stream):
    """No source: samples come from the recording."""

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
