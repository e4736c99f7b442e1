"""A microphone at an ALSA sound card, read by the program `arecord`: a card that hangs must not block the lane."""

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
from agent.isolated import sacrifice
from drivers.audio._values import Arrivals, AudioOptions, DeadCheck
from drivers.base import DeviceError, DeviceFault, DeviceMissing, DeviceTimeout, Microphone

BUFFER_SIZE = 1 << 17  # bytes: twice the size of a pipe, so that one read empties it
MAX_READS = 16  # a program faster than this reader must not keep it from returning
STDERR_TAIL = 2000  # bytes that are kept of arecord's messages
OVERRUN = b"overrun!!!"
LATE_MS = 100.0  # delay of arecord by the scheduler that loses no values
# Messages of arecord when it fails, and their meaning.
BUSY = "busy, another program has it open (PipeWire, PulseAudio?): fuser -v /dev/snd/* names it"
DENIED = "no permission: add the service's user to the group audio"
ABSENT = "is not there (plugged in?): 'arecord -L' lists the names"
UNABLE = "provides no 16 bit sound in one channel at this rate: 'plughw:' instead of 'hw:' converts"
REASONS = [
    ("resource busy", DeviceMissing, BUSY),
    ("Permission denied", DeviceMissing, DENIED),
    ("non available|not available|unable to install hw params", DeviceFault, UNABLE),
    ("No such file or directory|No such device|Unknown PCM|cannot find card|Invalid card", DeviceMissing, ABSENT),
]


class Options(AudioOptions):
    """The sound card and its limits."""

    device: str = Field("default", pattern=r"^[^-\s]\S{0,199}$", description="a name of `arecord -L`; plughw: converts")
    buffer_ms: float = Field(
        500.0, ge=50, le=10_000, description="the card's ring buffer: arecord may be this late without losing values"
    )
    start_ms: float = Field(5000.0, gt=0, le=60_000, description="time limit for the first values")
    dead_ms: float = Field(
        2000.0, ge=0, le=3_600_000, description="digital silence that counts as a fault; 0: none does"
    )


class Driver(Microphone):
    """t_capture: arrivals are smoothed (`Arrivals`), so the time spent in the pipe is not included.

    What remains is the card's own delay, one millisecond of its converter and half a block of `block_ms` on average;
    ALSA knows it (snd_pcm_status), arecord does not report it.
    """

    options: Options
    child: subprocess.Popen[bytes] | None = None

    def __init__(self, options: Options, name: str = "") -> None:
        super().__init__(options, name)
        self.rate_hz = options.rate_hz
        self.dead_check = DeadCheck(options.device, options.rate_hz, options.dead_ms)
        self.raw = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.raw)
        self.whole = np.frombuffer(self.raw, "<i2")
        self.values = np.zeros(BUFFER_SIZE // 2, np.float32)
        # this many values may still be in the card's ring buffer; what is missing beyond that is lost
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
        self.stdout, self.stderr = self.child.stdout.fileno(), self.child.stderr.fileno()
        self.ready = select.poll()
        for pipe in (self.stdout, self.stderr):
            os.set_blocking(pipe, False)
            self.ready.register(pipe, select.POLLIN)
        self.stderr_tail, self.overrun, self.count, self.leftover = b"", False, 0, 0
        self.arrivals: Arrivals | None = None
        try:
            self._await_sound()
        except DeviceError:
            self.close()
            raise
        self.t_received = time.monotonic_ns()

    def read(self, wait_s: float) -> Sample | None:
        assert self.child is not None, "read before open"
        timeout = self.t_received + int(self.options.timeout_ms * 1e6)
        until = min(time.monotonic_ns() + int(wait_s * 1e9), timeout)
        while True:
            sample = self._sample()
            if sample:
                return sample
            now = time.monotonic_ns()
            if now >= timeout:
                limit = f"{self.options.timeout_ms:g} ms"
                raise DeviceTimeout(f"{self.options.device}: no sound for {limit}{self._last_message()}")
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
        # do not wait for a child that hangs in the kernel, on a broken USB bus
        with suppress(subprocess.TimeoutExpired):
            child.wait(1.0)

    def _spawn(self, program: str) -> subprocess.Popen[bytes]:
        o = self.options
        # without -q: arecord reports then when the card runs at another rate
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
        sacrifice(child.pid)
        with suppress(OSError):  # the child would inherit the lane's core, which may be reserved
            os.sched_setaffinity(child.pid, os.sched_getaffinity(os.getpid()))
        return child

    def _await_sound(self) -> None:
        end = time.monotonic_ns() + int(self.options.start_ms * 1e6)
        while True:
            left = end - time.monotonic_ns()
            if left <= 0:
                limit = f"{self.options.start_ms:g} ms"
                raise DeviceTimeout(f"{self.options.device}: no sound within {limit}{self._last_message()}")
            events = dict(self.ready.poll(left / 1e6))
            self._read_stderr()
            if events.get(self.stdout, 0) & select.POLLIN:
                return
            if self.stdout in events:
                raise self._exit_error()

    def _sample(self) -> Sample | None:
        """The values in the pipe. Raises DeviceError."""
        size = self._drain()
        if self._read_stderr():
            self._discard(size)
            self._discard(self._drain())
            self.overrun = True
            return None
        count = size // 2
        if not count:
            return None
        payload = np.multiply(self.whole[:count], np.float32(1 / 32768), out=self.values[:count])
        self._keep_odd(size)
        self.t_received = time.monotonic_ns()
        self.count += count
        if self.arrivals is None:
            self.arrivals = Arrivals(self.options.rate_hz, self.t_received, self.count)
        missing = self.arrivals.due(self.t_received) - self.count
        if self.overrun or missing > self.slack:
            self.count += max(1, missing)
            self.overrun = False
        self.dead_check.check(payload)
        return Sample(self.name, self.count - 1, self.arrivals.stamp(self.t_received, self.count), payload)

    def _discard(self, size: int) -> None:
        """Values that were in the pipe at an overrun are from before and after it: they count as lost."""
        self.count += size // 2
        self._keep_odd(size)

    def _drain(self) -> int:
        """Reads all available bytes into the start of `raw`; their number."""
        size = self.leftover
        for _ in range(MAX_READS):
            try:
                more = os.readv(self.stdout, [self.view[size:]])
            except BlockingIOError:
                break
            if not more:
                if size >= 2:
                    break  # the last values are still valid; the next read reports the exit
                raise self._exit_error()
            size += more
            if size == BUFFER_SIZE:
                break
        return size

    def _keep_odd(self, size: int) -> None:
        """A pipe may split a value in two: its first byte is kept for the next read."""
        self.leftover = size % 2
        if self.leftover:
            self.raw[0] = self.raw[size - 1]

    def _read_stderr(self) -> int:
        """The number of overruns reported since the last call. Raises DeviceFault for a card at another rate."""
        try:
            messages = os.read(self.stderr, STDERR_TAIL)
        except BlockingIOError:
            return 0
        if not messages:
            with suppress(KeyError):  # at its end a pipe is always ready
                self.ready.unregister(self.stderr)
        messages = self.stderr_tail + messages
        self.stderr_tail = messages[-STDERR_TAIL:].rpartition(OVERRUN)[2]
        rate = re.search(rb"rate is not accurate \(requested = \d+Hz, got = (\d+)Hz", messages)
        if rate:
            raise DeviceFault(
                f"{self.options.device}: runs at {int(rate[1])} Hz, not {self.options.rate_hz}: "
                "'plughw:' instead of 'hw:' converts"
            )
        return messages.count(OVERRUN)

    def _exit_error(self) -> DeviceError:
        """The reason why arecord exited."""
        assert self.child is not None
        device, status = self.options.device, None
        with suppress(subprocess.TimeoutExpired):
            status = self.child.wait(1.0)
        with suppress(DeviceFault):
            self._read_stderr()
        if status is not None and status < 0:
            return DeviceMissing(f"{device}: arecord was killed by {signal.Signals(-status).name}")
        text = self.stderr_tail.decode("utf-8", "replace")
        if self.arrivals is not None:
            return DeviceMissing(f"{device}: gone, unplugged?{self._last_message()}")
        for pattern, kind, meaning in REASONS:
            if re.search(pattern, text):
                return kind(f"{device}: {meaning}")
        return DeviceFault(f"{device}: arecord ended with status {status}{self._last_message()}")

    def _last_message(self) -> str:
        lines = [line for line in self.stderr_tail.decode("utf-8", "replace").split("\n") if line.strip()]
        return f" (arecord: '{''.join(c for c in lines[-1] if c.isprintable())[:160]}')" if lines else ""
