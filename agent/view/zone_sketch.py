"""`reflexd zones [SOURCE] -o PICTURE`: a still of a camera lane with a grid in shares of the frame and the lane's zones.

Boxes have no screen: look at the picture elsewhere, read the corners off the grid, write them into the configuration, repeat.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import cv2

from agent.config.load import load_config
from agent.config.models import Config
from agent.data import Array
from agent.view import drawing
from agent.view.command import bgr, camera_lane, device_of, of_models
from agent.view.drawing import BLACK, DIM, WHITE, Pen
from drivers import base as drivers
from drivers.base import DeviceError, Stream

LEAST_SIDE = 720  # pixels: a tenth of it is read to a hundredth by eye
SETTLE_S, WAIT_S, SILENT_S = 1.0, 0.2, 10.0  # automatic exposure needs a second
SUFFIXES = (".png", ".jpg", ".jpeg")
TENTHS = range(1, 10)


def run(source: str | None, out: Path, path: Path, lane: str | None) -> None:
    """path: of the configuration, which need not be there yet. Raises ClickException, ConfigError, OSError."""
    if out.suffix.lower() not in SUFFIXES:
        raise click.ClickException(f"{out}: expected a file named {', '.join('*' + one for one in SUFFIXES)}")
    config = load_config(path) if path.exists() or source is None else _bare()
    name = camera_lane(config, lane)
    section = config.lanes[name]
    device = section.source if source is None else device_of(source, section)
    try:
        frame = _still(drivers.open_source(device.driver, device.options, name))
    except DeviceError as error:
        hint = "; while reflexd has the camera, name a picture or a clip of it as SOURCE" if source is None else ""
        raise click.ClickException(f"{error}{hint}") from error
    _write(out, sketch(frame, section.zones))
    click.echo(
        f"{out}: lane {name}, frames of {frame.shape[1]} x {frame.shape[0]}, zones: {', '.join(section.zones) or 'none'}"
    )
    for zone, corners in section.zones.items():
        click.echo(f"  {zone}: [{', '.join(f'[{x:g}, {y:g}]' for x, y in corners)}]")


def _bare() -> Config:
    """One camera lane without zones."""
    return of_models(["person-coarse"])


def _still(source: Stream) -> Array:
    """uint8 bgr [height, width, 3]: the first picture of a recording, of a camera one a second later. Raises DeviceError."""
    settle_s = 0.0 if hasattr(source.options, "loop") else SETTLE_S  # what can loop is a recording
    frame: Array | None = None
    try:
        source.open()
        start = time.monotonic()
        while frame is None or time.monotonic() - start < settle_s:
            sample = source.read(WAIT_S)
            if sample is not None:
                frame = bgr(sample.payload, getattr(source, "pixels", "bgr")).copy()  # the driver reuses its own
            elif time.monotonic() - start > SILENT_S:
                raise drivers.DeviceTimeout(f"no picture for {SILENT_S:g} s")
    except EOFError:
        if frame is None:
            raise drivers.DeviceFault("a recording without a picture") from None
    finally:
        source.close()
    return frame


def sketch(frame: Array, zones: Mapping[str, Sequence[tuple[float, float]]]) -> Array:
    """frame: uint8 bgr. The same, large enough to read, with the zones and a line for each twentieth of width and height."""
    times = max(1, -(-LEAST_SIDE // min(frame.shape[:2])))
    picture: Array = cv2.resize(frame, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    height, width = picture.shape[:2]
    pen = Pen(width, height)
    drawing.draw_zones(picture, zones, pen)
    for twentieth in sorted(range(1, 20), key=lambda one: one % 2 == 0):  # tenths over twentieths
        colour = WHITE if twentieth % 2 == 0 else DIM
        x, y = drawing.place(twentieth / 20, twentieth / 20, picture)
        cv2.line(picture, (x, 0), (x, height - 1), colour, 1)
        cv2.line(picture, (0, y), (width - 1, y), colour, 1)
    for tenth in TENTHS:
        x, y = drawing.place(tenth / 10, tenth / 10, picture)
        _number(picture, f"{tenth / 10:g}", (x, pen.line), pen)
        _number(picture, f"{tenth / 10:g}", (0, y), pen)
    return picture


def _number(picture: Array, words: str, at: tuple[int, int], pen: Pen) -> None:
    """Legible on anything."""
    x, y = at
    cv2.rectangle(picture, (x, y - pen.line + pen.margin), (x + pen.width(words) + 4, y + pen.margin // 2), BLACK, -1)
    pen.write(picture, words, (x + 2, y), WHITE)


def _write(out: Path, picture: Array) -> None:
    """Readable for its owner only: it may show people. Raises OSError."""
    data = cv2.imencode(out.suffix.lower(), picture)[1].tobytes()
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(data)
