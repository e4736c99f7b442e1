"""Lines of a GPIO chip for drivers: their names and offsets, requests to the kernel, and what an error means."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

import gpiod
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from drivers.base import DeviceError, DeviceFault, DeviceMissing

CONSUMER = "reflexd"  # shown by gpioinfo; the kernel keeps 31 characters


def _offset_of(line: object) -> object:
    """Digits are an offset: the keys of a configuration, and of the standby's copy of it, are texts."""
    return int(line) if isinstance(line, str) and line.isascii() and line.isdigit() else line


# linux/gpio.h: GPIO_MAX_NAME_SIZE is 32 with the final zero; a chip has at most 16 bits of lines
Name = Annotated[str, StringConstraints(min_length=1, max_length=31)]
Line = Annotated[Annotated[int, Field(ge=0, le=65_535)] | Name, BeforeValidator(_offset_of)]


class ChipOptions(BaseModel):
    """The chip. `gpiodetect` lists chips, `gpioinfo` the names of lines."""

    chip: str = Field(
        "/dev/gpiochip0",
        pattern="^/",
        description="a device; the number may change from boot to boot, so use udev links",
    )


def request(chip_path: str, lines: dict[Line, gpiod.LineSettings], events: int = 0) -> gpiod.LineRequest:
    """The lines, until it is released; then what they do is up to the chip. events: size of the kernel's buffer.

    Raises DeviceMissing, DeviceFault. The chip itself is closed again: a request does without it.
    """
    try:
        with gpiod.Chip(chip_path) as chip:
            config: dict[Any, Any] = {_offset(chip, chip_path, line): settings for line, settings in lines.items()}
            if len(config) < len(lines):
                raise DeviceFault(f"{chip_path}: a line is given twice, by its name and by its offset: {_list(lines)}")
            return chip.request_lines(config, CONSUMER, events or None)
    except (OSError, ValueError) as error:
        raise explain(chip_path, lines, error) from error


def _offset(chip: gpiod.Chip, chip_path: str, line: Line) -> int:
    try:
        return chip.line_offset_from_id(line)
    except ValueError as error:
        raise DeviceFault(f"{chip_path}: has no line {line}, only {chip.get_info().num_lines}") from error
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        raise DeviceFault(f"{chip_path}: has no line named '{line}': gpioinfo shows the names") from error


def explain(chip_path: str, lines: Iterable[Line], error: Exception) -> DeviceError:
    """What an error of the kernel means, and what to do."""
    code = getattr(error, "errno", None)
    if code == errno.EBUSY:
        return DeviceMissing(
            f"{chip_path}: busy, another program{_consumers(chip_path, lines)} has one of {_list(lines)}"
        )
    if code in (errno.EACCES, errno.EPERM):
        return DeviceMissing(f"{chip_path}: no permission; add the service's user to the group gpio")
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return DeviceMissing(f"{chip_path}: is not there (unplugged? another number?): gpiodetect lists the chips")
    if code == errno.ENOTTY:
        return DeviceFault(f"{chip_path}: not a GPIO chip, or a kernel before 5.10")
    if code in (errno.EINVAL, errno.EOPNOTSUPP):
        return DeviceFault(f"{chip_path}: the chip does not support these settings of {_list(lines)}: {error}")
    return DeviceFault(f"{chip_path}: {error}")


def _consumers(chip_path: str, lines: Iterable[Line]) -> str:
    """The names that those who have the lines gave the kernel; their processes are not known there."""
    names: set[str] = set()
    with suppress(OSError, ValueError), gpiod.Chip(chip_path) as chip:
        infos = [chip.get_line_info(line) for line in lines]
        names = {info.consumer for info in infos if info.used}
    return f" ({', '.join(sorted(names))})" if names else ""


def _list(lines: Iterable[Line]) -> str:
    return ", ".join(map(str, lines))
