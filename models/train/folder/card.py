"""What the CARD.md of a package says that was made from a user's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.train import card, distil
from models.train.folder.examples import Report
from models.train.folder.learn import Task
from models.train.network import Network

if TYPE_CHECKING:
    from models.train.folder.make import ViewOptions

LIMITS = """
- These figures hold for files like yours: same place, same machine, same light. Record some elsewhere and look again.
- Files were split at random. If many were recorded in one go they resemble each other, and the truth is worse.
- Small networks with fixed settings; nothing was tuned on the held-out files.
- Not for protecting persons by itself.
"""


def write(
    asked: ViewOptions, task: Task, teacher: distil.Teacher | None, shipped: Network, reports: dict[str, Report]
) -> dict[str, Any]:
    """CARD.md and confusion.png; the same figures, fit for JSON."""
    held = task.examples.part(task.examples.test)
    guess = shipped(task.real(held.inputs)).argmax(axis=1)
    card.draw_confusion(card.confusion(held.labels, guess, len(task.labels)), task.labels, asked.place / "confusion.png")
    trade = _trade_of(reports)
    command = f"python -m models.train --from-folder {asked.folder.name} --task {asked.task}"
    command += f" --teacher {asked.teacher}" if asked.teacher else ""
    sections = {
        "Data and split": _data(task),
        "Teacher": _taught(task, teacher) if teacher else "None.",
        "Held-out files": f"{_table(reports)}\n\n{trade}\n\n{_note()}\n\n![what was taken for what](confusion.png)",
        "Limits": LIMITS,
    }
    kind = "picture" if asked.task == "classify" else "window of readings"
    summary = f"Says which of {len(task.labels)} labels a {kind} shows: {', '.join(task.labels)}."
    card.write(asked.place, summary, sections, made_by=command, echo=False)
    return _figures(asked, task, teacher, reports, trade)


def _figures(
    asked: ViewOptions, task: Task, teacher: distil.Teacher | None, reports: dict[str, Report], trade: str
) -> dict[str, Any]:
    sides = [("train", False), ("test", True)]
    return {
        "package": str(asked.place),
        "labels": task.labels,
        "files": {side: sum(file.test == test and file.label >= 0 for file in task.files) for side, test in sides},
        "unlabelled": sum(file.label < 0 for file in task.files),
        "capped": task.capped,
        "teacher": teacher and {"name": teacher.package.name, "labels": dict(teacher.columns), **_heard(task, teacher)},
        "networks": {name: report._asdict() for name, report in reports.items()},
        "trade": trade,
    }


def _data(task: Task) -> str:
    rows = []
    for number, label in enumerate(task.labels):
        counts = [sum(file.label == number and file.test == test for file in task.files) for test in (False, True)]
        samples = [
            int(((task.examples.labels == number) & (task.examples.test == test)).sum()) for test in (False, True)
        ]
        rows.append((label, *counts, *samples))
    loose = sum(file.label < 0 for file in task.files)
    lines = [
        f"Your {task.facts['data']}; the licence is yours to state in manifest.yaml.\nWhole files were held out, at random.",
        card.table(("label", "files to learn", "files held out", "samples to learn", "samples held out"), rows),
    ]
    lines += [f"Besides {loose} files without a label, of which the teacher spoke."] if loose else []
    lines += ["Capped: " + "; ".join(task.capped) + "."] if task.capped else []
    return "\n\n".join(lines)


def _heard(task: Task, teacher: distil.Teacher) -> dict[str, int]:
    """What the teacher alone says of the labelled samples: those to learn from, and the held-out ones."""
    told = {}
    for side, test in (("train", False), ("test", True)):
        part = task.examples.part(task.examples.test == test)
        told[f"{side}_right"], told[f"{side}_of"] = distil.agreement(part.labels, part.said, distil.covered_labels(teacher))
    return told


def _taught(task: Task, teacher: distil.Teacher) -> str:
    told = _heard(task, teacher)
    known = "; ".join(f"its '{theirs}' is '{task.labels[ours]}'" for theirs, ours in teacher.columns.items())
    rest = f"; '{task.labels[teacher.background]}' is when it finds nothing" if teacher.background >= 0 else ""
    without = [label for number, label in enumerate(task.labels) if number not in distil.covered_labels(teacher)]
    blind = f" It does not know {', '.join(without)}." if without else ""
    trusted = distil.is_trusted(told["train_right"], told["train_of"])
    loose = "It was believed" if trusted else f"{distil.MIN_AGREEMENT:.0%} of the former are needed, so it was not believed"
    return (
        f"{teacher.package.name}: {known}{rest}.{blind}\nOf the samples with such a label it names rightly, to learn from:\n"
        f"{card.percent(told['train_right'], told['train_of'])}; held out: {card.percent(told['test_right'], told['test_of'])}.\n"
        f"{loose} about samples without a label. Where it contradicts a label it is not heard.\n"
        f"Temperature {distil.TEMPERATURE:g}; {distil.TEACHER_SHARE:.0%} of the loss where a sample has a label, too."
    )


def _table(reports: dict[str, Report]) -> str:
    rows = []
    for name, each in reports.items():
        shares = card.percent(each.right, each.of), card.percent(each.files_right, each.files_of)
        rows.append((name, f"{each.bytes:,}", f"{each.ms:.4f}", *shares))
    return card.table(("", "bytes", "ms an inference", "samples named rightly", "whole files named rightly"), rows)


def _trade_of(reports: dict[str, Report]) -> str:
    """Against the float network before pruning, the distilled one where there is one."""
    whole, small = reports.get("distilled", reports["float"]), reports["INT8"]
    return card.int8_tradeoff((whole.bytes, small.bytes), (whole.right, small.right), whole.of, (whole.ms, small.ms))


def _note() -> str:
    return (
        f"One thread, {card.processor()}. Pruned: half of the channels of each layer. INT8 is the pruned one, quantised;\n"
        "it is what this package has. Intervals are 95 %; samples of one file are alike, so the files' are the honest ones."
    )
