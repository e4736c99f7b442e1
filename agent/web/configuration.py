"""`python -m agent.web.configuration FILE`: its lines without secrets, and its mistakes by line, as JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from agent import redact
from agent.config.load import check_config
from agent.errors import ConfigError
from agent.field import collect

PLACED = re.compile(r"(.*?):(\d+): (.*)", re.DOTALL)


def examined(path: Path) -> dict[str, Any]:
    mistakes: list[str] = []
    warnings: list[str] = []
    try:
        _, warnings = check_config(path)
    except ConfigError as error:
        mistakes = error.mistakes
    try:
        lines = collect.masked_lines(path)
    except OSError as error:
        lines = []
        mistakes = mistakes or [f"{path}: {error.strerror}"]
    return {
        "path": str(path),
        "lines": lines,
        "mistakes": [_placed(text, path) for text in mistakes],
        "warnings": [_placed(text, path) for text in warnings],
    }


def _placed(text: str, path: Path) -> dict[str, Any]:
    """line: 0 for one that has none."""
    match = PLACED.match(redact.message(text))
    if match and match[1] == str(path):
        return {"line": int(match[2]), "text": match[3]}
    return {"line": 0, "text": redact.message(text)}


def main() -> int:
    print(json.dumps(examined(Path(sys.argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
