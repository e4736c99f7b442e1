"""A sensor on a CAN bus: signals of a DBC are channels, stamped by the kernel."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Literal

import can
import numpy as np
from cantools.database.can import Database, Message
from pydantic import Field, field_validator, model_validator

from agent.data import Sample
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, SensorStream, SourceOptions
from drivers.links.can import Bus, BusOptions, read_database
from drivers.options import DriverOptions, FilePath

FLOAT32_MAX = float(np.finfo(np.float32).max)
BATCH = 256  # frames in one read: a flood must not keep it from returning
# linux/can/error.h: classes in the id of an error frame, and states of the controller in its second byte
BUS_OFF, CONTROLLER, NO_ACKNOWLEDGEMENT, PASSIVE = 0x40, 0x04, 0x20, 0x30
HINT = "ip -details link show {0}; it restarts by itself with: sudo ip link set {0} type can restart-ms 100"


class Channel(DriverOptions):
    """One signal."""

    message: str = Field(min_length=1)
    signal: str = Field(min_length=1)
    name: str = Field("", description="of the channel; the signal's when empty")
    hold_ms: float | None = Field(
        None,
        gt=0,
        le=600_000,
        description="a value is repeated for so long, then it is a hole; timeout_ms when not set",
    )


class Options(BusOptions, SourceOptions):
    """The interface, the DBC and its signals."""

    dbc: FilePath = Field(description="the file that describes the messages: DBC, KCD, SYM, ARXML")
    channels: list[Channel] = Field(min_length=1, max_length=256)
    clock: str = Field(
        "", description="the message whose arrival makes a reading; that of the first channel when empty"
    )
    rate_hz: float = Field(gt=0, le=10_000, description="how often the device sends that message")
    holes: Literal["refuse", "nan"] = Field(
        "refuse", description="a reading in which a channel has no value: refuse it, or nan: deliver it with NaN"
    )
    bad_run: int = Field(20, ge=1, le=100_000, description="bad or error frames in a row before the device is faulty")

    @field_validator("channels")
    @classmethod
    def _names(cls, channels: list[Channel]) -> list[Channel]:
        names = [channel.name or channel.signal for channel in channels]
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise ValueError(f"two channels are named {twice}: give one of them another name")
        return channels

    @model_validator(mode="after")
    def _in_database(self) -> Options:
        if self.dbc.is_file():  # a file that is not there is reported on its own
            try:
                self.messages(read_database(self.dbc))
            except DeviceError as error:
                raise ValueError(f"dbc: {error}") from error
        return self

    @property
    def clock_message(self) -> str:
        return self.clock or self.channels[0].message

    def messages(self, database: Database) -> dict[str, Message]:
        """Those used, by name. Raises ValueError."""
        used = {name: _message(database, name) for name in (self.clock_message, *(c.message for c in self.channels))}
        for channel in self.channels:
            if channel.signal not in (signal.name for signal in used[channel.message].signals):
                raise ValueError(f"message {channel.message} has no signal {channel.signal}")
        return used

    def input_files(self) -> list[Path]:
        return [self.dbc]


def _message(database: Database, name: str) -> Message:
    try:
        return database.get_message_by_name(name)
    except KeyError as error:
        raise ValueError(f"message {name}: not in the DBC") from error


class Driver(SensorStream):
    """bad_frames, error_frames: since open. held: values that were repeated. incomplete: readings with a hole.

    A hole is a channel without a value for `hold_ms`. Where such readings are refused, they are no sign of life: the
    lane times out, and its actuators go safe.
    """

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.channels = tuple(channel.name or channel.signal for channel in options.channels)
        self.rate_hz = options.rate_hz
        limits_ms = [channel.hold_ms or options.timeout_ms for channel in options.channels]
        self.hold_ns = [1e6 * limit for limit in limits_ms]
        self.rows = np.zeros((BATCH, len(self.channels)), np.float32)
        self.bus: Bus | None = None

    def open(self) -> None:
        self.close()
        try:
            messages = self.options.messages(read_database(self.options.dbc))
        except ValueError as error:
            raise DeviceFault(f"{self.options.dbc}: {error}") from error
        self.messages = {(message.frame_id, message.is_extended_frame): message for message in messages.values()}
        self.places = {
            name: [(at, c.signal) for at, c in enumerate(self.options.channels) if c.message == name]
            for name in messages
        }
        self.values = [math.nan] * len(self.channels)
        self.taken = [-math.inf] * len(self.channels)  # when each value arrived
        self.sequence = -1
        self.bad_frames = self.error_frames = self.bad_run = self.held = self.incomplete = 0
        self.bus = Bus(self.options, sorted(self.messages), own=False, errors=True)
        self.t_received = self.t_newest = self.t_last = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        timeout = self.t_received + int(self.options.timeout_ms * 1e6)
        until = min(time.monotonic_ns() + int(wait_s * 1e9), timeout)
        count = 0
        for _ in range(BATCH):
            # frames that make no reading must not restart the wait
            message = self._receive(0.0 if count else max(0, until - time.monotonic_ns()) / 1e9)
            if message is None:
                break
            count += self._take(message, count)
            if not count and time.monotonic_ns() >= until:
                break
        if count:
            self.t_received = time.monotonic_ns()
            return Sample(self.name, self.sequence, self.t_newest, self.rows[:count])
        if time.monotonic_ns() >= timeout:
            raise DeviceTimeout(self._silence())
        return None

    def _receive(self, wait_s: float) -> can.Message | None:
        if self.bus is None:
            raise DeviceMissing(f"{self.options.where}: not open")
        return self.bus.receive(wait_s)

    def _silence(self) -> str:
        return (
            f"{self.options.where}: no complete reading for {self.options.timeout_ms:g} ms; since open"
            f" {self.incomplete} incomplete ones, {self.bad_frames} bad frames, {self.error_frames} error frames"
        )

    def close(self) -> None:
        bus, self.bus = self.bus, None
        if bus is not None:
            bus.close()

    def _take(self, frame: can.Message, row: int) -> bool:
        """Whether this frame completes a reading, which is then in that row. Raises DeviceFault."""
        if frame.is_error_frame:
            self._error_frame(frame)
            return False
        message = self.messages.get((frame.arbitration_id, frame.is_extended_id))
        if message is None or frame.is_remote_frame:
            return False
        stamp = self._stamp(frame.timestamp)
        try:
            decoded = message.decode(bytes(frame.data), decode_choices=False)
            self._store(message, decoded, stamp)
        except Exception as error:  # cantools' and bitstruct's, for a frame that is too short or a number that is none
            self._bad_frame(f"frame {frame.arbitration_id:#x} [{bytes(frame.data).hex(' ')}]: {error}")
            return False
        self.bad_run = 0
        return message.name == self.options.clock_message and self._complete(stamp, row)

    def _store(self, message: Message, decoded: object, stamp: int) -> None:
        """A multiplexed frame has some of the signals; the others keep their value."""
        if not isinstance(decoded, dict):
            raise ValueError("a container of messages")
        present = [(at, float(decoded[signal])) for at, signal in self.places[message.name] if signal in decoded]
        if any(not abs(value) <= FLOAT32_MAX for _, value in present):
            raise ValueError("a value is not a number")
        for at, value in present:
            self.values[at], self.taken[at] = value, stamp

    def _complete(self, stamp: int, row: int) -> bool:
        fresh = [stamp - taken <= hold for taken, hold in zip(self.taken, self.hold_ns)]
        if not all(fresh):
            self.incomplete += 1
            if self.options.holes == "refuse":
                return False
        self.held += sum(young and taken != stamp for young, taken in zip(fresh, self.taken))
        self.rows[row] = [value if young else math.nan for young, value in zip(fresh, self.values)]
        self.sequence += 1
        self.t_newest = stamp
        return True

    def _stamp(self, wall_s: float) -> int:
        """The kernel stamps with the wall clock (SO_TIMESTAMPNS). Its distance to the monotonic clock is taken now.

        A step of the wall clock since the frame's arrival would shift it: it came after the frame before, and not later
        than now.
        """
        now = time.monotonic_ns()
        age = time.time_ns() - int(wall_s * 1e9)
        self.t_last = min(max(now - age, self.t_last), now)
        return self.t_last

    def _error_frame(self, frame: can.Message) -> None:
        self.error_frames += 1
        if frame.arbitration_id & BUS_OFF:
            raise DeviceFault(
                f"{self.options.where}: bus-off, after too many errors: " + HINT.format(self.options.channel)
            )
        passive = frame.arbitration_id & CONTROLLER and len(frame.data) > 1 and frame.data[1] & PASSIVE
        what = "error passive" if passive else f"error class {frame.arbitration_id:#x}"
        self._bad(f"{what} [{bytes(frame.data).hex(' ')}]: cable, termination, bit rate?")

    def _bad_frame(self, text: str) -> None:
        self.bad_frames += 1
        self._bad(text)

    def _bad(self, text: str) -> None:
        self.bad_run += 1
        if self.bad_run > self.options.bad_run:
            run, self.bad_run = self.bad_run, 0
            raise DeviceFault(f"{self.options.where}: {run} bad or error frames in a row, the last one: {text}")
