"""Three public networks that detect persons: two object detectors and one for poses."""

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

# NanoDet's normalisation: blue, green, red
MEAN, STD = np.array([103.53, 116.28, 123.675], np.float32), np.array([57.375, 57.12, 58.395], np.float32)
MIN_JOINTS, JOINT_SCORE = 6, 0.3  # a pose with fewer keypoints of this score is no person
MARGIN = 0.05  # keypoints sit on joints, not on the outline
MIN_SCORE = 0.25  # detections below this are noise

Detections = list[tuple[float, Box]]


class TeacherOutputs(NamedTuple):
    """Persons that the teachers detect in one frame. pose: the box around the keypoints of MoveNet's single person."""

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
        self.decode_nanodet = decoders.make("nanodet", labels, {"min_score": MIN_SCORE}, shapes)

    def __call__(self, frame: Array) -> TeacherOutputs:
        """frame: uint8 rgb [height, width, 3]."""
        return TeacherOutputs(self._detect_ssd(frame), self._detect_nanodet(frame), self._detect_pose(frame))

    def _detect_ssd(self, frame: Array) -> Detections:
        boxes, classes, scores = _infer(self.ssd, cv2.resize(frame, (300, 300)))[:3]
        persons = (classes[0] == 0) & (scores[0] > MIN_SCORE)
        detections = zip(boxes[0][persons].clip(0, 1).tolist(), scores[0][persons].tolist())
        return [(score, Box(left, top, right, bottom)) for (top, left, bottom, right), score in detections]

    def _detect_nanodet(self, frame: Array) -> Detections:
        pixels = (cv2.resize(frame, (416, 416))[..., ::-1].astype(np.float32) - MEAN) / STD
        findings = self.decode_nanodet(_infer(self.nanodet, pixels.transpose(2, 0, 1)))
        return [(finding.score, finding.box) for finding in findings if finding.label == "person" and finding.box]

    def _detect_pose(self, frame: Array) -> Box | None:
        """MoveNet takes a square: the frame goes into its middle, as it was trained."""
        height, width = frame.shape[:2]
        side = max(height, width)
        square = np.zeros((side, side, 3), np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = frame
        joints = _infer(self.movenet, cv2.resize(square, (192, 192), interpolation=cv2.INTER_AREA))[0].reshape(17, 3)
        return pose_box((joints * [side, side, 1] - [top, left, 0]) / [height, width, 1])


def pose_box(joints: Array) -> Box | None:
    """The box around the detected keypoints y, x, score [17, 3], a little wider; None where they are too few."""
    detected = joints[joints[:, 2] >= JOINT_SCORE]
    if len(detected) < MIN_JOINTS:
        return None
    (top, left), (bottom, right) = detected[:, :2].min(axis=0) - MARGIN, detected[:, :2].max(axis=0) + MARGIN
    return Box(*np.clip([left, top, right, bottom], 0, 1).tolist())


def _infer(engine: Engine, pixels: Array) -> list[Array]:
    engine.input(0)[0] = pixels
    engine.invoke()
    return [engine.real(index) for index in range(len(engine.outputs))]
