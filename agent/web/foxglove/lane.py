"""A lane's topics. The lane is watched, and copies what it has, only while a client is subscribed to one of them."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from foxglove import Channel, Context
from foxglove.messages import CompressedImage

from agent.data import Array
from agent.tapes.live_format import PICTURE, READINGS, LiveHeader
from agent.tapes.live_reader import LiveFile, LiveSample
from agent.web import messages, pictures
from agent.web.foxglove import drawing, topics

log = logging.getLogger("reflexd.web")
WATCH_S = 0.5  # how often the tape is marked as watched
MAX_READINGS_HZ = 250.0  # of faster sensors every n-th is shown
Shape = tuple[LiveHeader, bool]


class LaneTopics:
    """Topics /LANE/..., of which there are those that its live tape and the pictures' mode allow."""

    def __init__(self, context: Context, run_dir: Path, lane: str) -> None:
        self.channels: dict[str, Channel] = {}
        self._context = context
        self._file = LiveFile(run_dir, lane)
        self._shape: Shape | None = None
        self._mode = pictures.HIDDEN
        self._offset_ns = 0
        self._newest: LiveSample | None = None  # with an inference
        self._watched_s = -math.inf
        self.subscribed = False

    @property
    def quick(self) -> bool:
        """Somebody watches pictures."""
        return self.subscribed and self._file.reader is not None and self._file.reader.header.kind == PICTURE

    def sync(self, mode: str) -> None:
        """The lane may have another tape by now; the configuration another mode. mode: as in pictures.encode."""
        self._mode = mode
        self._offset_ns = messages.wall_offset_ns()
        before = self._file.reader
        self._file.refresh()
        reader = self._file.reader
        if reader is not before:
            self.subscribed = False  # so that the next step marks the new one as watched
        if not reader:
            return
        shape = reader.header, mode != pictures.HIDDEN
        if shape != self._shape:
            self._close_channels()
            self._shape = shape
            self.channels = self._advertised(*shape)

    def _advertised(self, header: LiveHeader, with_pictures: bool) -> dict[str, Channel]:
        topic, context = f"/{self._file.lane}", self._context
        channels = {"evidence": topics.json(context, f"{topic}/evidence", topics.EVIDENCE)}
        if header.kind == PICTURE:
            channels["boxes"] = topics.boxes(context, f"{topic}/boxes")
            if with_pictures:
                channels["picture"] = topics.picture(context, f"{topic}/picture")
        elif header.kind == READINGS:
            channels["readings"] = topics.json(context, f"{topic}/readings", topics.readings(header.channels))
        else:
            channels["sound"] = topics.json(context, f"{topic}/sound", topics.SOUND)
        return channels

    def step(self, now_s: float) -> None:
        """Pass on what is new, where somebody is subscribed."""
        before, self.subscribed = self.subscribed, any(channel.has_sinks() for channel in self.channels.values())
        reader = self._file.reader
        if not self.subscribed or reader is None:
            return
        if not before:
            reader.next = reader.head  # what is left from an earlier viewer is old
            self._newest = None
        if now_s - self._watched_s >= WATCH_S or not before:
            self._watched_s = now_s
            reader.watch()
        for sample in reader.read():
            self._publish(sample, reader.header)

    def _publish(self, sample: LiveSample, header: LiveHeader) -> None:
        t_ns = self._offset_ns + sample.t_capture
        if sample.inferred:
            self._newest = sample
            self._publish_evidence(sample, t_ns)
        if sample.picture:
            self._publish_picture(sample, t_ns)
        elif header.kind == READINGS:
            self._publish_readings(sample.rows, t_ns, header)
        else:
            self._log("sound", _numbers(("level", "peak"), sample.rows), t_ns)

    def _publish_evidence(self, sample: LiveSample, t_ns: int) -> None:
        content = {
            "sequence": sample.sequence,
            "evidence": [
                {name: value for name, value in finding.items() if value is not None}
                for finding in messages.as_dicts(sample.evidence)
            ],
            "times": sample.times,
        }
        self._log("evidence", content, t_ns)

    def _publish_picture(self, sample: LiveSample, t_ns: int) -> None:
        """Both have the picture's time, by which Foxglove lays the boxes over it."""
        assert sample.picture
        height, width = sample.picture.values.shape[:2]
        channel = self.channels.get("picture")
        if channel and channel.has_sinks():
            jpeg, *_ = pictures.encode(sample.picture, self._mode)
            stamp = drawing.timestamp(t_ns)
            image = CompressedImage(timestamp=stamp, frame_id=self._file.lane, data=jpeg, format="jpeg")
            channel.log(image.encode(), log_time=t_ns)
        boxes = self.channels["boxes"]
        if self._newest and boxes.has_sinks():
            boxes.log(drawing.of_sample(self._newest, t_ns, width, height).encode(), log_time=t_ns)

    def _publish_readings(self, rows: Array, t_ns: int, header: LiveHeader) -> None:
        """A sample's stamp is that of its newest reading."""
        stride = max(1, math.ceil(header.rate_hz / MAX_READINGS_HZ))
        step_ns = 1e9 / header.rate_hz if header.rate_hz else 0.0
        for number in range(len(rows) - 1, -1, -stride)[::-1]:
            at_ns = t_ns - int((len(rows) - 1 - number) * step_ns)
            self._log("readings", _numbers(header.channels, rows[number]), at_ns)

    def _log(self, name: str, content: dict[str, object], t_ns: int) -> None:
        channel = self.channels[name]
        if channel.has_sinks():
            channel.log(content, log_time=t_ns)

    def _close_channels(self) -> None:
        for channel in self.channels.values():
            channel.close()
        self.channels = {}

    def close(self) -> None:
        self._close_channels()
        self._file.close()


def _numbers(names: tuple[str, ...], values: Array) -> dict[str, object]:
    """JSON has no NaN, and Foxglove's schemas no null."""
    return {name: float(value) for name, value in zip(names, values) if math.isfinite(value)}
