"""Skeletons of recorded pictures, computed from the recorded outputs of their models as `reflexd replay` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.build import rules_of
from agent.config.models import LaneConfig
from agent.data import Array
from agent.decoders import base as decoders
from agent.errors import PackageError
from agent.packages import package
from agent.recorder.recording import RecordingError
from agent.replay.compare import DAMAGED
from agent.replay.header import Header
from agent.replay.models import folders
from agent.replay.player import Player
from agent.rules.scene import Scene

Message = tuple[str, dict[str, Any]]


def of_messages(header: Header, messages: Sequence[Message]) -> dict[int, Array]:
    """float32 [n, 17, 3] by the place in `messages`; of lanes whose models are no more on this box none."""
    points: dict[int, Array] = {}
    with suppress(PackageError, decoders.DecoderError, *DAMAGED):  # what was computed until then is right
        models = _models(header)
        for lane in dict(messages):
            if _finds_keypoints(header.config.lanes[lane], header):
                player = Player(lane, header, Scene(rules_of(header.config)), models)
                points.update(_of_lane(player, lane, messages))
    return points


def _models(header: Header) -> dict[str, Path]:
    """Folders of the versions that decided then; of others than these the outputs are mostly read the same way."""
    try:
        return folders(header)
    except RecordingError:
        return {}


def _finds_keypoints(section: LaneConfig, header: Header) -> bool:
    """Models that would not be needed are not loaded."""
    models = [section.model, *([section.refine.model] if section.refine else [])]
    manifests = [package.read(package.find(model, header.base_folder)) for model in models]
    return any(decoders.load(each.decoder).Decoder.finds_keypoints(each.options) for each in manifests)


def _of_lane(player: Player, lane: str, messages: Sequence[Message]) -> Iterator[tuple[int, Array]]:
    for number, (name, message) in enumerate(messages):
        if name != lane or message.get("lost") or not message["inferred"]:
            continue
        player.play({**message, "inputs": []})  # no second inference: the outputs are enough
        points = player.perception.points
        if points is not None:
            yield number, points.reshape(-1, 17, 3).copy()
