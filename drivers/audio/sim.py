"""A simulated microphone: a room's noise, sounds at given times, faults on a schedule."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from agent.data import Array, Sample
from drivers.audio._sounds import make, room
from drivers.audio._values import AudioOptions, Blocks, DeadCheck
from drivers.base import DeviceTimeout, DriverOptions, Microphone
from drivers.faults import Fault, Faults

CLOCK_JUMP_MS = 100.0
NOISE = 0.1
ROOM_S = 8.0  # after which the room's noise repeats
LATE_S = 2.0  # older values are lost to a late reader, as with a sound card


class SoundAt(DriverOptions):
    """One synthesised sound."""

    kind: Literal["scream", "groan", "glass", "speech"]
    at_s: float = Field(ge=0, le=86_400, description="seconds after the first open")
    for_s: float = Field(1.5, ge=0.1, le=30)
    level: float = Field(0.5, gt=0, le=1, description="its largest absolute value")


class AudioFault(Fault):
    """clock_jump: amount in ms, 0 is 100. noise: rms added, 0 is 0.1. silence: zeros, as from a dead microphone."""

    kind: Literal["unplug", "freeze", "repeat", "clock_jump", "noise", "silence"]


class Options(AudioOptions):
    """The room, the sounds in it and the faults of the microphone."""

    sounds: tuple[SoundAt, ...] = Field((), max_length=64)
    every_s: float = Field(0.0, ge=0, le=86_400, description="period after which the sounds repeat; 0: once")
    noise: float = Field(0.003, ge=0, le=1, description="rms of the room")
    seed: int = Field(0, ge=0, description="the same seed gives the same room and the same voices")
    pace: Literal["real", "fast"] = Field("real", description="fast: one block per read, on a simulated clock")
    dead_ms: float = Field(
        2000.0, ge=0, le=3_600_000, description="digital silence that counts as a fault; 0: none does"
    )
    faults: tuple[AudioFault, ...] = Field((), description="faults on a schedule")

    @model_validator(mode="after")
    def _check_period(self) -> Options:
        if self.every_s and any(sound.at_s + sound.for_s > self.every_s for sound in self.sounds):
            raise ValueError(f"every_s {self.every_s:g} is before the end of the last sound")
        return self


class Driver(Microphone):
    """Sounds and faults count from the first open and continue while the microphone is closed."""

    options: Options

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.faults = Faults(options.faults, name, "microphone")
        self.dead_check = DeadCheck(f"{name}: the simulated microphone", options.rate_hz, options.dead_ms)
        self.room: Array = np.zeros(0, np.float32)
        self.sounds: list[tuple[int, Array]] = []  # number of its first value since the first open, samples
        self.period = round(options.every_s * options.rate_hz)
        self.values = np.zeros(int(LATE_S * options.rate_hz), np.float32)
        self.due = 0

    def open(self) -> None:
        if not len(self.room):  # synthesis takes time: before the clock starts
            self._compose()
        self.due = max(time.monotonic_ns(), self.due)
        self.faults.start(self.due)
        self.faults.require_plugged(self.due)
        self.random = np.random.default_rng(self.options.seed)
        self.blocks = Blocks(self.options, self.options.pace == "fast", self.due)
        self.before = (self.due - self.faults.start_ns) * self.options.rate_hz // 1_000_000_000
        self.t_delivered = self.due
        self.last: Sample | None = None

    def read(self, wait_s: float) -> Sample | None:
        count = self.blocks.wait(wait_s)
        if not count:
            return None
        self.blocks.delivered += count
        stamp = self.due = self.blocks.time(self.blocks.delivered)
        active = self.faults.require_plugged(stamp)
        if "freeze" in active:
            self._check_timeout(stamp)
            return None
        self.t_delivered = stamp
        stamp += int((active["clock_jump"] or CLOCK_JUMP_MS) * 1e6) if "clock_jump" in active else 0
        if "repeat" in active and self.last:
            return self.last._replace(t_capture=stamp)
        payload = self.values[: min(count, len(self.values))]
        self._mix(self.before + self.blocks.delivered - len(payload), payload)
        if "noise" in active:
            payload += (active["noise"] or NOISE) * self.random.standard_normal(len(payload), np.float32)
        if "silence" in active:
            payload[:] = 0
        np.clip(payload, -1, 1, out=payload)
        self.dead_check.check(payload)
        self.last = Sample(self.name, self.blocks.delivered - 1, stamp, payload)
        return self.last

    def close(self) -> None:
        self.last = None

    def _compose(self) -> None:
        o = self.options
        self.room = np.float32(o.noise) * room(o.rate_hz, ROOM_S, o.seed)
        for number, sound in enumerate(o.sounds):
            wave = np.float32(sound.level) * make(sound.kind, o.rate_hz, sound.for_s, o.seed + number)
            self.sounds.append((round(sound.at_s * o.rate_hz), wave))

    def _mix(self, first: int, out: Array) -> None:
        """Writes room and sounds into `out`; first: number of its first value since the first open."""
        filled = 0
        while filled < len(out):
            piece = self.room[(first + filled) % len(self.room) :][: len(out) - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
        for offset, wave in self.sounds:
            for start in self._starts(offset, first, len(out)):
                low, high = max(start, first), min(start + len(wave), first + len(out))
                if low < high:
                    out[low - first : high - first] += wave[low - start : high - start]

    def _starts(self, offset: int, first: int, count: int) -> Iterator[int]:
        """Where a sound starts that may overlap the `count` values from `first`: once, or every period."""
        if not self.period:
            yield offset
            return
        for lap in range(max(0, (first - offset) // self.period), (first + count - offset) // self.period + 1):
            yield offset + lap * self.period

    def _check_timeout(self, now: int) -> None:
        """While frozen the clock of the microphone continues: the values of that time are lost."""
        if now - self.t_delivered > self.options.timeout_ms * 1e6:
            self.t_delivered = now
            raise DeviceTimeout(f"{self.name}: no sound for {self.options.timeout_ms:g} ms")
