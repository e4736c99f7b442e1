"""`python -m models.train NAME` makes the bundled package models/NAME anew: same data, same seed, same package.

`python -m models.train evaluate NAME --data DIR` measures it on other data that is laid out alike.
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
EXTRA = {"tensorflow", "sklearn", "matplotlib", "tqdm"}
INSTALL = "VENV=.venv-train scripts/setup train, then .venv-train/bin/python -m models.train ..."


def _recipes() -> list[str]:
    """Each is a folder with make.py: make(package's folder), and evaluate.py: evaluate(package's folder, data) -> figures."""
    return sorted(path.parent.name.replace("_", "-") for path in HERE.glob("*/make.py") if path.parent.name != "folder")


def _module(name: str, part: str) -> ModuleType:
    return importlib.import_module(f"models.train.{name.replace('-', '_')}.{part}")


def make(name: str) -> None:
    _module(name, "make").make(HERE.parent / name)


def evaluate(name: str, data: Path, as_json: bool) -> None:
    figures = _module(name, "evaluate").evaluate(HERE.parent / name, data)
    print(json.dumps(figures, indent=2) if as_json else "\n".join(_plain(figures)))


def _plain(figures: object, indent: str = "") -> list[str]:
    """One line a figure; groups indented."""
    if not isinstance(figures, dict):
        return [f"{indent}{figures}"]
    lines = []
    for key, value in figures.items():
        lines += (
            [f"{indent}{key}:", *_plain(value, indent + "  ")]
            if isinstance(value, dict)
            else [f"{indent}{key}: {value}"]
        )
    return lines


def _from_folder(told: argparse.Namespace) -> None:
    """A package from the user's own files."""
    name = told.name or f"{told.folder.resolve().name}-model"
    road = importlib.import_module("models.train.folder.make")
    asked = road.ViewOptions(told.folder, told.task, told.teacher, told.into, name, told.epochs)
    figures = road.make(asked)
    if told.json:
        print(json.dumps(figures, indent=2))
        return
    print((asked.place / "CARD.md").read_text())
    print(f"wrote {asked.place}; now: reflexd model verify {asked.place}")


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="NAME | evaluate NAME", help=f"NAME is one of: {', '.join(_recipes())}"
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder to evaluate on (default: ../shared/data)")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    own = parser.add_argument_group("from a folder with a sub-folder for each label")
    own.add_argument("--from-folder", dest="folder", type=Path, metavar="DIR")
    own.add_argument("--task", choices=("classify", "sequence"), help="pictures and clips, or csv files of readings")
    own.add_argument(
        "--teacher", default="", metavar="PACKAGE", help="learn from what it says, too, and of DIR/unlabelled"
    )
    own.add_argument("--name", default="", help="of the new package (default: DIR's name and -model)")
    own.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="where its folder goes (default: here)")
    own.add_argument("--epochs", type=int, default=0, help="default: as many as take a minute or two")
    told = parser.parse_args(words)
    if told.folder:
        if told.words or not told.task:
            parser.error("--from-folder takes --task classify or sequence, and no NAME")
    elif not told.words or told.words[-1] not in _recipes() or told.words[:-1] not in ([], ["evaluate"]):
        parser.error(f"expected [evaluate] NAME, with NAME one of: {', '.join(_recipes())}; or --from-folder DIR")
    return told


def main(words: list[str]) -> int:
    told = _parse(words)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow tells what it found on this machine, at length
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)  # thousands of them are injected here
    try:
        if told.folder:
            _from_folder(told)
        elif told.words[0] == "evaluate":
            evaluate(told.words[-1], told.data, told.json)
        else:
            make(told.words[0])
    except (DataError, PackageError) as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"training needs {error.name}: {INSTALL}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
