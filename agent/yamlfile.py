"""Reads YAML into plain values with line numbers; imports nothing slow, so that `reflexd status` stays quick."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from agent.box import files

MAX_BYTES = 200_000  # for which the slow parser needs two seconds
MAX_NODES = 20_000  # an alias counts each time it is used: this stops a "billion laughs" file
MAX_DEPTH = 20
MAX_UNCLOSED = 500  # the parser takes minutes for 60,000 before it gives up

# What the parser raises, besides its own error, for hostile text.
PARSER_BUGS = (ValueError, TypeError, RecursionError, LookupError, AttributeError, NotImplementedError, AssertionError)

REFERENCE_ADVICE = (
    "for a secret kept elsewhere write '${NAME}' and set NAME in EnvironmentFile= or LoadCredential= of the service"
)

Place = tuple[str | int, ...]
NAME = r"^[A-Za-z0-9_.-]{1,32}$"  # of a box, a lane, an actuator, a rule, a zone


class YamlError(Exception):
    """The file cannot be read as configuration; the text has file:line."""


class Document(NamedTuple):
    """lines: line number of each key."""

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int]

    def at(self, place: Place) -> str:
        """file:line of the key, or of the nearest key above it."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"


def read(path: Path) -> Document:
    """Only plain dicts, lists, strings, numbers and booleans. Raises YamlError."""
    try:
        with files.open_regular(path, sys.maxsize) as file:
            raw = file.read(MAX_BYTES + 1)
    except files.BadFile as error:
        cause = error.__cause__
        raise YamlError(f"{path}: {cause.strerror if isinstance(cause, OSError) else error}") from cause
    except OSError as error:
        raise YamlError(f"{path}: {error.strerror}") from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> Document:
    from ruamel.yaml import YAML  # slow to import: only where YAML is read
    from ruamel.yaml.error import YAMLError

    if len(raw) > MAX_BYTES:
        raise YamlError(f"{path}: larger than {MAX_BYTES} bytes: not a configuration")
    if _unclosed(raw) > MAX_UNCLOSED:
        raise YamlError(f"{path}: not valid YAML: more than {MAX_UNCLOSED} brackets are not closed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the file
            tree = YAML(typ="rt", pure=True).load(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except YAMLError as error:
        raise YamlError(f"{path}:{_line_of(error)}: not valid YAML: {_problem(error, raw)}") from None
    except PARSER_BUGS as error:
        raise YamlError(f"{path}: not valid YAML: {type(error).__name__} in the parser") from None
    converter = _Converter(path)
    data = converter.plain(tree, (), 1)
    if data is None:
        raise YamlError(f"{path}:1: the file is empty: expected 'key: value' lines")
    if not isinstance(data, dict):
        actual = {str: "text", list: "a list", bool: "true or false"}.get(type(data), "a number")
        raise YamlError(f"{path}:1: expected 'key: value' lines, found {actual}")
    return Document(path, data, converter.lines)


def _unclosed(raw: bytes) -> int:
    """The most brackets open at once, those in texts counted, too."""
    steps = (1 if byte in b"[{" else -1 for byte in raw if byte in b"[{]}")
    return max(accumulate(steps), default=0)


class _Converter:
    """Turns the parser's tree into plain values and records the line of each key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Place, int] = {}
        self.nodes = 0

    def plain(self, node: Any, place: Place, line: int) -> Any:
        self.nodes += 1
        self.lines[place] = line
        if self.nodes > MAX_NODES or len(place) > MAX_DEPTH:
            raise YamlError(
                f"{self.path}:{line}: more than {MAX_NODES} values or {MAX_DEPTH} levels: not a configuration"
            )
        tag = getattr(getattr(node, "tag", None), "value", None)
        if tag:
            raise self._not_plain(line, str(tag))
        if isinstance(node, dict):
            keys = [self._key(k, _row(node, k, line)) for k in node]
            if len(set(keys)) < len(keys):
                raise YamlError(f"{self.path}:{line}: a key appears twice, as a number and as text")
            return {key: self.plain(v, (*place, key), _row(node, k, line)) for key, (k, v) in zip(keys, node.items())}
        if isinstance(node, list):
            return [self.plain(v, (*place, i), _row(node, i, line)) for i, v in enumerate(node)]
        return self._scalar(node, line)

    def _key(self, key: Any, line: int) -> str:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise YamlError(f"{self.path}:{line}: a key must be a plain word, not {type(key).__name__}")
        return str(key)

    def _scalar(self, node: Any, line: int) -> Any:
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        if type(node).__name__ == "ScalarBoolean":
            return bool(node)
        if node is None:
            return None
        raise self._not_plain(line)

    def _not_plain(self, line: int, tag: str = "") -> YamlError:
        """In quotes, a text such as `!secret camera` would be the password."""
        advice = REFERENCE_ADVICE if tag.startswith("!") else "put the value in quotes"
        return YamlError(f"{self.path}:{line}: dates, tags and objects are not allowed here: {advice}")


def _row(node: Any, key: Any, line: int) -> int:
    """1-based line of a key, else `line`: nodes of an alias or a merge have none of their own."""
    try:
        return int(node.lc.data[key][0]) + 1
    except (AttributeError, KeyError, TypeError, IndexError):
        return line


def _line_of(error: Exception) -> int:
    mark = getattr(error, "problem_mark", None)
    return int(mark.line) + 1 if mark is not None else 1


def _problem(error: Exception, raw: bytes) -> str:
    """The parser's words up to the first that it quotes from the file, as that may be a password."""
    text = " ".join(str(getattr(error, "problem", None) or error).split("\n")[0].split())
    twice = re.match(r"found duplicate key \"([\w.-]{1,64})\"", text)
    if twice:
        return f"key '{twice[1]}' appears twice" if _begins_line(twice[1], error, raw) else "a key appears twice"
    harmless = re.match(r"""(?:[^"']|'\W'|'\\.'|'<[a-z ]+>')*""", text)
    return harmless[0].strip() if harmless else ""


def _begins_line(key: str, error: Exception, raw: bytes) -> bool:
    """Between commas it may be the middle of a password, as in `{url: rtsp://u:a,b,c,b,d@h}`."""
    line = split_lines(raw.decode("utf-8"))[_line_of(error) - 1 :][:1]
    return bool(line and re.match(rf"""[\s-]*["']?{re.escape(key)}["']?\s*:(\s|$)""", line[0]))


def split_lines(text: str) -> list[str]:
    """With their ends, as the parser counts them: `str.splitlines` breaks at U+2028 and others in a text, too."""
    return io.StringIO(text, newline="").readlines()


def unknown(
    document: Document, place: Place, name: str, kind: str, known: Mapping[str, object], where: str = ""
) -> Iterator[str]:
    """The mistake of a name that is not among the known ones. where: what should have it, as " in model 'x'"."""
    if name in known:
        return
    close = get_close_matches(name, known, 1, 0.5)
    hint = f"; did you mean '{close[0]}'?" if close else f"; there is {', '.join(list(known)[:12]) or 'none'}"
    yield f"{document.at(place)}: no {kind} '{name}'{where}{hint}"
