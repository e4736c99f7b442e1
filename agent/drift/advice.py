"""What a drift means, in words, and what to do."""

from __future__ import annotations

from agent.drift.detector import Detector

# By the last or first word of a statistic's name
CAMERA = "is the light as it was, the lens clean and in focus, the camera where it was?"
SENSOR = "was the sensor exchanged, loosened, or set to another range or unit?"
MICROPHONE = "was the microphone moved or covered, or its gain changed?"
MODEL = "what the model finds has changed: look at the lane with `reflexd web`; train it on cases of now"
CAUSES = {
    "brightness": CAMERA,
    "contrast": CAMERA,
    "sharpness": CAMERA,
    "view": CAMERA,
    "level": SENSOR,
    "spread": SENSOR,
    "spectrum": SENSOR,
    "loudness": MICROPHONE,
    "peaks": MICROPHONE,
    "pitch": MICROPHONE,
}


def cause(statistic: str) -> str:
    return CAUSES.get(statistic.rpartition(" ")[2], MODEL) if not statistic.startswith("share of") else MODEL


def accept(lane: str) -> str:
    return f"where this is the new normal: reflexd drift --relearn {lane}"


def figures(statistic: str, detector: Detector) -> str:
    """In one word order: brightness 41 (learnt 112 +- 4)."""
    reference = detector.reference
    return f"{statistic} {detector.recent:.3g} (learnt {reference.mean:.3g} +- {detector.deviation:.2g})"


def golden(cause_of_failure: str) -> str:
    return f"golden outputs: {cause_of_failure}: reflexd model verify; copy the package again, or restart reflexd"
