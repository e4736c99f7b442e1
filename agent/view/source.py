"""Which configuration, camera lane and source device `reflexd view` and `reflexd zones` use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
import cv2

from agent.config.load import load_config, validate_config
from agent.config.models import Config, Device, LaneConfig
from agent.config.services import Recorder
from agent.data import Array
from agent.packages import package
from agent.scenes import catalog
from agent.yamlfile import Document
from drivers import base as drivers
from drivers.base import Camera, Stream

TO_BGR = {"rgb": cv2.COLOR_RGB2BGR, "grey": cv2.COLOR_GRAY2BGR, "yuyv": cv2.COLOR_YUV2BGR_YUYV}


def choose_config(
    source: str | None, config: Path | None, scene: str | None, model: str | None, then: str | None
) -> tuple[Config, Path]:
    """The configuration and the folder that its paths start from. Raises ClickException, ConfigError, PackageError."""
    if sum(choice is not None for choice in (config, scene, model)) > 1:
        raise click.ClickException("one of --config, --scene and --model, not several")
    if then and not model:
        raise click.ClickException("--then belongs to --model; a configuration names its own second model")
    path = catalog.find(scene) if scene is not None else config
    if path:
        return load_config(path), path.resolve().parent
    if source is None:
        raise click.ClickException("a SOURCE is missing: a video, a picture, a folder of them or /dev/videoN")
    return config_of_models([model or "person-coarse", *([then] if then else [])]), Path.cwd()


def config_of_models(models: list[str]) -> Config:
    """One camera lane with these models, without zones and rules."""
    folders = [str(package.find(model)) for model in models]
    lane = {"source": {"driver": "camera.sim"}, "model": folders[0], "then": folders[1] if len(folders) > 1 else ""}
    return validate_config(Document(Path("--model"), {"lanes": {"camera": lane}}, {}))


def camera_lane(config: Config, wanted: str | None) -> str:
    """The name of the wanted lane, or of the first one with a camera. Raises ClickException."""
    cameras = [
        name for name, lane in config.lanes.items() if issubclass(drivers.load(lane.source.driver).Driver, Camera)
    ]
    if wanted is None and cameras:
        return cameras[0]
    if wanted in cameras:
        return str(wanted)
    available = f"there is {', '.join(cameras)}" if cameras else "it has no lane with a camera"
    raise click.ClickException(f"no camera lane{f' {wanted!r}' if wanted else ''} in this configuration: {available}")


def with_source(config: Config, name: str, source: str | None, folder: Path) -> Config:
    """The same with this source in that lane, which writes to `folder`, away from a daemon that runs on this box."""
    section = config.lanes[name]
    device = _fast_and_once(section.source) if source is None else source_device(source, section)
    lanes = {**config.lanes, name: section.model_copy(update={"source": device})}
    return config.model_copy(update={"lanes": lanes, "run_dir": folder, "recorder": Recorder(enabled=False)})


def source_device(source: str, section: LaneConfig) -> Device:
    """The driver that reads this file, folder or camera. Raises ClickException where a camera lane cannot read it."""
    path = Path(source)
    if path.is_dir():
        return Device.model_validate({"driver": "camera.replay", "folder": path, "pace": "fast"})
    if path.is_char_device():
        options = section.source.options if section.source.driver == "camera.v4l2" else {}
        return Device.model_validate({**options, "driver": "camera.v4l2", "device": source})
    if path.is_file():
        # Nothing depends on the pace here: drawing a frame may take longer than a camera may be silent.
        return Device.model_validate({"driver": "camera.file", "path": path, "pace": "fast", "timeout_ms": 60_000})
    raise click.ClickException(f"{source}: no such file, folder or camera")


def _fast_and_once(device: Device) -> Device:
    """The lane's own source; a simulated camera as fast as it is read, a recording also only once."""
    fields = drivers.load(device.driver).Options.model_fields
    has_fast = "pace" in fields and "fast" in get_args(fields["pace"].annotation)
    fast: dict[str, Any] = {"pace": "fast"} if has_fast else {}
    once = {"loop": False} if "loop" in fields else {}
    return Device.model_validate({**device.options, **fast, **once, "driver": device.driver})


def is_recording(source: Stream) -> bool:
    """It ends by itself: only recordings have the option to loop."""
    return hasattr(source.options, "loop")


def to_bgr(payload: Array, source: Stream) -> Array:
    """uint8 bgr [height, width, 3] of a frame in the source's pixel layout; the payload itself where that is bgr."""
    pixels = getattr(source, "pixels", "bgr")
    if pixels == "bgr":
        return payload
    converted: Array = cv2.cvtColor(payload, TO_BGR[pixels])
    return converted
