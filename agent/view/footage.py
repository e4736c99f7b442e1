"""A file for drawn frames: a clip at the pace of the frames' own times, or a still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import click
import cv2

from agent.box import private
from agent.data import Array
from agent.view.drawing import FrameView
from drivers.camera._names import readable

MAX_GAP_S = 10.0  # of a longer gap in a recording, only this much is filled with the frame before it


class FileKind(NamedTuple):
    """codec: FOURCC for OpenCV's FFmpeg, whose wheels carry no H.264 encoder. plays: where."""

    codec: str
    plays: str


KINDS = {
    ".mp4": FileKind("mp4v", "MPEG-4 part 2: for VLC and mpv; browsers want .webm"),
    ".webm": FileKind("VP80", "VP8: for browsers, VLC and mpv"),
    ".png": FileKind("", "PNG"),
}


class Footage:
    """Use as a context: what was added is complete and on disk when the context ends, also by an error."""

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
        self.still = not self.kind.codec
        if not self.still and readable(out) != str(out):  # OpenCV would crash
            raise click.ClickException(f"{readable(out)}: a clip needs a name in UTF-8")
        self.pictures = 0
        self._writer: cv2.VideoWriter | None = None
        self._picture: Array | None = None  # the newest of a clip, the best of stills
        self._best = (False, -1.0)
        self._rate_hz, self._start_s = 30.0, 0.0

    @property
    def summary(self) -> str:
        content = "1 picture" if self.still else f"{self.pictures} pictures, {self.pictures / self._rate_hz:.1f} s"
        return f"{readable(self.out)}: {content} ({self.kind.plays})"

    def add(self, picture: Array, view: FrameView, rate_hz: float) -> None:
        """picture: uint8 bgr, all of one size with even sides. rate_hz: of the added pictures, where known."""
        if self.still:
            self._add_still(picture, view)
        else:
            self._add_to_clip(picture, view.time_s, rate_hz)

    def _add_still(self, picture: Array, view: FrameView) -> None:
        """The best is the one with the highest score; one in which a rule is in force before any other."""
        score = max((item.score for item in [*view.evidence, *view.second_evidence]), default=0.0)
        rank = any(state.rule for state in view.actuators), score if view.inferred else 0.0
        if rank > self._best:
            self._best, self._picture, self.pictures = rank, picture, 1

    def _add_to_clip(self, picture: Array, time_s: float, rate_hz: float) -> None:
        if self._writer is None or self._picture is None:
            self._rate_hz, self._start_s, self._picture = rate_hz or self._rate_hz, time_s, picture
            self._writer = self._open_writer(picture.shape[1], picture.shape[0])
        if picture.shape != self._picture.shape:  # a faulty camera; a clip has one size
            picture = cv2.resize(picture, (self._picture.shape[1], self._picture.shape[0]))
        # A file has one rate, too. Where the source left frames out, the one before is repeated.
        late = round((time_s - self._start_s) * self._rate_hz) - self.pictures
        added = [self._picture] * min(late, round(MAX_GAP_S * self._rate_hz)) + [picture]
        with _muted_stderr():  # on a full disk FFmpeg complains at every frame
            for repeated in added:
                self._writer.write(repeated)
        self.pictures += len(added)
        self._picture = picture

    def _open_writer(self, width: int, height: int) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*self.kind.codec)
        with suppress(OSError):
            os.close(private.output(self.out))  # FFmpeg would let others read it
        with _muted_stderr():
            writer = cv2.VideoWriter(str(self.out), cv2.CAP_FFMPEG, code, self._rate_hz, (width, height))
        if not writer.isOpened():
            problem = f"a clip of {width}x{height} cannot be started"
            raise click.ClickException(f"{self.out}: {problem}: a full disk, or an OpenCV without {self.kind.codec}")
        return writer

    def __enter__(self) -> Footage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.release()
            if not _ends_with(self.out, self.pictures):  # the encoder does not report a full disk
                raise click.ClickException(f"{self.out}: could not be written to its end: is the disk full?") from error
        elif self.still and self._picture is not None:
            with os.fdopen(private.output(self.out), "wb") as file:
                file.write(cv2.imencode(".png", self._picture)[1].tobytes())
        elif kind is None:
            raise click.ClickException(f"{self.out}: not written: no frame between --start and the end")


def _ends_with(clip: Path, number: int) -> bool:
    """Picture `number`, counted from 1, exists and decodes."""
    with _muted_stderr():
        capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
        capture.set(cv2.CAP_PROP_POS_FRAMES, number - 1)
        return bool(capture.grab() and capture.get(cv2.CAP_PROP_POS_FRAMES) >= number - 1)


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Drop FFmpeg's own lines about container tags and codecs; real failures are detected otherwise."""
    original, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(null)
