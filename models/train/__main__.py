"""`python -m models.train NAME` makes the bundled package models/NAME anew: same data, same seed, same package."""

import importlib
import logging
import sys
from pathlib import Path

HERE = Path(__file__).parent
RECIPES = sorted(path.stem.removeprefix("make_").replace("_", "-") for path in HERE.glob("make_*.py"))


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in RECIPES:
        print(f"usage: python -m models.train NAME, with NAME one of: {', '.join(RECIPES)}")
        return 2
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)  # thousands of them are injected here
    name = arguments[0]
    importlib.import_module(f"models.train.make_{name.replace('-', '_')}").make(HERE.parent / name)
    return 0


sys.exit(main(sys.argv[1:]))
