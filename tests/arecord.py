"""A stand-in for `arecord` without a sound card: the same arguments and messages, 16 bit values on stdout.

Its sound is a counter: value i is i % 30011, so that a test detects losses. The device's name selects its behaviour,
see `_act`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pytest import MonkeyPatch

PRIME = 30_011
LOST = 4_800  # values that an overrun costs, at least
AFTER = 3_200  # values before the behaviour starts

REFUSALS = {
    "busy": "arecord: main:850: audio open error: Device or resource busy",
    "denied": "arecord: main:850: audio open error: Permission denied",
    "absent": "ALSA lib pcm.c:2721:(snd_pcm_open_noupdate) Unknown PCM absent\n"
    "arecord: main:850: audio open error: No such file or directory",
    "stereo": "arecord: set_params:1358: Channels count non available",
    "strange": "arecord: set_params:1499: something new",
    "silent": "",
}


def install(folder: Path, monkeypatch: MonkeyPatch) -> Path:
    """Installs the stand-in first in PATH."""
    program = folder / "bin/arecord"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--device", "-D", default="default")
    parser.add_argument("-t", choices=["raw"], required=True)
    parser.add_argument("-f", choices=["S16_LE"], required=True)
    parser.add_argument("-c", type=int, choices=[1], required=True)
    parser.add_argument("-r", type=int, required=True)
    parser.add_argument("--period-time", type=int, required=True)
    parser.add_argument("--buffer-time", type=int, required=True)
    options = parser.parse_args()
    if options.device in REFUSALS:
        sys.exit(REFUSALS[options.device])
    _say(f"Recording raw data 'stdin' : Signed 16 bit Little Endian, Rate {options.r} Hz, Mono")
    if options.device == "hw:fast":
        _say(f"Warning: rate is not accurate (requested = {options.r}Hz, got = 48000Hz)")
        _say("         please, try the plug plugin ")
    if options.device == "hung":
        signal.pause()
    _stream(options.device, options.r, options.period_time, options.buffer_time)


def _say(text: str) -> None:
    os.write(2, text.encode() + b"\n")


def _stream(device: str, rate: int, period_us: int, buffer_us: int) -> None:
    """The card does not wait for this program; values beyond the size of its ring buffer are lost."""
    period, ring = rate * period_us // 1_000_000, rate * buffer_us // 1_000_000
    start, at, done = time.monotonic(), 0, False
    while True:
        if not done and at >= AFTER:
            at, done = _act(device, at, rate), True
        ahead = start + (at + period) / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        elif -ahead * rate > ring:
            lost = int(-ahead * rate)
            _say(f"overrun!!! (at least {1000 * lost / rate:.3f} ms long)")
            at += lost
        _send(device, _sound(device, at, period))
        at += period


def _act(device: str, at: int, rate: int) -> int:
    """The behaviour of the device, once, after AFTER values; the number at which its sound continues."""
    if device == "gone":
        sys.exit("arecord: pcm_read:2221: read error: No such device")
    if device == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if device == "overrun":
        time.sleep(LOST / rate)
        _say(f"overrun!!! (at least {1000 * LOST / rate:.3f} ms long)")
    if device == "stalled":
        signal.pause()
    return at + (LOST if device == "overrun" else 4 * LOST if device == "leaky" else 0)


def _sound(device: str, at: int, count: int) -> bytes:
    if device.startswith("mute:") and not Path(device.removeprefix("mute:")).exists():
        return bytes(2 * count)
    return ((at + np.arange(count)) % PRIME).astype("<i2").tobytes()


def _send(device: str, raw: bytes) -> None:
    """odd: in pieces that split values in two."""
    pieces = [raw[:101], raw[101:]] if device == "odd" else [raw]
    for piece in pieces:
        while piece:
            piece = piece[os.write(1, piece) :]


if __name__ == "__main__":
    main()
