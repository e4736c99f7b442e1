"""Learning from a larger network: what a teacher says of each sample, and how much of it a student takes over.

A teacher is any package that a lane can run; it sees samples through the lane's own preparation and decoder.
Soft labels at a temperature: Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531.
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
from agent.package import Package, find, open_package
from agent.package import labels as labels_of
from agent.prepare.pixels import Pixels
from agent.prepare.readings import Readings
from drivers.base import DeviceFault
from models.train.data import DataError

TEMPERATURE = 3.0
SHARE = 0.5  # of the loss that is the teacher's, where a sample has a label, too
LEAST = 0.01  # scores below this are not asked for
TRUSTED = 0.8  # a teacher that names fewer of the labelled samples rightly is not believed about the others
SILENT = 0.5  # an unlabelled sample is used where so much of what the teacher says concerns the student's labels
REST = {
    "background",
    "empty",
    "nobody",
    "none",
    "normal",
    "nothing",
    "other",
}  # what a detector means by finding nothing


class Teacher(NamedTuple):
    """columns: the teacher's label to the number of the student's. rest: the student's label for nothing found, or -1."""

    package: Package
    decoder: Decoder
    columns: dict[str, int]
    rest: int
    size: int


def teacher(name: str, labels: Sequence[str], pictures: bool) -> Teacher:
    """Open the package `name` for a student with these labels. Raises DataError: unusable, wrong kind, no label matches."""
    try:
        folder = find(name)
        package = open_package(folder)
        known = labels_of(folder)
    except PackageError as error:
        raise DataError(f"teacher: {error}") from error
    manifest = package.manifest
    takes = "pictures" if manifest.picture else "readings" if manifest.window else "keypoints"
    takes += " and a reference" if manifest.picture and manifest.picture.reference else ""
    wanted = "pictures" if pictures else "readings"
    if takes != wanted:
        raise DataError(
            f"teacher {package.name} takes {takes}, your samples are {wanted}: take another teacher or task"
        )
    columns = match(known, labels)
    if not columns:
        some = ", ".join(dict.fromkeys(known[:12])) + (" ..." if len(known) > 12 else "")
        raise DataError(
            f"teacher {package.name} knows none of your labels ({', '.join(labels)}): name folders as it does: {some}"
        )
    others = [number for number, label in enumerate(labels) if _key(label) in REST and number not in columns.values()]
    return Teacher(package, _eager(package), columns, others[0] if others else -1, len(labels))


def covered(by: Teacher) -> list[int]:
    """The student's labels that this teacher can tell."""
    return sorted({*by.columns.values(), by.rest} - {-1})


def match(known: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Each known label that is a wanted one, by any of its names between commas; case, dashes and blanks do not count."""
    places = {_key(label): number for number, label in enumerate(wanted)}
    found = {label: [places[_key(name)] for name in label.split(",") if _key(name) in places] for label in known}
    return {label: numbers[0] for label, numbers in found.items() if numbers}


def _key(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.lower())


def _eager(package: Package) -> Decoder:
    """The package's decoder, that reports weak scores, too: they are what a student learns most from."""
    manifest = package.manifest
    fields = decoders.load(manifest.decoder).Decoder.Options.model_fields
    more = {name: value for name, value in {"min_score": LEAST, "top": 1000}.items() if name in fields}
    shapes = [tensor.shape for tensor in package.engine.outputs]
    return decoders.make(manifest.decoder, manifest.labels, {**manifest.options, **more}, shapes)


def sees(by: Teacher) -> Callable[[Array], Array]:
    """A function: picture uint8 bgr [height, width, 3] of any size to the opinion of `by`."""
    assert by.package.manifest.picture
    pixels = Pixels(by.package.manifest.picture, by.package.engine.inputs[0], "bgr")

    def ask(frame: Array) -> Array:
        pixels(frame, by.package.engine.input(0))
        return opinion(by, _think(by))

    return ask


def reads(by: Teacher, channels: tuple[str, ...]) -> Callable[[Array], Array]:
    """A function: recording float32 [n, channels] to opinions [n, labels], 0 until its window is full. Raises DataError."""
    engine, window = by.package.engine, by.package.manifest.window
    assert window
    try:
        readings = Readings(window, engine.inputs[0], channels)
    except DeviceFault as error:
        raise DataError(f"teacher {by.package.name}: {error}") from error

    def ask(rows: Array) -> Array:
        readings.reset()
        said = np.zeros((len(rows), by.size), np.float32)
        for number in range(len(rows)):
            if readings(rows[number : number + 1], engine.input(0)):
                said[number] = opinion(by, _think(by))
            elif number:
                said[number] = said[number - 1]  # between hops its last word holds
        return said

    return ask


def _think(by: Teacher) -> list[Finding]:
    engine = by.package.engine
    engine.invoke()
    return by.decoder([engine.real(place) for place in range(len(engine.outputs))])


def opinion(by: Teacher, findings: Sequence[Finding]) -> Array:
    """Share of each of the student's labels, float32 [labels], sum 1; all 0 where the teacher knows nothing to say.

    A classifier's scores of one label add up; of a detector's boxes the best one counts.
    """
    scores = np.zeros(by.size, np.float32)
    for finding in findings:
        if finding.label in by.columns and np.isfinite(finding.score):
            column = by.columns[finding.label]
            adds = by.package.manifest.decoder in ("classify", "sequence")
            scores[column] = scores[column] + finding.score if adds else max(scores[column], finding.score)
    if by.rest >= 0:
        scores[by.rest] = max(0.0, 1.0 - (scores.sum() if scores.sum() <= 1.0 else scores.max()))
    total = float(scores.sum())
    return scores / total if total >= SILENT else np.zeros(by.size, np.float32)


def targets(labels: Array, said: Array, covered: Sequence[int], temperature: float = TEMPERATURE) -> Array:
    """What `loss` compares with: [n, 2 * labels], hard labels, then the teacher's at this temperature, each weighted.

    labels: int [n], -1 where there is none. said: opinions [n, labels]. covered: labels the teacher can tell. It is not
    heard where it contradicts a label, nor about samples without one where it is not TRUSTED.
    """
    trusted = believed(*agreement(labels, said, covered))
    hard = (labels[:, None] == np.arange(said.shape[1])).astype(np.float32)
    heard = (said.sum(axis=1) > 0) & ((said.argmax(axis=1) == labels) | (labels < 0) & trusted)
    soft = np.where(heard[:, None], soften(said, covered, temperature), 0.0)
    share = np.where(heard, SHARE, 0.0)[:, None]
    # T^2 keeps the teacher's part of the gradient as large as at temperature 1 (Hinton et al. 2015, section 2.1)
    return np.concatenate([hard * (1.0 - share), soft * share * temperature**2], axis=1).astype(np.float32)


def agreement(labels: Array, said: Array, covered: Sequence[int]) -> tuple[int, int]:
    """Of the labelled samples that the teacher can tell and speaks about: how many it names rightly, how many there are."""
    asked = np.isin(labels, covered) & (said.sum(axis=1) > 0)
    return int((said.argmax(axis=1) == labels)[asked].sum()), int(asked.sum())


def believed(right: int, of: int) -> bool:
    """Whether it may speak alone."""
    return of > 0 and right >= TRUSTED * of


def soften(shares: Array, covered: Sequence[int], temperature: float) -> Array:
    """softmax(logits / T) from shares = softmax(logits): their T-th root, summing to 1. An 8-bit zero is not quite none."""
    floor = np.zeros(shares.shape[1])
    floor[list(covered)] = 1e-3
    roots = np.maximum(shares, floor) ** (1.0 / temperature)
    return np.asarray(roots / np.maximum(roots.sum(axis=1, keepdims=True), 1e-9))


def loss(temperature: float = TEMPERATURE) -> Callable[[Any, Any], Any]:
    """Cross entropy of a softmax output with `targets`."""
    import tensorflow as tf  # the teacher's side is used without it

    def entropy(wanted: Any, guess: Any) -> Any:
        hard, soft = tf.split(wanted, 2, axis=-1)
        logs = tf.math.log(guess + 1e-7)
        return -tf.reduce_sum(hard * logs + soft * tf.nn.log_softmax(logs / temperature), axis=-1)

    return entropy
