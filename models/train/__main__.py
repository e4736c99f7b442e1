"""`python -m models.train NAME` rebuilds the bundled package models/NAME: same data, same seed, same package.

`python -m models.train evaluate NAME --data DIR` measures it on other data with the same layout.
`python -m models.train --from-folder DIR --task classify|sequence` makes a package from your own files.
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
    options = folder.FolderOptions(
        folder=arguments.folder,
        task=arguments.task,
        teacher=arguments.teacher,
        into=arguments.into,
        name=name,
        epochs=arguments.epochs,
    )
    figures = folder.make(options)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print((options.place / "CARD.md").read_text())
    print(f"wrote {options.place}; next: reflexd model verify {options.place}")


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="NAME | evaluate NAME", help=f"NAME is one of: {', '.join(_recipes())}"
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder to evaluate on (default: ../shared/data)")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    _add_folder_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.folder:
        if arguments.words or not arguments.task:
            parser.error("--from-folder needs --task classify or --task sequence, and no NAME")
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


def main(argv: list[str]) -> int:
    arguments = _parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow logs at length what it detects on this machine
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)  # thousands of faults are injected here
    try:
        if arguments.folder:
            _from_folder(arguments)
        elif arguments.words[0] == "evaluate":
            _evaluate(arguments.words[-1], arguments.data, arguments.json)
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
