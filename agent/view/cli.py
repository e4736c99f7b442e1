"""`reflexd view SOURCE -o OUT`: step a lane over a clip and draw what it detects and decides into a local file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click

from agent.box import realtime
from agent.build import make_lane, rules_of
from agent.config.models import Config
from agent.data import Array, Evidence, Sample
from agent.lane import Lane
from agent.ledger_text import counted
from agent.packages import package
from agent.perception import Perception, frame_keypoints
from agent.rules.engine import ConditionState
from agent.rules.scene import Scene
from agent.view import drawing
from agent.view.drawing import ActuatorState, FrameView
from agent.view.footage import Footage
from agent.view.source import camera_lane, choose_config, is_recording, to_bgr, with_source
from drivers.base import DeviceError

LIVE_S = 10.0  # of a camera that never ends
WAIT_S = 1.0


class ViewOptions(NamedTuple):
    """The options of `reflexd view`, by the names of the command line."""

    source: str | None
    out: Path
    config: Path | None = None
    scene: str | None = None
    model: str | None = None
    then: str | None = None
    lane: str | None = None
    start: float | None = None
    seconds: float | None = None
    every: int = 1


def run(options: ViewOptions) -> None:
    """Raises ClickException, ConfigError, PackageError."""
    footage = Footage(options.out, options.source)
    config, base_folder = choose_config(options.source, options.config, options.scene, options.model, options.then)
    name = camera_lane(config, options.lane)
    with tempfile.TemporaryDirectory(prefix="reflexd-view-") as folder:
        lane = make_lane(name, with_source(config, name, options.source, Path(folder)), base_folder, 0)
        realtime.opencv_threads()  # as the daemon, so that the milliseconds are the daemon's
        viewer = LaneViewer(lane, config)
        try:
            with footage, closing(viewer.frames()) as frames:
                _draw(options, frames, footage, endless=not is_recording(lane.source))
        except KeyboardInterrupt:
            if not footage.pictures:
                raise
        except DeviceError as error:
            raise click.ClickException(f"{error}{f'; {footage.summary}' if footage.pictures else ''}") from error
    click.echo(f"{footage.summary}; {viewer.summary}")


def _draw(
    options: ViewOptions, frames: Iterator[tuple[Array, float, FrameView]], footage: Footage, endless: bool
) -> None:
    """The lane gets frames before `start`, too, though they are not drawn: the state at `start` follows from them."""
    start_s = options.start or 0.0
    end_s = start_s + (options.seconds or (LIVE_S if endless else float("inf")))
    number = 0
    for frame, rate_hz, view in frames:
        if view.time_s >= end_s:
            return
        if view.time_s < start_s:
            continue
        if number % options.every == 0:
            footage.add(drawing.compose(frame, view), view, rate_hz / options.every)
            if footage.still and options.start is not None:
                return
        number += 1


class LaneViewer:
    """Steps a lane as its thread would, without device threads, sockets or ledger, and collects what to draw."""

    def __init__(self, lane: Lane, config: Config) -> None:
        self.lane = lane
        self.scene = Scene(rules_of(config))
        self._zones = config.lanes[lane.name].zones
        refine, second = lane.perception.refine, lane.perception.second
        self._model = lane.perception.package.name + (f" + {refine.package.name}" if refine else "")
        self._second_model = second.package.name if second else ""
        self._second_labels = frozenset(package.labels(second.package.folder)) if second else frozenset()
        self._evidence: list[Evidence] = []
        self._t_start = self._t_inferred = 0
        self._frames = self._inferred = self._decisions = 0

    @property
    def summary(self) -> str:
        return f"{self._inferred} of {self._frames} frames inferred, {counted(self._decisions, 'decision')}"

    def frames(self) -> Generator[tuple[Array, float, FrameView], None, None]:
        """Frame (uint8 bgr), the source's rate in Hz, what to draw. Raises DeviceError."""
        lane, source = self.lane, self.lane.source
        try:
            lane.open()
            while True:
                sample = source.read(WAIT_S)
                if sample is None or not lane.arrivals.accept(sample, time.monotonic_ns()):
                    continue
                yield to_bgr(sample.payload, source), source.rate_hz, self._step(sample)
        except EOFError:
            return
        finally:
            source.close()

    def _step(self, sample: Sample) -> FrameView:
        t_step = time.monotonic_ns()
        decisions = self.lane.step(sample, self.scene)
        t_prepared, t_inferred = self.lane.stamps
        self._count(sample, len(decisions or ()))
        second = [item for item in self._evidence if item.box is None and item.label in self._second_labels]
        first = [item for item in self._evidence if item not in second]
        return FrameView(
            time_s=(sample.t_capture - self._t_start) / 1e9,
            inferred=self.lane.evidence is not None,
            evidence=first,
            actuators=self._actuators(sample.t_capture),
            zones=self._zones,
            points=_skeletons(self.lane.perception) if first else None,
            prepare_ms=(t_prepared - t_step) / 1e6,
            infer_ms=(t_inferred - t_prepared) / 1e6,
            age_s=(sample.t_capture - self._t_inferred) / 1e9,
            second_evidence=second,
            model=self._model,
            second_model=self._second_model,
            counted=self._counted(),
        )

    def _count(self, sample: Sample, decisions: int) -> None:
        self._t_start = self._t_start or sample.t_capture
        self._frames += 1
        self._decisions += decisions
        if self.lane.evidence is not None:
            self._inferred += 1
            self._evidence, self._t_inferred = self.lane.evidence, sample.t_capture

    def _actuators(self, now: int) -> list[ActuatorState]:
        """Of each actuator that this lane's rules feed."""
        decisions = {
            actuator: self.scene.current(actuator) for actuator in self.scene.rules.feeds.get(self.lane.name, ())
        }
        return [
            ActuatorState(name, decision.verb, decision.rule, (now - decision.t_capture) / 1e9)
            if decision
            else ActuatorState(name, "", "", 0.0)
            for name, decision in decisions.items()
        ]

    def _counted(self) -> frozenset[Evidence]:
        """The evidence that matches a condition of a rule in force."""
        in_force = {decision.rule for decision in self.scene.rules.in_force.values()}
        states = [state for rule in self.scene.rules.rules if rule.name in in_force for state in rule.states]
        return frozenset(item for state in states for item in self._evidence if _matches(state, item))


def _matches(state: ConditionState, item: Evidence) -> bool:
    condition = state.condition
    inside = state.zone is None or (item.box is not None and state.zone.contains(item.box))
    same = (condition.lane, condition.label) == (item.lane, item.label)
    return same and item.score >= condition.score and inside and not condition.absent


def _skeletons(perception: Perception) -> Array | None:
    """float32 [n, 17, 3] in shares of the frame, of the newest inference."""
    decoder, preparation = perception.package.decoder, perception.preparation
    if perception.refine and perception.refined:
        decoder, preparation = perception.refine.package.decoder, perception.refine.pixels
    points = frame_keypoints(decoder, preparation)
    return None if points is None else points.reshape(-1, 17, 3)
