"""A file that drawn frames go into: a clip at the pace of the frames' own times, or one still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import click
import cv2

from agent.data import Array
from agent.view.drawing import Moment

GAP_S = 10.0  # a longer hole in a recording is not stood through


class Kind(NamedTuple):
    """code: FOURCC for OpenCV's FFmpeg, whose wheels carry no H.264 encoder. plays: where."""

    code: str
    plays: str


KINDS = {
    ".mp4": Kind("mp4v", "MPEG-4 part 2: for VLC and mpv; browsers want .webm"),
    ".webm": Kind("VP80", "VP8: for browsers, VLC and mpv"),
    ".png": Kind("", "PNG"),
}


class Footage:
    """Use as a context: what was taken until then is whole and on disk when it ends, also by an error."""

    def __init__(self, out: Path, source: str | None) -> None:
        """Raises ClickException when `out` cannot become such a file, or is the source itself."""
        self.out = out
        if out.suffix.lower() not in KINDS:
            raise click.ClickException(f"{out}: a clip is written to .mp4 or .webm, a still to .png")
        if source and out.exists() and os.path.exists(source) and out.samefile(source):
            raise click.ClickException(f"{out} is the source itself: write to another file")
        if out.is_dir() or not out.parent.is_dir():
            raise click.ClickException(f"{out}: {'is a folder' if out.is_dir() else 'its folder does not exist'}")
        if not os.access(out if out.exists() else out.parent, os.W_OK):
            raise click.ClickException(f"{out}: may not be written by this user")
        self.kind = KINDS[out.suffix.lower()]
        self.still = not self.kind.code
        self.pictures = 0
        self.writer: cv2.VideoWriter | None = None
        self.picture: Array | None = None  # the newest of a clip, the best of stills
        self.best = (False, -1.0)
        self.rate_hz, self.start_s = 30.0, 0.0

    @property
    def told(self) -> str:
        what = "1 picture" if self.still else f"{self.pictures} pictures, {self.pictures / self.rate_hz:.1f} s"
        return f"{self.out}: {what} ({self.kind.plays})"

    def take(self, picture: Array, moment: Moment, rate_hz: float) -> None:
        """picture: uint8 bgr, all of one size with even sides. rate_hz: of the frames that are taken, where known."""
        if self.still:
            self.keep(picture, moment)
        else:
            self._film(picture, moment.time_s, rate_hz)

    def keep(self, picture: Array, moment: Moment) -> None:
        """The one in which most is certain; one in which a rule is in force before any other."""
        surest = max((one.score for one in [*moment.evidence, *moment.later]), default=0.0)
        worth = any(one.rule for one in moment.standing), surest if moment.looked else 0.0
        if worth > self.best:
            self.best, self.picture, self.pictures = worth, picture, 1

    def _film(self, picture: Array, time_s: float, rate_hz: float) -> None:
        if self.writer is None or self.picture is None:
            self.rate_hz, self.start_s, self.picture = rate_hz or self.rate_hz, time_s, picture
            self.writer = self.opened(picture.shape[1], picture.shape[0])
        if picture.shape != self.picture.shape:  # a camera gone wrong; a clip has one size
            picture = cv2.resize(picture, (self.picture.shape[1], self.picture.shape[0]))
        # A file has one rate, too. Where the source left frames out, the one before stands as long.
        late = round((time_s - self.start_s) * self.rate_hz) - self.pictures
        shown = [self.picture] * min(late, round(GAP_S * self.rate_hz)) + [picture]
        with _silence():  # a full disk would be remarked on with every frame
            for one in shown:
                self.writer.write(one)
        self.pictures += len(shown)
        self.picture = picture

    def opened(self, width: int, height: int) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*self.kind.code)
        with _silence():
            writer = cv2.VideoWriter(str(self.out), cv2.CAP_FFMPEG, code, self.rate_hz, (width, height))
        if not writer.isOpened():
            what = f"a clip of {width}x{height} cannot be begun"
            raise click.ClickException(f"{self.out}: {what}: a full disk, or an OpenCV without {self.kind.code}")
        return writer

    def __enter__(self) -> Footage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer:
            self.writer.release()
            if not _ends_with(self.out, self.pictures):  # the encoder says nothing of a full disk
                raise click.ClickException(f"{self.out}: could not be written to its end: is the disk full?") from error
        elif self.still and self.picture is not None:
            self.out.write_bytes(cv2.imencode(".png", self.picture)[1].tobytes())
        elif kind is None:
            raise click.ClickException(f"{self.out}: not written: no frame between --start and the end")


def _ends_with(clip: Path, number: int) -> bool:
    """Picture `number`, counted from 1, is there and decodes."""
    with _silence():
        capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
        capture.set(cv2.CAP_PROP_POS_FRAMES, number - 1)
        return bool(capture.grab() and capture.get(cv2.CAP_PROP_POS_FRAMES) >= number - 1)


@contextmanager
def _silence() -> Iterator[None]:
    """FFmpeg's own words on standard error: it remarks on container tags and codecs, and what matters shows otherwise."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
