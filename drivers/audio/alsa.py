"""A microphone at an ALSA sound card, through the program `arecord`: a card that hangs must not hang the lane."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
from pydantic import Field

from agent.data import Sample
from drivers.audio._values import Arrivals, AudioOptions, Pulse
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, Microphone

ROOM = 1 << 17  # bytes: twice what a pipe holds, so that one read empties it
ROUNDS = 16  # a program faster than this reader must not keep it from returning
SAID = 2000  # bytes of what arecord said last
OVERRUN = b"overrun!!!"
LATE_MS = 100.0  # that the scheduler may keep arecord from its card without anything being lost

# What arecord says when it gives up, and what that means.
BUSY = "busy, another program has it open (PipeWire, PulseAudio?): fuser -v /dev/snd/* names it"
DENIED = "no permission: add the service's user to the group audio"
ABSENT = "no such sound device: plugged in? 'arecord -L' lists the names"
UNABLE = "gives no 16 bit sound in one channel at this rate: 'plughw:' instead of 'hw:' converts"
REASONS = [
    ("resource busy", DeviceMissing, BUSY),
    ("Permission denied", DeviceMissing, DENIED),
    ("non available|not available|unable to install hw params", DeviceFault, UNABLE),
    ("No such file or directory|No such device|Unknown PCM|cannot find card|Invalid card", DeviceMissing, ABSENT),
]


class Options(AudioOptions):
    device: str = Field("default", pattern=r"^[^-\s]\S{0,199}$", description="a name of `arecord -L`; plughw: converts")
    buffer_ms: float = Field(
        500.0, ge=50, le=10_000, description="the card's ring: so late may arecord be without losing values"
    )
    start_ms: float = Field(5000.0, gt=0, le=60_000, description="for the first values to come")
    dead_ms: float = Field(
        2000.0, ge=0, le=3_600_000, description="digital silence that counts as a fault; 0: none does"
    )


class Driver(Microphone):
    """t_capture: arrivals are smoothed (`Arrivals`), so what lay in the pipe is stamped as if it had come at once.

    What is left is the card's own delay, its converter's millisecond and half a block of `block_ms` on average; ALSA knows it
    (snd_pcm_status), arecord does not tell.
    """

    options: Options
    child: subprocess.Popen[bytes] | None = None

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.pulse = Pulse(options.device, options.rate_hz, options.dead_ms)
        self.raw = bytearray(ROOM)
        self.view = memoryview(self.raw)
        self.whole = np.frombuffer(self.raw, "<i2")
        self.values = np.zeros(ROOM // 2, np.float32)
        # so much may still lie in the card's ring; what is missing beyond that is lost
        self.slack = int((options.buffer_ms + 2 * options.block_ms + LATE_MS) * options.rate_hz / 1000)

    def open(self) -> None:
        self.close()
        program = shutil.which("arecord")
        if not program:
            raise DeviceMissing("arecord is not installed: apt-get install alsa-utils")
        try:
            self.child = self._spawn(program)
        except OSError as error:
            raise DeviceMissing(f"{program}: does not start: {error.strerror}") from error
        assert self.child.stdout and self.child.stderr
        self.sound, self.words = self.child.stdout.fileno(), self.child.stderr.fileno()
        self.ready = select.poll()
        for pipe in (self.sound, self.words):
            os.set_blocking(pipe, False)
            self.ready.register(pipe, select.POLLIN)
        self.said, self.torn, self.count, self.held = b"", False, 0, 0
        self.arrivals: Arrivals | None = None
        try:
            self._await_sound()
        except DeviceError:
            self.close()
            raise
        self.heard = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        assert self.child is not None, "read before open"
        silent = self.heard + int(self.options.timeout_ms * 1e6)
        until = min(time.monotonic_ns() + int(wait_s * 1e9), silent)
        while True:
            sample = self._sample()
            if sample:
                return sample
            now = time.monotonic_ns()
            if now >= silent:
                raise DeviceTimeout(
                    f"{self.options.device}: no sound for {self.options.timeout_ms:g} ms{self._quoted()}"
                )
            if now >= until:
                return None
            self.ready.poll((until - now) / 1e6)

    def close(self) -> None:
        child, self.child = self.child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()
        # one that hangs in the kernel, on a broken USB bus, is not waited for
        with suppress(subprocess.TimeoutExpired):
            child.wait(1.0)

    def _spawn(self, program: str) -> subprocess.Popen[bytes]:
        o = self.options
        # without -q: a quiet arecord would not say that the card runs at another rate
        command = [program, f"--device={o.device}", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(o.rate_hz)]
        command += [f"--period-time={o.block_ms * 1000:.0f}", f"--buffer-time={o.buffer_ms * 1000:.0f}"]
        child = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        with suppress(OSError):  # the lane's core, which the child would inherit, may be reserved
            os.sched_setaffinity(child.pid, os.sched_getaffinity(os.getpid()))
        return child

    def _await_sound(self) -> None:
        end = time.monotonic_ns() + int(self.options.start_ms * 1e6)
        while True:
            left = end - time.monotonic_ns()
            if left <= 0:
                raise DeviceTimeout(
                    f"{self.options.device}: no sound within {self.options.start_ms:g} ms{self._quoted()}"
                )
            events = dict(self.ready.poll(left / 1e6))
            self._listen()
            if events.get(self.sound, 0) & select.POLLIN:
                return
            if self.sound in events:
                raise self._ended()

    def _sample(self) -> Sample | None:
        """What is in the pipe. Raises DeviceError."""
        size = self._drain()
        if self._listen():
            # What the pipe held when the overrun was told lies on either side of it: lost, too.
            self.count += size // 2
            self._keep_odd(size)
            size = self._drain()
            self.count += size // 2
            self._keep_odd(size)
            self.torn = True
            return None
        count = size // 2
        if not count:
            return None
        payload = np.multiply(self.whole[:count], np.float32(1 / 32768), out=self.values[:count])
        self._keep_odd(size)
        self.heard = time.monotonic_ns()
        self.count += count
        if self.arrivals is None:
            self.arrivals = Arrivals(self.options.rate_hz, self.heard, self.count)
        missing = self.arrivals.due(self.heard) - self.count
        if self.torn or missing > self.slack:
            self.count += max(1, missing)
            self.torn = False
        self.pulse.feel(payload)
        return Sample(self.name, self.count - 1, self.arrivals.stamp(self.heard, self.count), payload)

    def _drain(self) -> int:
        """All there is, into `raw` from its beginning; how many bytes."""
        size = self.held
        for _ in range(ROUNDS):
            try:
                more = os.readv(self.sound, [self.view[size:]])
            except BlockingIOError:
                break
            if not more:
                if size >= 2:
                    break  # what it heard last still counts; the next read finds it gone
                raise self._ended()
            size += more
            if size == ROOM:
                break
        return size

    def _keep_odd(self, size: int) -> None:
        """A pipe may cut a value in two: its first byte waits for the other."""
        self.held = size % 2
        if self.held:
            self.raw[0] = self.raw[size - 1]

    def _listen(self) -> int:
        """How many overruns arecord has told since the last time. Raises DeviceFault when the card runs at another rate."""
        try:
            words = os.read(self.words, SAID)
        except BlockingIOError:
            return 0
        if not words:
            with suppress(KeyError):  # at its end a pipe is always ready
                self.ready.unregister(self.words)
        told = self.said + words
        self.said = told[-SAID:].rpartition(OVERRUN)[2]
        rate = re.search(rb"rate is not accurate \(requested = \d+Hz, got = (\d+)Hz", told)
        if rate:
            raise DeviceFault(
                f"{self.options.device}: runs at {int(rate[1])} Hz, not {self.options.rate_hz}: 'plughw:' for 'hw:' converts"
            )
        return told.count(OVERRUN)

    def _ended(self) -> DeviceError:
        """Why arecord is gone."""
        assert self.child is not None
        device, status = self.options.device, None
        with suppress(subprocess.TimeoutExpired):
            status = self.child.wait(1.0)
        with suppress(DeviceFault):
            self._listen()
        if status is not None and status < 0:
            return DeviceMissing(f"{device}: arecord was ended by {signal.Signals(-status).name}")
        text = self.said.decode("utf-8", "replace")
        if self.arrivals is not None:
            return DeviceMissing(f"{device}: gone, unplugged?{self._quoted()}")
        for pattern, kind, meaning in REASONS:
            if re.search(pattern, text):
                return kind(f"{device}: {meaning}")
        return DeviceFault(f"{device}: arecord ended with status {status}{self._quoted()}")

    def _quoted(self) -> str:
        lines = [line for line in self.said.decode("utf-8", "replace").split("\n") if line.strip()]
        return f" (arecord: '{''.join(c for c in lines[-1] if c.isprintable())[:160]}')" if lines else ""
