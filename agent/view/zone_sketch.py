"""`reflexd zones [SOURCE] -o PICTURE`: a still of a camera lane with its zones and a grid in shares of the frame.

A box has no screen: open the picture elsewhere, read the corners off the grid, write them into the configuration,
repeat.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import cv2

from agent.box import private
from agent.config.load import load_config
from agent.data import Array
from agent.view import drawing
from agent.view.drawing import BLACK, DIM, WHITE, Pen
from agent.view.source import camera_lane, config_of_models, is_recording, source_device, to_bgr
from drivers import base as drivers
from drivers.base import DeviceError, Stream

MIN_SIDE = 720  # pixels: a tenth of it is read to a hundredth by eye
SETTLE_S, WAIT_S, TIMEOUT_S = 1.0, 0.2, 10.0  # automatic exposure needs a second
SUFFIXES = (".png", ".jpg", ".jpeg")
TENTHS = range(1, 10)


def run(source: str | None, out: Path, path: Path, lane: str | None) -> None:
    """path: of the configuration, which need not exist yet. Raises ClickException, ConfigError, OSError."""
    if out.suffix.lower() not in SUFFIXES:
        raise click.ClickException(f"{out}: expected a file named {', '.join('*' + suffix for suffix in SUFFIXES)}")
    config = load_config(path) if path.exists() or source is None else config_of_models(["person-coarse"])
    name = camera_lane(config, lane)
    section = config.lanes[name]
    device = section.source if source is None else source_device(source, section)
    try:
        frame = _still(drivers.open_source(device.driver, device.options, name))
    except DeviceError as error:
        hint = "; while reflexd has the camera, name a picture or a clip of it as SOURCE" if source is None else ""
        raise click.ClickException(f"{error}{hint}") from error
    _write(out, sketch(frame, section.zones))
    size = f"{frame.shape[1]} x {frame.shape[0]}"
    click.echo(f"{out}: lane {name}, frames of {size}, zones: {', '.join(section.zones) or 'none'}")
    for zone, corners in section.zones.items():
        click.echo(f"  {zone}: [{', '.join(f'[{x:g}, {y:g}]' for x, y in corners)}]")


def _still(source: Stream) -> Array:
    """uint8 bgr [height, width, 3]: a recording's first picture, a camera's after a second. Raises DeviceError."""
    settle_s = 0.0 if is_recording(source) else SETTLE_S
    frame: Array | None = None
    try:
        source.open()
        start = time.monotonic()
        while frame is None or time.monotonic() - start < settle_s:
            sample = source.read(WAIT_S)
            if sample is not None:
                frame = to_bgr(sample.payload, source).copy()  # the driver reuses its buffer
            elif time.monotonic() - start > TIMEOUT_S:
                raise drivers.DeviceTimeout(f"no picture for {TIMEOUT_S:g} s")
    except EOFError:
        if frame is None:
            raise drivers.DeviceFault("a recording without a picture") from None
    finally:
        source.close()
    return frame


def sketch(frame: Array, zones: Mapping[str, Sequence[tuple[float, float]]]) -> Array:
    """The frame (uint8 bgr), large enough to read, with the zones and a line for each twentieth of width and height."""
    times = max(1, -(-MIN_SIDE // min(frame.shape[:2])))
    picture: Array = cv2.resize(frame, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    height, width = picture.shape[:2]
    pen = Pen(width, height)
    drawing.draw_zones(picture, zones, pen)
    for twentieth in sorted(range(1, 20), key=lambda line: line % 2 == 0):  # tenths over twentieths
        colour = WHITE if twentieth % 2 == 0 else DIM
        x, y = drawing.to_pixel(twentieth / 20, twentieth / 20, picture)
        cv2.line(picture, (x, 0), (x, height - 1), colour, 1)
        cv2.line(picture, (0, y), (width - 1, y), colour, 1)
    for tenth in TENTHS:
        x, y = drawing.to_pixel(tenth / 10, tenth / 10, picture)
        _draw_number(picture, f"{tenth / 10:g}", (x, pen.line), pen)
        _draw_number(picture, f"{tenth / 10:g}", (0, y), pen)
    return picture


def _draw_number(picture: Array, text: str, at: tuple[int, int], pen: Pen) -> None:
    """White on a black plate, legible on any picture."""
    x, y = at
    cv2.rectangle(picture, (x, y - pen.line + pen.margin), (x + pen.width(text) + 4, y + pen.margin // 2), BLACK, -1)
    pen.write(picture, text, (x + 2, y), WHITE)


def _write(out: Path, picture: Array) -> None:
    """Readable for its owner only: it may show people. Raises OSError."""
    encoded = cv2.imencode(out.suffix.lower(), picture)[1].tobytes()
    with os.fdopen(private.output(out), "wb") as file:
        file.write(encoded)
