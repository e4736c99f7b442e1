"""Knowledge distillation: the soft labels that a teacher gives each sample, and their weight in the student's loss.

A teacher is any package that a lane can run; it gets samples through the same preparation and decoder as in a lane.
Soft labels at a temperature: Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, arXiv 1503.02531.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import Decoder, Finding
from agent.errors import PackageError
from agent.packages.package import Package, find, open_package
from agent.packages.package import labels as labels_of
from agent.prepare.decimate import rate_mistake
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from drivers.base import DeviceFault
from models.train.data import DataError

TEMPERATURE = 3.0
TEACHER_SHARE = 0.5  # of the loss, for the teacher's soft labels of a sample that also has a label
MIN_SCORE = 0.01  # the teacher does not report scores below this
MIN_AGREEMENT = 0.8  # a teacher that is right in fewer of the labelled samples is not used for the others
MIN_TOTAL = 0.5  # an unlabelled sample is used if the teacher gives the student's labels at least this score together
# names of the label that a detector means when it detects nothing
BACKGROUND = {"background", "empty", "nobody", "none", "normal", "nothing", "other"}


class Teacher(NamedTuple):
    """An open teacher. columns: number of the student's label, by the teacher's label.

    background: number of the student's label for "nothing detected", or -1. size: number of the student's labels.
    """

    package: Package
    decoder: Decoder
    columns: dict[str, int]
    background: int
    size: int


def open_teacher(name: str, labels: Sequence[str], pictures: bool) -> Teacher:
    """Open package `name` for a student with these labels. Raises DataError: unusable, wrong input, no common label."""
    try:
        folder = find(name)
        package = open_package(folder)
        known = labels_of(folder)
    except PackageError as error:
        raise DataError(f"teacher: {error}") from error
    needed = _input_kind(package)
    wanted = "pictures" if pictures else "readings"
    if needed != wanted:
        raise DataError(
            f"teacher {package.name} needs {needed}, your samples are {wanted}: choose another teacher or task"
        )
    columns = match_labels(known, labels)
    if not columns:
        names = ", ".join(dict.fromkeys(known[:12])) + (" ..." if len(known) > 12 else "")
        raise DataError(
            f"teacher {package.name} knows none of your labels ({', '.join(labels)}): "
            f"give the folders the names of its labels: {names}"
        )
    background = [
        number for number, label in enumerate(labels) if _key(label) in BACKGROUND and number not in columns.values()
    ]
    return Teacher(package, sensitive_decoder(package), columns, background[0] if background else -1, len(labels))


def _input_kind(package: Package) -> str:
    """What the package reads: pictures, readings or keypoints."""
    manifest = package.manifest
    if manifest.picture:
        return "pictures and a reference" if manifest.picture.reference else "pictures"
    return "readings" if manifest.window else "keypoints"


def covered_labels(teacher: Teacher) -> list[int]:
    """The student's labels that this teacher can predict."""
    return sorted({*teacher.columns.values(), teacher.background} - {-1})


def match_labels(known: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Number of the wanted label, by known label; any comma-separated name counts, case, dashes and spaces do not."""
    places = {_key(label): number for number, label in enumerate(wanted)}
    matches = {label: [places[_key(name)] for name in label.split(",") if _key(name) in places] for label in known}
    return {label: numbers[0] for label, numbers in matches.items() if numbers}


def _key(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.lower())


def sensitive_decoder(package: Package) -> Decoder:
    """The package's decoder, set to report weak scores, too: a student learns most from them."""
    manifest = package.manifest
    fields = decoders.load(manifest.decoder).Decoder.Options.model_fields
    more = {name: value for name, value in {"min_score": MIN_SCORE, "top": 1000}.items() if name in fields}
    shapes = [tensor.shape for tensor in package.engine.outputs]
    return decoders.make(manifest.decoder, manifest.labels, {**manifest.options, **more}, shapes)


def picture_labeller(teacher: Teacher) -> Callable[[Array], Array]:
    """A function: picture uint8 bgr [height, width, 3] of any size to the soft labels of the teacher."""
    assert teacher.package.manifest.picture
    pixels = Pixels(teacher.package.manifest.picture, teacher.package.engine.inputs[0], "bgr")

    def label(frame: Array) -> Array:
        pixels(frame, teacher.package.engine.input(0))
        return soft_labels(teacher, _infer(teacher))

    return label


def recording_labeller(teacher: Teacher, channels: tuple[str, ...], rate_hz: float = 0.0) -> Callable[[Array], Array]:
    """A function: recording float32 [n, channels] to soft labels [n, labels], 0 until its window is full.

    rate_hz: of recordings, 0 for unknown. Raises DataError.
    """
    engine, window = teacher.package.engine, teacher.package.manifest.window
    assert window
    mistake = rate_mistake(window.rate_hz, rate_hz, teacher.package.name) if rate_hz else ""
    if mistake:
        raise DataError(f"teacher: {mistake.split(': set')[0]}")
    try:
        readings = Readings(window, engine.inputs[0], channels, rate_hz)
    except DeviceFault as error:
        raise DataError(f"teacher {teacher.package.name}: {error}") from error

    def label(rows: Array) -> Array:
        readings.reset()
        soft = np.zeros((len(rows), teacher.size), np.float32)
        for number in range(len(rows)):
            if readings(rows[number : number + 1], engine.input(0)):
                soft[number] = soft_labels(teacher, _infer(teacher))
            elif number:
                soft[number] = soft[number - 1]  # between hops the last result stays valid
        return soft

    return label


def _infer(teacher: Teacher) -> list[Finding]:
    engine = teacher.package.engine
    engine.invoke()
    return teacher.decoder([engine.real(place) for place in range(len(engine.outputs))])


def soft_labels(teacher: Teacher, findings: Sequence[Finding]) -> Array:
    """Share of each of the student's labels, float32 [labels], sum 1; all 0 where the teacher gives too little score.

    A classifier's scores for one label are added; of a detector's boxes the highest score counts.
    """
    scores = np.zeros(teacher.size, np.float32)
    for finding in findings:
        if finding.label in teacher.columns and np.isfinite(finding.score):
            column = teacher.columns[finding.label]
            adds = teacher.package.manifest.decoder in ("classify", "sequence")
            scores[column] = scores[column] + finding.score if adds else max(scores[column], finding.score)
    if teacher.background >= 0:
        scores[teacher.background] = max(0.0, 1.0 - (scores.sum() if scores.sum() <= 1.0 else scores.max()))
    total = float(scores.sum())
    return scores / total if total >= MIN_TOTAL else np.zeros(teacher.size, np.float32)


def targets(labels: Array, soft: Array, covered: Sequence[int], temperature: float = TEMPERATURE) -> Array:
    """Targets for `loss`: [n, 2 * labels], hard labels, then soft labels at this temperature, each weighted.

    labels: int [n], -1 where there is none. soft: soft labels [n, labels]. covered: labels the teacher can predict.
    The teacher is ignored where it contradicts a label, and for samples without a label unless it is trusted.
    """
    trusted = is_trusted(*agreement(labels, soft, covered))
    hard = (labels[:, None] == np.arange(soft.shape[1])).astype(np.float32)
    used = (soft.sum(axis=1) > 0) & ((soft.argmax(axis=1) == labels) | (labels < 0) & trusted)
    softened = np.where(used[:, None], soften(soft, covered, temperature), 0.0)
    share = np.where(used, TEACHER_SHARE, 0.0)[:, None]
    # T^2 keeps the teacher's part of the gradient as large as at temperature 1 (Hinton et al. 2015, section 2.1)
    weighted: Array = np.concatenate([hard * (1.0 - share), softened * share * temperature**2], axis=1)
    return weighted.astype(np.float32)


def agreement(labels: Array, soft: Array, covered: Sequence[int]) -> tuple[int, int]:
    """Of the labelled samples that the teacher covers and labels: how many it labels correctly, how many there are."""
    labelled = np.isin(labels, covered) & (soft.sum(axis=1) > 0)
    return int((soft.argmax(axis=1) == labels)[labelled].sum()), int(labelled.sum())


def is_trusted(correct: int, of: int) -> bool:
    """Whether the teacher may label samples that have no label."""
    return of > 0 and correct >= MIN_AGREEMENT * of


def soften(shares: Array, covered: Sequence[int], temperature: float) -> Array:
    """softmax(logits / T) from shares = softmax(logits): T-th root, sum 1 again. An 8-bit 0 can be a small value."""
    floor = np.zeros(shares.shape[1])
    floor[list(covered)] = 1e-3
    roots = np.maximum(shares, floor) ** (1.0 / temperature)
    return np.asarray(roots / np.maximum(roots.sum(axis=1, keepdims=True), 1e-9))


def loss(temperature: float = TEMPERATURE) -> Callable[[Any, Any], Any]:
    """Cross entropy of a softmax output with `targets`."""
    import tensorflow as tf  # teachers run without it

    def entropy(wanted: Any, predicted: Any) -> Any:
        hard, soft = tf.split(wanted, 2, axis=-1)
        logs = tf.math.log(predicted + 1e-7)
        return -tf.reduce_sum(hard * logs + soft * tf.nn.log_softmax(logs / temperature), axis=-1)

    return entropy
