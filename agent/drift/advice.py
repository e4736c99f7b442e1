"""What a drift means, in words, and what to do."""

from __future__ import annotations

from math import exp, expm1

from agent.drift.detector import Detector

# By the last or first word of a statistic's name
CAMERA = "is the light as it was, the lens clean and in focus, the camera where it was?"
SENSOR = "was the sensor exchanged, loosened, or set to another range or unit?"
MICROPHONE = "was the microphone moved or covered, or its gain changed?"
MODEL = "is the model the right one, and what it looks at as it was? `reflexd web` shows it; train it on cases of now."
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


LOGARITHMS = ("sharpness", "spread", "pitch")


def cause(statistic: str) -> str:
    return CAUSES.get(statistic.rpartition(" ")[2], MODEL) if not statistic.startswith("share of") else MODEL


def accept(lane: str) -> str:
    return f"Where this is the new normal: reflexd drift --relearn {lane}"


def figures(statistic: str, detector: Detector) -> str:
    """The newest and what was learnt: brightness 41 (learnt 112 +- 4). Of a logarithm, what it is of, +- 5 %."""
    recent, learnt, deviation = detector.recent, detector.reference.mean, detector.deviation
    if statistic.rpartition(" ")[2] in LOGARITHMS:
        return f"{statistic} {exp(recent):.3g} (learnt {exp(learnt):.3g} +- {expm1(deviation):.0%})"
    return f"{statistic} {recent:.3g} (learnt {learnt:.3g} +- {deviation:.2g})"


def golden(cause_of_failure: str) -> str:
    return f"golden outputs: {cause_of_failure}: reflexd model verify; copy the package again, or restart reflexd"
