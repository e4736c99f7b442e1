"""`python -m models.train NAME` rebuilds the bundled package models/NAME: same data, same seed, same package.

`python -m models.train evaluate NAME --data DIR` measures it on other data with the same layout.
`python -m models.train --from-folder DIR --task classify|sequence` makes a package from your own files.
`python -m models.train evaluate --package DIR --data FOLDER` measures any package for such files on a folder of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType

from agent.errors import PackageError
from models.train.data import SHARED, DataError
from models.train.folder.options import FolderOptions, Marks, WindowOptions

HERE = Path(__file__).parent
TRAINING_LIBRARIES = {"tensorflow", "sklearn", "matplotlib", "tqdm", "onnx"}
INSTALL = "VENV=.venv-train scripts/setup train, then .venv-train/bin/python -m models.train ..."


def _recipes() -> list[str]:
    """Folders with make.py: make(package folder), and evaluate.py: evaluate(package folder, data) -> figures."""
    return sorted(path.parent.name.replace("_", "-") for path in HERE.glob("*/make.py") if path.parent.name != "folder")


def _module(name: str, part: str) -> ModuleType:
    return importlib.import_module(f"models.train.{name.replace('-', '_')}.{part}")


def _make(name: str) -> None:
    _module(name, "make").make(HERE.parent / name)


def _evaluate(name: str, data: Path, as_json: bool) -> None:
    figures = _module(name, "evaluate").evaluate(HERE.parent / name, data)
    print(json.dumps(figures, indent=2) if as_json else "\n".join(_as_text(figures)))


def _as_text(figures: object, indent: str = "") -> list[str]:
    """One line for each figure; groups are indented."""
    if not isinstance(figures, dict):
        return [f"{indent}{figures}"]
    lines = []
    for key, value in figures.items():
        lines += (
            [f"{indent}{key}:", *_as_text(value, indent + "  ")]
            if isinstance(value, dict)
            else [f"{indent}{key}: {value}"]
        )
    return lines


def _from_folder(arguments: argparse.Namespace) -> None:
    """Make a package from the user's files."""
    name = arguments.name or f"{arguments.folder.resolve().name}-model"
    folder = importlib.import_module("models.train.folder.make")
    options = FolderOptions(
        folder=arguments.folder,
        task=arguments.task,
        teacher=arguments.teacher,
        into=arguments.into,
        name=name,
        epochs=arguments.epochs,
        marks=_marks(arguments),
        window=WindowOptions(arguments.length, arguments.window_ms, arguments.rate_hz, arguments.hop),
    )
    figures = folder.make(options)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print((options.place / "CARD.md").read_text())
    print(f"wrote {options.place}; next: reflexd model verify {options.place}")


def _marks(arguments: argparse.Namespace) -> Marks:
    return Marks(arguments.group, arguments.events, arguments.label_column, arguments.recorded_hz)


def _evaluate_own(arguments: argparse.Namespace) -> None:
    """Measure the user's package on the user's files."""
    own = importlib.import_module("models.train.folder.evaluate")
    figures = own.evaluate(arguments.package, arguments.data, _marks(arguments))
    print(json.dumps(figures, indent=2) if arguments.json else "\n".join(_as_text(figures)))


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="NAME | evaluate NAME", help=f"NAME is one of: {', '.join(_recipes())}"
    )
    parser.add_argument("--data", type=Path, help="folder to evaluate on (of NAME: ../shared/data by default)")
    parser.add_argument("--package", type=Path, metavar="DIR", help="evaluate this package, with --data FOLDER")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    _add_folder_options(parser)
    _add_mark_options(parser)
    _add_window_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.folder:
        if arguments.words or not arguments.task:
            parser.error("--from-folder needs --task classify or --task sequence, and no NAME")
    elif arguments.package:
        if arguments.words != ["evaluate"] or not arguments.data:
            parser.error("--package is for: evaluate --package DIR --data FOLDER")
    elif not arguments.words or arguments.words[-1] not in _recipes() or arguments.words[:-1] not in ([], ["evaluate"]):
        parser.error(f"expected [evaluate] NAME, with NAME one of: {', '.join(_recipes())}; or --from-folder DIR")
    return arguments


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    folder = parser.add_argument_group("make a package from a folder with a sub-folder for each label")
    folder.add_argument("--from-folder", dest="folder", type=Path, metavar="DIR")
    folder.add_argument(
        "--task", choices=("classify", "sequence"), help="classify: pictures and clips; sequence: csv files of readings"
    )
    folder.add_argument(
        "--teacher",
        default="",
        metavar="PACKAGE",
        help="a package that labels DIR/unlabelled and adds soft labels to the rest",
    )
    folder.add_argument("--name", default="", help="name of the new package (default: name of DIR, then -model)")
    folder.add_argument(
        "--into",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="write the package folder here (default: current folder)",
    )
    folder.add_argument(
        "--epochs", type=int, default=0, help="training epochs (default: chosen for one to two minutes of training)"
    )


def _add_mark_options(parser: argparse.ArgumentParser) -> None:
    marks = parser.add_argument_group("what the files of such a folder are, to make and to evaluate a package")
    marks.add_argument(
        "--group",
        default="",
        metavar="PATTERN",
        help="regular expression for paths in DIR; its named or first bracket is the person, machine or day: whole"
        " groups are held out",
    )
    marks.add_argument(
        "--events",
        type=_names,
        default=(),
        metavar="LABEL,...",
        help="labels that only events in files have; FILE.events.csv beside FILE.csv has start_s,end_s,label",
    )
    marks.add_argument("--label-column", default="", metavar="NAME", help="column of csv files with labels of events")
    marks.add_argument(
        "--recorded-hz", type=_positive, default=0.0, metavar="HZ", help="rate of csv files without a column t_s"
    )


def _add_window_options(parser: argparse.ArgumentParser) -> None:
    window = parser.add_argument_group("windows of readings, for --task sequence")
    length = window.add_mutually_exclusive_group()
    length.add_argument("--length", type=_count, default=0, metavar="N", help="readings in a window (default: 32)")
    length.add_argument("--window-ms", type=_positive, default=0.0, metavar="MS", help="the same as a time")
    window.add_argument(
        "--rate-hz",
        type=_positive,
        default=0.0,
        metavar="HZ",
        help="at which the model reads; faster recordings are filtered and thinned, as in a lane (default: the files')",
    )
    window.add_argument("--hop", type=_count, default=1, metavar="N", help="infer on every N-th reading (default: 1)")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}': expected names with commas between them")
    return names


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number above 0, and at most a million")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 100_000:
        raise argparse.ArgumentTypeError(f"'{text[:40]}': expected 1 to 100,000")
    return int(text)


def main(argv: list[str]) -> int:
    arguments = _parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow logs at length what it detects on this machine
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)  # thousands of faults are injected here
    try:
        if arguments.folder:
            _from_folder(arguments)
        elif arguments.package:
            _evaluate_own(arguments)
        elif arguments.words[0] == "evaluate":
            _evaluate(arguments.words[-1], arguments.data or SHARED, arguments.json)
        else:
            _make(arguments.words[0])
    except (DataError, PackageError) as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in TRAINING_LIBRARIES:
            raise
        print(f"training needs {error.name}: {INSTALL}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
