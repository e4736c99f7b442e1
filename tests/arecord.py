"""Stands in for `arecord` where there is no sound card: the same arguments, the same words on stderr, 16 bit values on stdout.

Its sound counts: value i is i % 30011, so that a test sees what was lost. The device's name says what it does, see `act`.
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
LOST = 4_800  # values that an overrun costs, unless it was a longer one
AFTER = 3_200  # values before something happens

REFUSALS = {
    "busy": "arecord: main:850: audio open error: Device or resource busy",
    "denied": "arecord: main:850: audio open error: Permission denied",
    "absent": "ALSA lib pcm.c:2721:(snd_pcm_open_noupdate) Unknown PCM absent\n"
    "arecord: main:850: audio open error: No such file or directory",
    "stereo": "arecord: set_params:1358: Channels count non available",
    "strange": "arecord: set_params:1499: something new",
    "wordless": "",
}


def install(folder: Path, monkeypatch: MonkeyPatch) -> Path:
    """First in PATH."""
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
    asked = parser.parse_args()
    if asked.device in REFUSALS:
        sys.exit(REFUSALS[asked.device])
    say(f"Recording raw data 'stdin' : Signed 16 bit Little Endian, Rate {asked.r} Hz, Mono")
    if asked.device == "hw:fast":
        say(
            f"Warning: rate is not accurate (requested = {asked.r}Hz, got = 48000Hz)\n         please, try the plug plugin "
        )
    if asked.device == "hung":
        signal.pause()
    stream(asked.device, asked.r, asked.period_time, asked.buffer_time)


def say(text: str) -> None:
    os.write(2, text.encode() + b"\n")


def stream(device: str, rate: int, period_us: int, buffer_us: int) -> None:
    """The card goes on however late we are; what its ring cannot hold is lost."""
    period, ring = rate * period_us // 1_000_000, rate * buffer_us // 1_000_000
    begin, at, done = time.monotonic(), 0, False
    while True:
        if not done and at >= AFTER:
            at, done = act(device, at, rate), True
        ahead = begin + (at + period) / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        elif -ahead * rate > ring:
            lost = int(-ahead * rate)
            say(f"overrun!!! (at least {1000 * lost / rate:.3f} ms long)")
            at += lost
        send(device, sound(device, at, period))
        at += period


def act(device: str, at: int, rate: int) -> int:
    """What happens once after some values; where the sound goes on."""
    if device == "gone":
        sys.exit("arecord: pcm_read:2221: read error: No such device")
    if device == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if device == "overrun":
        time.sleep(LOST / rate)
        say(f"overrun!!! (at least {1000 * LOST / rate:.3f} ms long)")
    if device == "stalled":
        signal.pause()
    return at + (LOST if device == "overrun" else 4 * LOST if device == "leaky" else 0)


def sound(device: str, at: int, count: int) -> bytes:
    if device.startswith("mute:") and not Path(device.removeprefix("mute:")).exists():
        return bytes(2 * count)
    return ((at + np.arange(count)) % PRIME).astype("<i2").tobytes()


def send(device: str, raw: bytes) -> None:
    """odd: in pieces that cut values in two."""
    pieces = [raw[:101], raw[101:]] if device == "odd" else [raw]
    for piece in pieces:
        while piece:
            piece = piece[os.write(1, piece) :]


if __name__ == "__main__":
    main()
