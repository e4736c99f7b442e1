"""`python -m models.train NAME` makes the bundled package models/NAME anew: same data, same seed, same package.

`python -m models.train evaluate NAME --data DIR` measures it on other data that is laid out alike.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path
from types import ModuleType

from models.train.data import SHARED, DataError

HERE = Path(__file__).parent


def recipes() -> list[str]:
    """Each is a folder with make.py: make(package's folder), and evaluate.py: evaluate(package's folder, data) -> figures."""
    return sorted(path.parent.name.replace("_", "-") for path in HERE.glob("*/make.py"))


def module(name: str, part: str) -> ModuleType:
    return importlib.import_module(f"models.train.{name.replace('-', '_')}.{part}")


def make(name: str) -> None:
    module(name, "make").make(HERE.parent / name)


def evaluate(name: str, data: Path, as_json: bool) -> None:
    figures = module(name, "evaluate").evaluate(HERE.parent / name, data)
    print(json.dumps(figures, indent=2) if as_json else "\n".join(plain(figures)))


def plain(figures: object, indent: str = "") -> list[str]:
    """One line a figure; groups indented."""
    if not isinstance(figures, dict):
        return [f"{indent}{figures}"]
    lines = []
    for key, value in figures.items():
        lines += [f"{indent}{key}:", *plain(value, indent + "  ")] if isinstance(value, dict) else [f"{indent}{key}: {value}"]
    return lines


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("name", nargs="+", metavar="NAME | evaluate NAME", help=f"one of: {', '.join(recipes())}")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder to evaluate on (default: ../shared/data)")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    told = parser.parse_args(words)
    name = told.name[-1]
    if name not in recipes() or told.name[:-1] not in ([], ["evaluate"]):
        parser.error(f"expected [evaluate] NAME, with NAME one of: {', '.join(recipes())}")
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)  # thousands of them are injected here
    try:
        if told.name[0] == "evaluate":
            evaluate(name, told.data, told.json)
        else:
            make(name)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
