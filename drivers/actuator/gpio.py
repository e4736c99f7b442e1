"""Output lines of a GPIO chip, by the kernel's character device (libgpiod 2).

The kernel guarantees the level of a line only as long as the request is open (Documentation/userspace-api/gpio): after
`close`, and after the death of this process, some chips keep it and others make the line an input. So the wiring, too,
must be safe when nothing drives it: a pull-down, or a relay that releases.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Literal

import gpiod
from gpiod.line import Direction, Drive, Value
from pydantic import Field, model_validator

from agent.data import Arguments
from drivers.base import Actuator, DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, DriverOptions
from drivers.links.gpio import ChipOptions, Line, explain, request

DRIVE = {"push_pull": Drive.PUSH_PULL, "open_drain": Drive.OPEN_DRAIN, "open_source": Drive.OPEN_SOURCE}
NAMED = 1 << 32  # parts below are offsets
LOCK_S = 0.05

Pattern = Annotated[dict[Line, bool], Field(min_length=1, max_length=64)]
Levels = dict[int | str, Value]
Duration = Annotated[float, Field(ge=1, le=60_000)]


class Options(ChipOptions, DriverOptions):
    """The chip and the lines of each verb."""

    lines: dict[str, Pattern] = Field(
        min_length=1, description="verb -> line, by name or offset -> active; a line not named does not change"
    )
    safe: str = Field(description="the verb of the safe state; it must name every line")
    active_low: list[Line] = Field([], description="lines whose active level is low, such as most relay boards' inputs")
    drive: Literal["push_pull", "open_drain", "open_source"] = "push_pull"
    pulse_ms: dict[str, Duration] = Field(
        {}, description="verb -> its lines return to their safe levels after this time, unless another command comes"
    )
    read_back: bool = Field(False, description="read the levels after each command: a short circuit is a fault")

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if self.safe not in self.lines:
            raise ValueError(f"safe: '{self.safe}' is not among the lines' verbs: {', '.join(self.lines)}")
        named = {line for pattern in self.lines.values() for line in pattern}
        unsafe = sorted(map(str, named - set(self.lines[self.safe])))
        if unsafe:
            raise ValueError(f"safe: '{self.safe}' does not name line {unsafe[0]}")
        unknown = [line for line in self.active_low if line not in named]
        if unknown:
            raise ValueError(f"active_low: no verb names line {unknown[0]}")
        if self.safe in self.pulse_ms or self.pulse_ms.keys() - self.lines.keys():
            raise ValueError("pulse_ms: names verbs of lines, and not the safe one")
        return self

    def exclusive_device(self) -> str:
        return self.chip

    def exclusive_parts(self) -> frozenset[int]:
        """A name and an offset may still be the same line: then the kernel refuses the second."""
        return frozenset(
            line if isinstance(line, int) else NAMED + zlib.crc32(line.encode()) for line in self.lines[self.safe]
        )

    @property
    def part_name(self) -> str:
        return "line"


class Driver(Actuator):
    """A thread ends the pulses."""

    deadline_ms = 100.0  # an ioctl of some microseconds; of an expander on I2C, of a millisecond

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.verbs = tuple(options.lines)
        self.request: gpiod.LineRequest | None = None
        self.lock = threading.Lock()
        self.levels: dict[str, Levels] = {}
        self.pulse: threading.Timer | None = None
        self.failure: DeviceError | None = None

    def open(self) -> None:
        """The lines have their safe level from the first moment on: the request and the level are one system call."""
        self.close()
        options: Options = self.options
        with self._locked():
            self.failure = None
            settings = {line: self._settings(line, on) for line, on in options.lines[options.safe].items()}
            self.request = request(options.chip, settings)
            offsets = dict(zip(settings, self.request.lines))
            self.levels = {
                verb: {offsets[line]: _value(on) for line, on in pattern.items()}
                for verb, pattern in options.lines.items()
            }

    def _settings(self, line: Line, on: bool) -> gpiod.LineSettings:
        return gpiod.LineSettings(
            direction=Direction.OUTPUT,
            drive=DRIVE[self.options.drive],
            active_low=line in self.options.active_low,
            output_value=_value(on),
        )

    @property
    def lost(self) -> DeviceError | None:
        return self.failure

    def apply(self, verb: str, arguments: Arguments) -> None:
        if verb not in self.verbs:
            raise DeviceFault(f"{self.options.chip}: no verb '{verb}', only {', '.join(self.verbs)}")
        with self._locked():
            if self.request is None:
                raise DeviceMissing(f"{self.options.chip}: not open")
            self._cancel_pulse()
            failure, self.failure = self.failure, None
            if failure is not None and verb != self.options.safe:
                raise failure
            if verb in self.options.pulse_ms:
                self._start_pulse(verb)
            self._set(self.request, verb, self.levels[verb])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.lock.acquire(timeout=LOCK_S):
            raise DeviceTimeout(f"{self.options.chip}: the end of a pulse hangs in the kernel")
        try:
            yield
        finally:
            self.lock.release()

    def _set(self, held: gpiod.LineRequest, verb: str, levels: Levels) -> None:
        try:
            held.set_values(levels)
            actual = held.get_values(list(levels)) if self.options.read_back else list(levels.values())
        except (OSError, ValueError) as error:
            raise explain(self.options.chip, levels, error) from error
        wrong = [line for line, level in zip(levels, actual) if level != levels[line]]
        if wrong:
            raise DeviceFault(f"{self.options.chip}: line {wrong[0]} does not follow '{verb}': a short circuit?")

    def _start_pulse(self, verb: str) -> None:
        """Before the lines become active: a box that has no room for another thread must not leave them so."""
        safe = self.levels[self.options.safe]
        ending = {line: safe[line] for line in self.levels[verb]}
        pulse = threading.Timer(self.options.pulse_ms[verb] / 1e3, lambda: self._end_pulse(pulse, verb, ending))
        pulse.daemon = True
        try:
            pulse.start()
        except RuntimeError as error:
            raise DeviceFault(f"{self.options.chip}: '{verb}' could not be ended: {error}") from error
        self.pulse = pulse

    def _end_pulse(self, pulse: threading.Timer, verb: str, ending: Levels) -> None:
        with self.lock:
            if self.pulse is not pulse or self.request is None:  # another command was faster
                return
            self.pulse = None
            try:
                self._set(self.request, verb, ending)
            except DeviceError as error:
                self.failure = type(error)(f"the end of '{verb}': {error}")

    def _cancel_pulse(self) -> None:
        if self.pulse is not None:
            self.pulse.cancel()
            self.pulse = None

    def safe(self) -> None:
        self.apply(self.options.safe, {})

    def close(self) -> None:
        with suppress(DeviceTimeout), self._locked():
            self._cancel_pulse()
            released, self.request = self.request, None
            if released is not None:
                with suppress(OSError):
                    released.release()


def _value(on: bool) -> Value:
    return Value.ACTIVE if on else Value.INACTIVE
