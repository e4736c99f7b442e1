"""Writes the CARD.md of a package that was made from a user's folder."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from agent.box.machine import processor
from models.train import card, distil
from models.train.folder.examples import Counts, Report, count_by_group
from models.train.folder.learn import Task
from models.train.folder.options import FolderOptions
from models.train.network import Network

LIMITS = """
- These figures hold for files like yours: same place, same machine, same light. Record some elsewhere and test again.
- {split}
- Small networks with fixed settings; nothing was tuned on the held-out files.
- Not for protecting persons by itself.
"""
RANDOM = (
    "Files were split at random. If many were recorded in one session they resemble each other, and the truth is worse."
)
UNSET = {"--hop": "1"}
GROUPED = "Whole groups were held out. With few of them chance decides which: record more before you rely on a figure."


def write(
    options: FolderOptions, task: Task, teacher: distil.Teacher | None, shipped: Network, reports: dict[str, Report]
) -> dict[str, Any]:
    """CARD.md and confusion.png; the same figures, fit for JSON."""
    held_out = task.examples.part(task.examples.test)
    scores = shipped(task.normalise(held_out.inputs))
    predicted = scores.argmax(axis=1)
    by_group = count_by_group(scores, held_out, [file.group for file in task.files])
    matrix = card.confusion(held_out.labels, predicted, len(task.labels))
    card.draw_confusion(matrix, task.labels, options.place / "confusion.png")
    trade, events = _trade(reports), _has_events(task)
    sections = {
        "Data and split": _data(task),
        "Teacher": _teacher_text(task, teacher) if teacher else "None.",
        "Held-out files": f"{_table(reports, events)}\n\n{trade}\n\n{_note()}\n\n![confusion of labels](confusion.png)",
        **({"Held-out groups": _groups(by_group, events)} if by_group else {}),
        "Limits": LIMITS.format(split=GROUPED if by_group else RANDOM),
    }
    kind = "picture" if options.task == "classify" else "window of readings"
    summary = f"Classifies a {kind} into {len(task.labels)} labels: {', '.join(task.labels)}."
    card.write(options.place, summary, sections, made_by=_command(options), echo=False)
    return _figures(options, task, teacher, reports, trade) | {"groups": figures_of(by_group)}


def _figures(
    options: FolderOptions, task: Task, teacher: distil.Teacher | None, reports: dict[str, Report], trade: str
) -> dict[str, Any]:
    sides = [("train", False), ("test", True)]
    return {
        "package": str(options.place),
        "labels": task.labels,
        "files": {side: sum(file.test == test and file.label >= 0 for file in task.files) for side, test in sides},
        "unlabelled": sum(file.label < 0 for file in task.files),
        "capped": task.capped,
        "teacher": teacher and {"name": teacher.package.name, "labels": teacher.columns, **_agreement(task, teacher)},
        "networks": {name: report._asdict() for name, report in reports.items()},
        "trade": trade,
    }


def _command(options: FolderOptions) -> str:
    marks, window = options.marks, options.window
    given = [
        ("--teacher", options.teacher),
        ("--group", marks.group),
        ("--events", ",".join(marks.events)),
        ("--label-column", marks.label_column),
        ("--recorded-hz", f"{marks.recorded_hz:g}"),
        ("--length", f"{window.length}"),
        ("--window-ms", f"{window.window_ms:g}"),
        ("--rate-hz", f"{window.rate_hz:g}"),
        ("--hop", f"{window.hop}"),
    ]
    words = ["--from-folder", options.folder.name, "--task", options.task]
    words += [word for name, value in given for word in (name, value) if value not in ("", "0", UNSET.get(name))]
    return "python -m models.train " + shlex.join(words)


def figures_of(by_group: dict[str, Counts]) -> dict[str, Any]:
    """Counts of each held-out group, with 95 % intervals of their shares."""
    return {
        name: {
            **counts._asdict(),
            "interval_95": [round(share, 4) for share in card.wilson(counts.right, counts.of)],
            "files_interval_95": [round(share, 4) for share in card.wilson(counts.files_right, counts.files_of)],
        }
        for name, counts in by_group.items()
    }


def _groups(by_group: dict[str, Counts], events: bool) -> str:
    header = "", "samples labelled correctly", f"whole {_what(events)} correctly"
    rows = [
        (name, card.percent(counts.right, counts.of), card.percent(counts.files_right, counts.files_of))
        for name, counts in by_group.items()
    ]
    text = (
        "No sample of these groups was learned from. How the rows differ says more of the next group than an interval."
    )
    return f"{card.table(header, rows)}\n\n{text}"


def _data(task: Task) -> str:
    rows = []
    for number, label in enumerate(task.labels):
        mine = task.examples.part(task.examples.labels == number)
        counts = [len(np.unique(mine.units[mine.test == test])) for test in (False, True)]
        samples = [int((mine.test == test).sum()) for test in (False, True)]
        rows.append((label, *counts, *samples))
    unlabelled = sum(file.label < 0 for file in task.files)
    what = _what(_has_events(task))
    lines = [
        f"Your {task.facts['data']}; state the licence in manifest.yaml.\n{_held_out(task)}",
        card.table(("label", f"{what} to learn", f"{what} held out", "samples to learn", "samples held out"), rows),
    ]
    lines += [f"Also {unlabelled} files without a label, which the teacher labelled."] if unlabelled else []
    lines += ["Capped: " + "; ".join(task.capped) + "."] if task.capped else []
    return "\n\n".join(lines)


def _held_out(task: Task) -> str:
    held_out = sorted({file.group for file in task.files if file.test})
    if not any(held_out):
        return "Whole files were held out, at random."
    others = len({file.group for file in task.files}) - len(held_out)
    return f"Whole groups were held out, at random: {', '.join(held_out)}; learned from: {others} others."


def _what(events: bool) -> str:
    return "files or events" if events else "files"


def _has_events(task: Task) -> bool:
    of_files = np.array([file.label for file in task.files])
    return bool((of_files[task.examples.files] != task.examples.labels).any())


def _agreement(task: Task, teacher: distil.Teacher) -> dict[str, int]:
    """How many of the labelled samples the teacher alone labels correctly: to learn from, and held out."""
    counts = {}
    covered = distil.covered_labels(teacher)
    for side, test in (("train", False), ("test", True)):
        part = task.examples.part(task.examples.test == test)
        counts[f"{side}_right"], counts[f"{side}_of"] = distil.agreement(part.labels, part.soft_labels, covered)
    return counts


def _teacher_text(task: Task, teacher: distil.Teacher) -> str:
    counts, covered = _agreement(task, teacher), distil.covered_labels(teacher)
    labels = "; ".join(f"its '{theirs}' is '{task.labels[ours]}'" for theirs, ours in teacher.columns.items())
    rest = f"; '{task.labels[teacher.background]}' is when it detects nothing" if teacher.background >= 0 else ""
    others = [label for number, label in enumerate(task.labels) if number not in covered]
    unknown = f" It does not know {', '.join(others)}." if others else ""
    trusted = distil.is_trusted(counts["train_right"], counts["train_of"])
    use = "It was used" if trusted else f"{distil.MIN_AGREEMENT:.0%} of the former are needed, so it was not used"
    return (
        f"{teacher.package.name}: {labels}{rest}.{unknown}\n"
        "Of the samples with such a label it labels correctly, to learn from:\n"
        f"{card.percent(counts['train_right'], counts['train_of'])}; "
        f"held out: {card.percent(counts['test_right'], counts['test_of'])}.\n"
        f"{use} for samples without a label. Where it contradicts a label it is ignored.\n"
        f"Temperature {distil.TEMPERATURE:g}; {distil.TEACHER_SHARE:.0%} of the loss where a sample has a label, too."
    )


def _table(reports: dict[str, Report], events: bool) -> str:
    whole = f"whole {_what(events)} correctly"
    rows = []
    for name, report in reports.items():
        shares = card.percent(report.right, report.of), card.percent(report.files_right, report.files_of)
        rows.append((name, f"{report.bytes:,}", f"{report.ms:.4f}", *shares))
    return card.table(("", "bytes", "ms per inference", "samples labelled correctly", whole), rows)


def _trade(reports: dict[str, Report]) -> str:
    """Against the float network before pruning, the distilled one where there is one."""
    whole, small = reports.get("distilled", reports["float"]), reports["INT8"]
    return card.int8_tradeoff((whole.bytes, small.bytes), (whole.right, small.right), whole.of, (whole.ms, small.ms))


def _note() -> str:
    return (
        f"One thread, {processor()}. Pruned: half of the channels of each layer. INT8 is the pruned network, "
        "quantised;\nthe package has this one. Intervals are 95 %; samples of one file are alike, so rely on those of "
        "the files."
    )
