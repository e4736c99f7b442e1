"""Makes a package from a user's folder: load, split, train, distil, prune, quantise, evaluate, pack."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.data import Array
from agent.packages import package
from models.train import distil, engine
from models.train.data import DataError
from models.train.folder import card, files, groups, learn, pictures, readings
from models.train.folder.examples import SEED, Examples, Report, count_right
from models.train.folder.learn import Task
from models.train.folder.options import FolderOptions, Marks, WindowOptions
from models.train.network import Network
from models.train.pack import GOLDEN, pack
from models.train.prune import prune

KEEP = 0.5  # of the channels


def make(options: FolderOptions) -> dict[str, Any]:
    """Writes the package; its figures. Raises DataError."""
    _check(options)
    engine.make_reproducible(SEED)
    task, teacher = (_picture_task if options.task == "classify" else _reading_task)(options)
    networks, inputs = _trained(task, teacher, options.epochs)
    contents = {name: engine.to_float(model) for name, model in networks.items()}
    contents["INT8"] = engine.to_int8(networks["pruned"], inputs)
    held_out = task.examples.part(task.examples.test)
    held_out_inputs = task.normalise(held_out.inputs)
    reports = {name: _report(content, held_out_inputs, held_out) for name, content in contents.items()}
    shipped = Network(contents["INT8"])
    golden = shipped.quantised(task.golden_inputs(held_out.inputs))
    options.place.parent.mkdir(parents=True, exist_ok=True)
    pack(options.place, contents["INT8"], task.facts, golden, shipped.run_all(golden))
    figures = card.write(options, task, teacher, shipped, reports)
    package.open_package(options.place)
    return figures


def _check(options: FolderOptions) -> None:
    """Raises DataError."""
    place = options.place
    if options.task == "classify" and (
        options.window != WindowOptions() or options.marks != Marks(options.marks.group)
    ):
        raise DataError("windows, rates and events are of readings: --task classify takes none of their options")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", options.name):
        raise DataError(
            f"'{options.name}' is not a valid package name: give --name with letters, digits, dots and dashes"
        )
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise DataError(f"{place} exists already: remove it, or give another --name")


def _picture_task(options: FolderOptions) -> tuple[Task, distil.Teacher | None]:
    labels, listed = _list_files(options, pictures.STILLS + pictures.CLIPS)
    if options.marks.group:
        listed = groups.hold_out(listed, [{file.label} for file in listed], labels, SEED)
    teacher = distil.open_teacher(options.teacher, labels, pictures=True) if options.teacher else None
    examples, capped = pictures.load(listed, labels, distil.picture_labeller(teacher) if teacher else None)
    task = Task(
        examples=examples,
        labels=labels,
        files=listed,
        facts={**_facts(options, labels, listed), "decoder": "classify", "picture": pictures.PICTURE},
        capped=capped,
        normalise=pictures.normalised,
        vary=pictures.vary,
        make_network=lambda: pictures.network(len(labels)),
        golden_inputs=lambda inputs: pictures.random_squares(GOLDEN),
        budget=learn.PICTURES,
    )
    return task, teacher


def _reading_task(options: FolderOptions) -> tuple[Task, distil.Teacher | None]:
    labels, listed = _list_files(options, readings.SUFFIXES)
    teacher = distil.open_teacher(options.teacher, labels, pictures=False) if options.teacher else None
    labeller = partial(distil.recording_labeller, teacher) if teacher else None
    loaded = readings.load(listed, labels, labeller, options.marks, options.window)
    examples, channels = loaded.examples, loaded.channels
    mean, std = readings.scale(examples.inputs[~examples.test])
    length = examples.inputs.shape[1]
    window = {"channels": list(channels), "length": length, "hop": options.window.hop}
    window |= {"rate_hz": loaded.rate_hz} if loaded.rate_hz else {}
    window |= {"mean": mean.tolist(), "std": std.tolist()}

    def normalise(windows: Array) -> Array:
        return readings.normalised(windows, mean, std)

    task = Task(
        examples=examples,
        labels=labels,
        files=loaded.files,
        facts={**_facts(options, labels, loaded.files), "decoder": "sequence", "window": window},
        capped=loaded.capped,
        normalise=normalise,
        vary=None,
        make_network=lambda: readings.network((length, len(channels)), len(labels)),
        golden_inputs=lambda inputs: normalise(inputs[np.linspace(0, len(inputs) - 1, GOLDEN).astype(int)]),
        budget=learn.READINGS,
    )
    return task, teacher


def _list_files(options: FolderOptions, suffixes: tuple[str, ...]) -> tuple[list[str], list[files.File]]:
    """Labels and files; without a teacher nothing can be learned from files that have no label."""
    labels, listed = files.list_files(options.folder, suffixes, SEED, options.marks.events)
    if options.marks.group:
        listed = groups.name_groups(listed, options.folder, options.marks.group)
    useful = [file for file in listed if file.label >= 0 or options.teacher]
    if len(useful) < len(listed):
        files.warn(f"{options.folder / files.UNLABELLED}: skipped; it takes a --teacher to learn from it")
    return labels, useful


def _facts(options: FolderOptions, labels: list[str], listed: list[files.File]) -> dict[str, Any]:
    taught = f", taught by {Path(options.teacher).name}" if options.teacher else ""
    return {
        "version": "1.0.0",
        "licence": "unknown: state it before you hand this on",
        "labels": labels,
        "budget_ms": 10.0,
        "data": f"folder {options.folder.resolve().name}: {len(listed)} files{taught}",
    }


def _trained(task: Task, teacher: distil.Teacher | None, epochs: int) -> tuple[dict[str, engine.KerasModel], Array]:
    """Networks by stage, and the inputs that show the quantiser every range. Distilled where there is a teacher."""
    training = task.examples.part(np.logical_not(task.examples.test))
    labelled = training.part(training.labels >= 0)
    hard = distil.targets(labelled.labels, np.zeros_like(labelled.soft_labels), [])
    networks = {"float": learn.fit(task.make_network(), task, labelled, hard, epochs, 1.0, "train")}
    best, used, targets = networks["float"], labelled, hard
    if teacher:
        targets = distil.targets(training.labels, training.soft_labels, distil.covered_labels(teacher))
        useful = targets.any(axis=1)  # a sample with neither a label nor soft labels teaches nothing
        used, targets = training.part(np.asarray(useful)), targets[useful]
        networks["distilled"] = best = learn.fit(prune(best, 1.0), task, used, targets, epochs, 0.5, "distil")
    networks["pruned"] = learn.fit(prune(best, KEEP), task, used, targets, epochs, 0.5, "prune")
    return networks, task.normalise(used.inputs[learn.random_rows(len(used.inputs), engine.CALIBRATION)])


def _report(content: bytes, inputs: Array, held_out: Examples) -> Report:
    network = Network(content)
    ms = network.median_ms(inputs, 300)
    return Report(bytes=len(content), ms=ms, **count_right(network(inputs), held_out)._asdict())
