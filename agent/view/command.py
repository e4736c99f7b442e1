"""`reflexd view SOURCE -o OUT`: a lane's own road over a clip, and what it saw and decided drawn into a file of this box."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import cv2

from agent import package
from agent.box import realtime
from agent.build import make_lane, rules_of
from agent.config.load import load_config, validate_config
from agent.config.models import Config, Device, LaneConfig, Recorder
from agent.data import Array, Evidence, Sample
from agent.lane import Lane
from agent.perception import Perception, frame_keypoints
from agent.rules.engine import Rule
from agent.rules.scene import Scene
from agent.view import drawing
from agent.view.drawing import Moment, Standing
from agent.view.footage import Footage
from agent.yamlfile import Document
from drivers import base as drivers
from drivers.base import Camera, DeviceError

SCENES = Path(__file__).parent / "scenes"
LIVE_S = 10.0  # of a camera that never ends
WAIT_S = 1.0
COLOURS = {"rgb": cv2.COLOR_RGB2BGR, "grey": cv2.COLOR_GRAY2BGR, "yuyv": cv2.COLOR_YUV2BGR_YUYV}


class ViewOptions(NamedTuple):
    """The command line."""

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


def run(asked: ViewOptions) -> None:
    """Raises ClickException, ConfigError, PackageError."""
    footage = Footage(asked.out, asked.source)
    config, beside = _chosen(asked)
    name = camera_lane(config, asked.lane)
    with tempfile.TemporaryDirectory(prefix="reflexd-view-") as folder:
        lane = make_lane(name, staged(config, name, asked.source, Path(folder)), beside, 0)
        realtime.opencv_threads()  # as the daemon, so that the milliseconds are the daemon's
        onlooker = LaneViewer(lane, config)
        try:
            with footage, closing(onlooker.moments()) as moments:
                _shoot(asked, moments, footage, endless(lane))
        except KeyboardInterrupt:
            if not footage.pictures:
                raise
        except DeviceError as error:
            raise click.ClickException(f"{error}{f'; {footage.told}' if footage.pictures else ''}") from error
    click.echo(f"{footage.told}; {onlooker.told}")


def _shoot(asked: ViewOptions, moments: Iterator[tuple[Array, float, Moment]], footage: Footage, endless: bool) -> None:
    """Frames before `start` are seen by the lane, but not drawn: what is in force then follows from them."""
    begin = asked.start or 0.0
    end = begin + (asked.seconds or (LIVE_S if endless else float("inf")))
    number = 0
    for frame, rate_hz, moment in moments:
        if moment.time_s >= end:
            return
        if moment.time_s < begin:
            continue
        if number % asked.every == 0:
            footage.take(drawing.compose(frame, moment), moment, rate_hz / asked.every)
            if footage.still and asked.start is not None:
                return
        number += 1


class LaneViewer:
    """Steps a lane as its thread would, without device threads, sockets or ledger, and notes what there is to show."""

    def __init__(self, lane: Lane, config: Config) -> None:
        self.lane = lane
        self.scene = Scene(rules_of(config))
        self.zones = config.lanes[lane.name].zones
        refine, self.second = lane.perception.refine, lane.perception.second
        self.model = lane.perception.package.name + (f" + {refine.package.name}" if refine else "")
        self.later = frozenset(package.labels(self.second.package.folder)) if self.second else frozenset()
        self.evidence: list[Evidence] = []
        self.start = self.t_looked = 0
        self.frames = self.looked = self.decisions = 0

    @property
    def told(self) -> str:
        return f"{self.looked} of {self.frames} frames looked at, {self.decisions} decisions"

    def moments(self) -> Generator[tuple[Array, float, Moment], None, None]:
        """Frame (uint8 bgr), the source's rate in Hz, what to draw. Raises DeviceError."""
        lane, source = self.lane, self.lane.source
        try:
            lane.open()
            while True:
                sample = source.read(WAIT_S)
                if sample is None or not lane.accept(sample, time.monotonic_ns()):
                    continue
                yield bgr(sample.payload, getattr(source, "pixels", "bgr")), source.rate_hz, self.step(sample)
        except EOFError:
            return
        finally:
            source.close()

    def step(self, sample: Sample) -> Moment:
        begun = time.monotonic_ns()
        decisions = self.lane.step(sample, self.scene)
        prepared, inferred = self.lane.stamps
        self.start = self.start or sample.t_capture
        self.frames += 1
        self.decisions += len(decisions or ())
        if self.lane.evidence is not None:
            self.looked += 1
            self.evidence, self.t_looked = self.lane.evidence, sample.t_capture
        perception = self.lane.perception
        later = [one for one in self.evidence if one.box is None and one.label in self.later]
        first = [one for one in self.evidence if one not in later]
        return Moment(
            (sample.t_capture - self.start) / 1e9,
            self.lane.evidence is not None,
            first,
            self.standing(sample.t_capture),
            self.zones,
            _skeletons(perception) if first else None,
            (prepared - begun) / 1e6,
            (inferred - prepared) / 1e6,
            (sample.t_capture - self.t_looked) / 1e9,
            later,
            self.model,
            self.second.package.name if self.second else "",
            self.counted(),
        )

    def standing(self, now: int) -> list[Standing]:
        """At each actuator that this lane's rules feed."""
        found = {actuator: self.scene.current(actuator) for actuator in self.scene.rules.feeds.get(self.lane.name, ())}
        return [
            Standing(name, one.verb, one.rule, (now - one.t_capture) / 1e9) if one else Standing(name, "", "", 0.0)
            for name, one in found.items()
        ]

    def counted(self) -> frozenset[Evidence]:
        """The evidence that conditions of a rule in force ask for."""
        names = {one.rule for one in self.scene.rules.in_force.values()}
        rules = [rule for rule in self.scene.rules.rules if rule.name in names]
        return frozenset(one for rule in rules for one in self.evidence if _asks_for(rule, one))


def _asks_for(rule: Rule, one: Evidence) -> bool:
    for watch in rule.states:
        c = watch.condition
        here = watch.zone is None or (one.box is not None and watch.zone.contains(one.box))
        if (c.lane, c.label) == (one.lane, one.label) and one.score >= c.score and here and not c.absent:
            return True
    return False


def _skeletons(perception: Perception) -> Array | None:
    """float32 [n, 17, 3] in shares of the frame, of the newest inference."""
    refine = perception.refine if perception.refined else None
    decoder, preparation = (
        (refine.package.decoder, refine.pixels) if refine else (perception.package.decoder, perception.preparation)
    )
    points = frame_keypoints(decoder, preparation)
    return None if points is None else points.reshape(-1, 17, 3)


def bgr(payload: Array, pixels: str) -> Array:
    if pixels == "bgr":
        return payload
    converted: Array = cv2.cvtColor(payload, COLOURS[pixels])
    return converted


def _chosen(asked: ViewOptions) -> tuple[Config, Path]:
    """The configuration and the folder that its paths start from. Raises ClickException, ConfigError, PackageError."""
    if sum(one is not None for one in (asked.config, asked.scene, asked.model)) > 1:
        raise click.ClickException("one of --config, --scene and --model, not several")
    if asked.then and not asked.model:
        raise click.ClickException("--then belongs to --model; a configuration names its own second model")
    path = _scene_file(asked.scene) if asked.scene is not None else asked.config
    if path:
        return load_config(path), path.resolve().parent
    if asked.source is None:
        raise click.ClickException("a SOURCE is missing: a video, a picture, a folder of them or /dev/videoN")
    return of_models([asked.model or "person-coarse", *([asked.then] if asked.then else [])]), Path.cwd()


def _scene_file(name: str) -> Path:
    path = SCENES / f"{name}.yaml"
    if path.parent != SCENES or not path.is_file():
        there = ", ".join(sorted(one.stem for one in SCENES.glob("*.yaml")))
        raise click.ClickException(f"no scene '{name}'; there is {there}")
    return path


def of_models(models: list[str]) -> Config:
    """One lane and no rules."""
    folders = [str(package.find(one)) for one in models]
    lane = {"source": {"driver": "camera.sim"}, "model": folders[0], "then": folders[1] if len(folders) > 1 else ""}
    return validate_config(Document(Path("--model"), {"lanes": {"camera": lane}}, {}))


def camera_lane(config: Config, wanted: str | None) -> str:
    cameras = [
        name for name, lane in config.lanes.items() if issubclass(drivers.load(lane.source.driver).Driver, Camera)
    ]
    if wanted is None and cameras:
        return cameras[0]
    if wanted in cameras:
        return str(wanted)
    there = f"there is {', '.join(cameras)}" if cameras else "it has no lane with a camera"
    raise click.ClickException(f"no camera lane{f' {wanted!r}' if wanted else ''} in this configuration: {there}")


def staged(config: Config, name: str, source: str | None, folder: Path) -> Config:
    """The same with this source in that lane. What a lane writes goes to `folder`, away from a daemon that runs here."""
    section = config.lanes[name]
    device = _played(section.source) if source is None else device_of(source, section)
    lanes = {**config.lanes, name: section.model_copy(update={"source": device})}
    return config.model_copy(update={"lanes": lanes, "run_dir": folder, "recorder": Recorder(enabled=False)})


def device_of(source: str, section: LaneConfig) -> Device:
    """Raises ClickException where it is none that a camera lane reads."""
    path = Path(source)
    if path.is_dir():
        return Device.model_validate({"driver": "camera.replay", "folder": path, "pace": "fast"})
    if path.is_char_device():
        own = section.source.options if section.source.driver == "camera.v4l2" else {}
        return Device.model_validate({**own, "driver": "camera.v4l2", "device": source})
    if path.is_file():
        # Nobody waits here: drawing a frame may take longer than a camera may be silent.
        return Device.model_validate({"driver": "camera.file", "path": path, "pace": "fast", "timeout_ms": 60_000})
    raise click.ClickException(f"{source}: no such file, folder or camera")


def _played(device: Device) -> Device:
    """The lane's own source; a recording or a simulated one at its fastest, and once."""
    fields = drivers.load(device.driver).Options.model_fields
    fast: dict[str, Any] = (
        {"pace": "fast"} if "pace" in fields and "fast" in get_args(fields["pace"].annotation) else {}
    )
    once = {"loop": False} if "loop" in fields else {}
    return Device.model_validate({**device.options, **fast, **once, "driver": device.driver})


def endless(lane: Lane) -> bool:
    return not hasattr(lane.source.options, "loop")  # what can loop is a recording, and ends
