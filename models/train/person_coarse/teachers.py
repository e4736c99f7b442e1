"""Three public networks that say where a person is: two detectors and one for poses."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from agent.backends import base as backends
from agent.backends.base import Engine, EngineError
from agent.data import Array, Box
from agent.decoders import base as decoders
from models.train.data import DataError

PUBLIC = "models-public"
SSD = "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
NANODET = "object_detection_nanodet_2022nov_int8.onnx"
MOVENET = "movenet_single_pose_lightning_ptq.tflite"

MEAN, STD = np.float32([103.53, 116.28, 123.675]), np.float32([57.375, 57.12, 58.395])  # NanoDet's, blue green red
JOINTS, JOINT_SCORE = 6, 0.3  # so many keypoints, so sure, are a person
MARGIN = 0.05  # keypoints sit on joints, not on the outline
FAINT = 0.25  # detections below this are noise

Detections = list[tuple[float, Box]]


class Seen(NamedTuple):
    """What the teachers see of persons in one frame. pose: the box around the keypoints of the one that MoveNet looks at."""

    ssd: Detections
    nanodet: Detections
    pose: Box | None


class Teachers:
    """SSD-MobileNet-v1, NanoDet-Plus (both COCO) and MoveNet Lightning; Apache-2.0, INT8 or UINT8."""

    def __init__(self, models: Path) -> None:
        """models: the folder that has their files. Raises DataError."""
        missing = [name for name in (SSD, NANODET, MOVENET) if not (models / name).is_file()]
        if missing:
            raise DataError(f"{models}: no teacher network {missing[0]}")
        try:
            self.ssd, self.movenet = (backends.load("litert", models / name) for name in (SSD, MOVENET))
            self.nanodet = backends.load("onnx", models / NANODET)
        except EngineError as error:
            raise DataError(f"{models}: a teacher network does not load: {error}") from error
        shapes = [tensor.shape for tensor in self.nanodet.outputs]
        labels = ["person", *map(str, range(1, shapes[0][-1]))]
        self.places = decoders.make("nanodet", labels, {"min_score": FAINT}, shapes)

    def __call__(self, frame: Array) -> Seen:
        """frame: uint8 rgb [height, width, 3]."""
        return Seen(self._see_ssd(frame), self._see_nanodet(frame), self._see_pose(frame))

    def _see_ssd(self, frame: Array) -> Detections:
        places, kinds, scores = run(self.ssd, cv2.resize(frame, (300, 300)))[:3]
        persons = (kinds[0] == 0) & (scores[0] > FAINT)
        found = zip(places[0][persons].clip(0, 1).tolist(), scores[0][persons].tolist())
        return [(score, Box(left, top, right, bottom)) for (top, left, bottom, right), score in found]

    def _see_nanodet(self, frame: Array) -> Detections:
        pixels = (cv2.resize(frame, (416, 416))[..., ::-1].astype(np.float32) - MEAN) / STD
        found = self.places(run(self.nanodet, pixels.transpose(2, 0, 1)))
        return [(one.score, one.box) for one in found if one.label == "person" and one.box]

    def _see_pose(self, frame: Array) -> Box | None:
        """MoveNet takes a square: the frame goes into its middle, as it was trained."""
        height, width = frame.shape[:2]
        side = max(height, width)
        square = np.zeros((side, side, 3), np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = frame
        joints = run(self.movenet, cv2.resize(square, (192, 192), interpolation=cv2.INTER_AREA))[0].reshape(17, 3)
        return posed((joints * [side, side, 1] - [top, left, 0]) / [height, width, 1])


def posed(joints: Array) -> Box | None:
    """The box around the keypoints y, x, score [17, 3] that are seen, a little wider; None where too few are."""
    sure = joints[joints[:, 2] >= JOINT_SCORE]
    if len(sure) < JOINTS:
        return None
    (top, left), (bottom, right) = sure[:, :2].min(axis=0) - MARGIN, sure[:, :2].max(axis=0) + MARGIN
    return Box(*np.clip([left, top, right, bottom], 0, 1).tolist())


def run(engine: Engine, pixels: Array) -> list[Array]:
    engine.input(0)[0] = pixels
    engine.invoke()
    return [engine.real(index) for index in range(len(engine.outputs))]
