"""`python -m agent.web.models NAME FOLDER ...`: the facts of each package for the browser, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from agent import redact
from agent.errors import PackageError
from agent.modeltools import show
from agent.packages import engines, package
from agent.packages.package import Package

EQUAL = 0.005  # of the tolerance


def facts(name: str, folder: Path) -> dict[str, Any]:
    """As `reflexd model show`, with the times of the engines and what its golden outputs gave."""
    card = (folder / "CARD.md").is_file()
    try:
        opened = package.open_package(folder)
        return {**show.facts(opened, folder), "name": name, **_proof(opened, folder), "card": card, "error": ""}
    except PackageError as error:
        return {"name": name, "card": card, "error": redact.message(str(error))}


def _proof(opened: Package, folder: Path) -> dict[str, Any]:
    return {"golden": _golden(opened.golden), "engines": engines.remembered(folder, opened.manifest)}


def _golden(worst: float | None) -> str:
    """worst: difference to the golden outputs, in tolerances."""
    if worst is None:
        return "missing"
    return "good: the same" if worst < EQUAL else f"good: within {worst:.0%} of the tolerance"


def main() -> int:
    names = sys.argv[1::2]
    print(json.dumps([facts(name, Path(folder)) for name, folder in zip(names, sys.argv[2::2])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
