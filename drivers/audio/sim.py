"""A simulated microphone: a room's noise, sounds at given times, faults on a schedule."""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from agent.data import Array, Sample
from drivers.audio._sounds import make, room
from drivers.audio._values import AudioOptions, Blocks, Pulse
from drivers.base import DeviceTimeout, DriverOptions, Microphone
from drivers.faults import Fault, Faults

CLOCK_JUMP_MS = 100.0
NOISE = 0.1
ROOM_S = 8.0  # after which the room's noise repeats
LATE_S = 2.0  # older values than this are lost to a late reader, as with a card


class SoundAt(DriverOptions):
    kind: Literal["scream", "groan", "glass", "speech"]
    at_s: float = Field(ge=0, le=86_400, description="seconds after the first open")
    for_s: float = Field(1.5, ge=0.1, le=30)
    level: float = Field(0.5, gt=0, le=1, description="its loudest value")


class AudioFault(Fault):
    """clock_jump: amount in ms, 0 is 100. noise: rms on top, 0 is 0.1. silence: nothing but zeros, as from a dead one."""

    kind: Literal["unplug", "freeze", "repeat", "clock_jump", "noise", "silence"]


class Options(AudioOptions):
    sounds: tuple[SoundAt, ...] = Field((), max_length=64)
    every_s: float = Field(0.0, ge=0, le=86_400, description="the sounds come again after so long; 0: once")
    noise: float = Field(0.003, ge=0, le=1, description="rms of the room")
    seed: int = Field(0, ge=0, description="the same seed makes the same room and the same voices")
    pace: Literal["real", "fast"] = Field("real", description="fast: a block whenever asked, on a clock of its own")
    dead_ms: float = Field(
        2000.0, ge=0, le=3_600_000, description="digital silence that counts as a fault; 0: none does"
    )
    faults: tuple[AudioFault, ...] = Field((), description="troubles on a schedule")

    @model_validator(mode="after")
    def over_before_they_come_again(self) -> Options:
        if self.every_s and any(sound.at_s + sound.for_s > self.every_s for sound in self.sounds):
            raise ValueError(f"every_s {self.every_s:g} is before the last sound is over")
        return self


class Driver(Microphone):
    options: Options

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.faults = Faults(options.faults, name, "microphone")
        self.pulse = Pulse(f"{name}: the simulated microphone", options.rate_hz, options.dead_ms)
        self.room: Array = np.zeros(0, np.float32)
        self.sounds: list[tuple[int, Array]] = []  # first value, counted from the first open
        self.period = round(options.every_s * options.rate_hz)
        self.values = np.zeros(int(LATE_S * options.rate_hz), np.float32)
        self.due = 0

    def open(self) -> None:
        if not len(self.room):  # before the clock starts: making sounds takes a while
            self._compose()
        self.due = max(time.monotonic_ns(), self.due)
        self.faults.start(self.due)
        self.faults.require_plugged(self.due)
        self.random = np.random.default_rng(self.options.seed)
        self.blocks = Blocks(self.options, self.options.pace == "fast", self.due)
        self.before = (self.due - self.faults.start_ns) * self.options.rate_hz // 1_000_000_000
        self.heard = self.due
        self.last: Sample | None = None

    def read(self, wait_s: float) -> Sample | None:
        count = self.blocks.wait(wait_s)
        if not count:
            return None
        self.blocks.done += count
        stamp = self.due = self.blocks.time(self.blocks.done)
        on = self.faults.require_plugged(stamp)
        if "freeze" in on:
            self._silence(stamp)
            return None
        self.heard = stamp
        stamp += int((on["clock_jump"] or CLOCK_JUMP_MS) * 1e6) if "clock_jump" in on else 0
        if "repeat" in on and self.last:
            return self.last._replace(t_capture=stamp)
        payload = self.values[: min(count, len(self.values))]
        self._mix(self.before + self.blocks.done - len(payload), payload)
        if "noise" in on:
            payload += (on["noise"] or NOISE) * self.random.standard_normal(len(payload), np.float32)
        if "silence" in on:
            payload[:] = 0
        np.clip(payload, -1, 1, out=payload)
        self.pulse.feel(payload)
        self.last = Sample(self.name, self.blocks.done - 1, stamp, payload)
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
        """What there is to hear from the first-th value on, counted from the first open."""
        done = 0
        while done < len(out):
            piece = self.room[(first + done) % len(self.room) :][: len(out) - done]
            out[done : done + len(piece)] = piece
            done += len(piece)
        for start, wave in self.sounds:
            laps = (
                range((first - start) // self.period, (first + len(out) - start) // self.period + 1)
                if self.period
                else (0,)
            )
            for lap in laps:
                begin = start + max(lap, 0) * self.period
                low, high = max(begin, first), min(begin + len(wave), first + len(out))
                if low < high and lap >= 0:
                    out[low - first : high - first] += wave[low - begin : high - begin]

    def _silence(self, now: int) -> None:
        """Its clock goes on and nobody hears of it: those values are lost."""
        if now - self.heard > self.options.timeout_ms * 1e6:
            self.heard = now
            raise DeviceTimeout(f"{self.name}: no sound for {self.options.timeout_ms:g} ms")
