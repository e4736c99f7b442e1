"""Changes single values of reflexd.yaml in its text, so that comments, order and layout stay as somebody wrote them."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent import yamlfile
from agent.box import private
from agent.yamlfile import Place, YamlError

PLAIN = re.compile("[A-Za-z][A-Za-z0-9_-]*")
WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")  # no text to some parser of YAML


class EditError(Exception):
    """The text cannot be changed safely; the message is for people."""


def changed(path: Path, changes: Mapping[Place, Any]) -> bytes:
    """The file's text with these values: scalars, or dictionaries and lists of them, which are written in one line.

    A key that is not there yet is added to its section. Raises EditError where anything else would change, YamlError.
    """
    before = yamlfile.read(path)
    text, expected = path.read_bytes().decode("utf-8"), before.data
    for place, value in changes.items():
        expected = _with_value(expected, place, value)
        text = _edited(text, place, value, before.at(place))
    by_hand = f"{path}: its lines cannot be changed safely: change {_listed(changes)} by hand"
    try:
        after = yamlfile.parse(text.encode(), path).data
    except YamlError as error:
        raise EditError(by_hand) from error
    if after != expected:  # an anchor that two lanes share, or a mark at the beginning of the file
        raise EditError(by_hand)
    return text.encode()


def _listed(changes: Mapping[Place, Any]) -> str:
    return ", ".join(f"{'.'.join(map(str, place))} to {_flow(value)}" for place, value in changes.items())


def _flow(value: Any, quoted: bool = False) -> str:
    """As YAML in one line. quoted: as in JSON; else text and keys have quotes only where they need them."""
    if isinstance(value, Mapping):
        keys = {key: json.dumps(key) if quoted else key for key in value}
        return "{" + ", ".join(f"{keys[key]}: {_flow(inner, quoted)}" for key, inner in value.items()) + "}"
    if isinstance(value, str) and not quoted and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return json.dumps(value)


def _with_value(data: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    inner = data.get(place[0]) if isinstance(data, dict) else None
    return {**(data if isinstance(data, dict) else {}), place[0]: _with_value(inner, place[1:], value)}


def _edited(text: str, place: Place, value: Any, where: str) -> str:
    from ruamel.yaml import YAML  # slow to import: only where YAML is changed

    node: Any = YAML(typ="rt", pure=True).compose(text)
    for depth, key in enumerate(place):
        pairs = node.value if isinstance(getattr(node, "value", None), list) else None
        if pairs is None or not all(isinstance(pair, tuple) for pair in pairs):
            raise EditError(f"{where}: expected lines of 'key: value' here: change it by hand")
        matches = [inner for name, inner in pairs if name.value == str(key)]
        if not matches:
            for missing in reversed(place[depth + 1 :]):
                value = {missing: value}
            return _inserted(text, node, str(key), value)
        node = matches[0]
    return _replaced(text, node, _flow(value, getattr(node, "style", None) == '"'))


def _replaced(text: str, node: Any, value: str) -> str:
    begin, end = int(node.start_mark.index), int(node.end_mark.index)
    return text[:begin] + value + text[begin:end][len(text[begin:end].rstrip()) :] + text[end:]


def _inserted(text: str, section: Any, key: str, value: Any) -> str:
    """With the key behind the section's `model`, or else before its first key."""
    if section.flow_style:
        last = int(section.value[-1][1].end_mark.index if section.value else section.start_mark.index + 1)
        entry = _flow({key: value}, quoted=text.lstrip().startswith("{"))[1:-1]  # a whole file in JSON stays one
        return text[:last] + (", " if section.value else "") + entry + text[last:]
    entry = _flow({key: value})[1:-1]
    first = section.value[0][0].start_mark
    space, line_end = " " * int(first.column), "\r\n" if "\r\n" in text else "\n"
    model = next((inner for name, inner in section.value if name.value == "model"), None)
    if model is None:
        at = int(first.index)
        return text[:at] + entry + line_end + space + text[at:]
    after = text.find("\n", int(model.end_mark.index)) + 1
    if not after:
        return text + line_end + space + entry + line_end
    return text[:after] + space + entry + line_end + text[after:]


def write(path: Path, content: bytes) -> Path:
    """Keeps a backup beside the file, which is returned, and the file's owner and mode. Raises OSError."""
    path = path.resolve()
    before = path.stat()
    backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}.bak")
    private.write(backup, path.read_bytes())
    draft = path.with_name(f".{path.name}.draft")
    private.write(draft, content)
    os.chmod(draft, stat.S_IMODE(before.st_mode))
    if (os.geteuid(), os.getegid()) != (before.st_uid, before.st_gid) and os.geteuid() == 0:
        os.chown(draft, before.st_uid, before.st_gid)
    os.replace(draft, path)
    return backup
