"""The road from a user's folder to a package: load, split, train, distil, prune, quantise, evaluate, pack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent import package
from agent.data import Array
from models.train import distil, engine
from models.train.data import DataError
from models.train.folder import card, files, learn, pictures, readings
from models.train.folder.examples import SEED, Examples, Report, judged
from models.train.folder.learn import Task
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.prune import prune

KEEP = 0.5  # of the channels


class ViewOptions(NamedTuple):
    """into: where the new package's folder goes. epochs: 0 for as many as fit the task's budget."""

    folder: Path
    task: str
    teacher: str
    into: Path
    name: str
    epochs: int

    @property
    def place(self) -> Path:
        return self.into / self.name


def make(asked: ViewOptions) -> dict[str, Any]:
    """Writes the package; its figures. Raises DataError."""
    _check(asked)
    engine.make_reproducible(SEED)
    task, teacher = (_classify if asked.task == "classify" else _sequence)(asked)
    networks, inputs = _trained(task, teacher, asked.epochs)
    contents = {name: engine.to_float(model) for name, model in networks.items()}
    contents["INT8"] = engine.to_int8(networks["pruned"], inputs)
    held = task.examples.part(task.examples.test)
    reports = {name: _report(content, task.real(held.inputs), held) for name, content in contents.items()}
    shipped = Network(contents["INT8"])
    golden = shipped.quantised(task.golden(held.inputs))
    asked.place.parent.mkdir(parents=True, exist_ok=True)
    pack(asked.place, contents["INT8"], task.facts, golden, shipped.run_all(golden))
    figures = card.write(asked, task, teacher, shipped, reports)
    package.open_package(asked.place)
    return figures


def _check(asked: ViewOptions) -> None:
    """Raises DataError."""
    place = asked.place
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", asked.name):
        raise DataError(
            f"'{asked.name}' is no good name for a package: give --name with letters, digits, dots and dashes"
        )
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise DataError(f"{place} exists already: remove it, or give another --name")


def _classify(asked: ViewOptions) -> tuple[Task, distil.Teacher | None]:
    labels, listed = files.listing(asked.folder, pictures.STILLS + pictures.CLIPS, SEED)
    listed = _with_use(listed, asked)
    teacher = distil.open_teacher(asked.teacher, labels, pictures=True) if asked.teacher else None
    examples, capped = pictures.load(listed, labels, distil.picture_labeller(teacher) if teacher else None)
    facts = {**_facts_of(asked, labels, listed), "decoder": "classify", "picture": pictures.PICTURE}
    return Task(
        examples,
        labels,
        listed,
        facts,
        capped,
        pictures.real,
        pictures.vary,
        lambda: pictures.network(len(labels)),
        lambda inputs: pictures.blots(GOLDEN),
        learn.PICTURES,
    ), teacher


def _sequence(asked: ViewOptions) -> tuple[Task, distil.Teacher | None]:
    labels, listed = files.listing(asked.folder, readings.SUFFIXES, SEED)
    listed = _with_use(listed, asked)
    teacher = distil.open_teacher(asked.teacher, labels, pictures=False) if asked.teacher else None
    teach = (lambda channels: distil.recording_labeller(teacher, channels)) if teacher else None
    examples, channels, capped = readings.load(listed, labels, teach)
    mean, std = readings.scale(examples.inputs[~examples.test])
    length = examples.inputs.shape[1]
    window = {"channels": list(channels), "length": length, "hop": 1, "mean": mean.tolist(), "std": std.tolist()}
    facts = {**_facts_of(asked, labels, listed), "decoder": "sequence", "window": window}

    def real(windows: Array) -> Array:
        return readings.real(windows, mean, std)

    return Task(
        examples,
        labels,
        listed,
        facts,
        capped,
        real,
        None,
        lambda: readings.network((length, len(channels)), len(labels)),
        lambda inputs: real(inputs[np.linspace(0, len(inputs) - 1, GOLDEN).astype(int)]),
        learn.READINGS,
    ), teacher


def _with_use(listed: list[files.File], asked: ViewOptions) -> list[files.File]:
    """Without a teacher nothing can be learned from files that have no label."""
    useful = [file for file in listed if file.label >= 0 or asked.teacher]
    if len(useful) < len(listed):
        files.say(f"{asked.folder / files.UNLABELLED}: passed over; it takes a --teacher to learn from it")
    return useful


def _facts_of(asked: ViewOptions, labels: list[str], listed: list[files.File]) -> dict[str, Any]:
    taught = f", taught by {Path(asked.teacher).name}" if asked.teacher else ""
    return {
        "version": "1.0.0",
        "licence": "unknown: state it before you hand this on",
        "labels": labels,
        "budget_ms": 10.0,
        "data": f"folder {asked.folder.resolve().name}: {len(listed)} files{taught}",
    }


def _trained(task: Task, teacher: distil.Teacher | None, epochs: int) -> tuple[dict[str, Any], Array]:
    """Networks by stage, and the inputs that show the quantiser every range. Distilled where there is a teacher."""
    known = task.examples.part(~task.examples.test)
    labelled = known.part(known.labels >= 0)
    alone = distil.targets(labelled.labels, np.zeros_like(labelled.said), [])
    networks = {"float": learn.fit(task.network(), task, labelled, alone, epochs, 1.0, "train")}
    best, heard, wanted = networks["float"], labelled, alone
    if teacher:
        wanted = distil.targets(known.labels, known.said, distil.covered_labels(teacher))
        useful = wanted.any(axis=1)  # where it is silent about a sample without label, nobody knows
        heard, wanted = known.part(useful), wanted[useful]
        networks["distilled"] = best = learn.fit(prune(best, 1.0), task, heard, wanted, epochs, 0.5, "distil")
    networks["pruned"] = learn.fit(prune(best, KEEP), task, heard, wanted, epochs, 0.5, "prune")
    return networks, task.real(heard.inputs[learn.some(len(heard.inputs), engine.CALIBRATION)])


def _report(content: bytes, inputs: Array, held: Examples) -> Report:
    network = Network(content)
    return Report(len(content), network.median_ms(inputs, 300), *judged(network(inputs), held))
