"""One file for the boxes of a site: what all have, and under `boxes` what each has besides or instead.

Mappings are joined key by key; any other value, a list too, replaces the common one; `null` removes it. A mapping that
names its `driver` replaces the common one whole, as the options of two drivers do not mix. A box's `node` is its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agent.yamlfile import NAME, Document, Place

BOXES = "boxes"


def box_documents(document: Document) -> tuple[dict[str, Document], list[str]]:
    """(each box's configuration, whose lines are those of the file, mistakes)."""
    boxes = document.data.get(BOXES)
    if not isinstance(boxes, dict) or not boxes:
        return {}, [f"{document.at((BOXES,))}: '{BOXES}': expected a name for each box, with what it has of its own"]
    mistakes = list(_misplaced(document, boxes))
    made = {}
    for box, overlay in boxes.items():
        if re.fullmatch(NAME, box) and isinstance(overlay or {}, dict):
            made[box], wrong = _box_document(document, box, overlay or {})
            mistakes += wrong
    return made, mistakes


def _misplaced(document: Document, boxes: dict[str, Any]) -> Iterator[str]:
    if "node" in document.data:
        yield f"{document.at(('node',))}: 'node': all boxes would have this name: leave it out, it is the box's name"
    for box, overlay in boxes.items():
        where = document.at((BOXES, box))
        if not re.fullmatch(NAME, box):
            yield f"{where}: name of a box: expected 1 to 32 letters, digits, '_', '.', '-'"
        if not isinstance(overlay or {}, dict):
            yield f"{where}: '{BOXES}.{box}': expected lines of 'key: value', or nothing"


def _box_document(document: Document, box: str, overlay: dict[str, Any]) -> tuple[Document, list[str]]:
    prefix = (BOXES, box)
    common = {key: value for key, value in document.data.items() if key not in (BOXES, "node")}
    joined = _Joined(document, prefix)
    data = joined.values(common, {"node": box, **overlay}, ())
    lines = {place: line for place, line in document.lines.items() if place[:1] != (BOXES,)}
    for replaced in joined.replaced:
        depth = len(replaced)
        lines = {place: line for place, line in lines.items() if place[:depth] != replaced}
        lines |= _below(document.lines, (*prefix, *replaced), len(prefix))
    lines.setdefault(("node",), document.lines.get(prefix, 1))
    return Document(document.path, data, lines), joined.mistakes


def _below(lines: dict[Place, int], top: Place, cut: int) -> dict[Place, int]:
    """Those of a place and all in it, without the first steps of their places."""
    return {place[cut:]: line for place, line in lines.items() if place[: len(top)] == top}


class _Joined:
    """replaced: places at which the overlay's value stands alone."""

    def __init__(self, document: Document, prefix: Place) -> None:
        self.document, self.prefix = document, prefix
        self.replaced: list[Place] = []
        self.mistakes: list[str] = []

    def values(self, common: dict[str, Any], overlay: dict[str, Any], place: Place) -> dict[str, Any]:
        result = dict(common)
        for key, value in overlay.items():
            here = (*place, key)
            old = result.get(key)
            if value is None:
                self._check_removal(key in result, here)
                result.pop(key, None)
            elif isinstance(old, dict) and isinstance(value, dict) and "driver" not in value:
                result[key] = self.values(old, value, here)
            else:
                result[key] = value
                self.replaced.append(here)
        return result

    def _check_removal(self, known: bool, place: Place) -> None:
        if not known:
            where = self.document.at((*self.prefix, *place))
            self.mistakes.append(f"{where}: '{'.'.join(map(str, place))}' is not in the common part: nothing to remove")
