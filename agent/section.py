"""A part of a file that a person writes: its base model, and pydantic's errors as sentences with file:line."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agent import yamlfile
from agent.yamlfile import NAME, Document, Place, YamlError

EXPECTED = "Input should be "  # the beginning of pydantic's messages
SECRET = re.compile("url|password|secret|token|key")  # values that do not belong in a message
HARMLESS = re.compile(r"[\w .,%+-]{0,60}")  # no URL, and no password of the better sort
FILES, PATH = ("file", "golden"), re.compile(r"[\w .,%+/-]{0,60}")  # in a package: shown with its folders, but no URL
KEY = re.compile(r"[\w.-]{1,64}")
# pydantic's words, after EXPECTED, and ours
REASON = re.compile(
    r", (unable to parse string as an? \w+|unable to interpret input|got a number with a fractional part)"
)
KINDS = {
    "a valid dictionary": "lines of 'key: value'",
    "a valid number": "a number",
    "a valid integer": "a whole number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid tuple": "a list",
}
CHARACTERS = "letters, digits, '_', '.', '-'"
PATTERNS = {NAME: f"1 to 32 {CHARACTERS}", NAME.replace("32", "64"): f"1 to 64 {CHARACTERS}"}


class Section(BaseModel):
    """A part of a file that a person writes: unknown keys are errors, and so are infinite numbers and NaN."""

    # Built when first used: what is only a part of another model is then built once, with that one.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True, hide_input_in_errors=True
    )


Kind = TypeVar("Kind", bound=BaseModel)


def load(path: Path, kind: type[Kind]) -> Kind:
    """The file as a `kind`. Raises YamlError with a line for each mistake."""
    document = yamlfile.read(path)
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        raise YamlError("\n".join(explain(document, error, kind))) from error


def explain(
    document: Document,
    error: ValidationError,
    model: type[BaseModel],
    prefix: Place = (),
    new_name: Callable[[Place], str | None] = lambda place: None,
) -> list[str]:
    """One line for each mistake: file:line, the key, what was expected, the nearest valid name.

    new_name: the present name of a key that was renamed. A value is shown as it stands in the file, where it may be:
    a password that the file only refers to does not.
    """
    mistakes: dict[Place, dict[str, Any]] = {}
    for detail in error.errors(include_url=False, include_context=False):
        place = tuple(detail["loc"])
        while detail["type"] != "missing" and place and prefix + place not in document.lines:
            place = place[:-1]  # a step into a union is not a key
        if place in mistakes and detail["msg"].startswith(EXPECTED):
            mistakes[place]["msg"] += " or " + detail["msg"].removeprefix(EXPECTED)
        else:
            mistakes.setdefault(place, dict(detail))
    sentences = []
    for place, mistake in mistakes.items():
        new = new_name(prefix + place) if mistake["type"] == "extra_forbidden" else None
        renamed = f"'{_dotted(prefix + place)}': renamed to '{new}'"
        mistake["input"] = _value_at(document.data, prefix + place)
        shown = _without_part(place, _value_at(document.data, (prefix + place)[:-1]))
        line = document.at(prefix + (place or _named_key(mistake["msg"], model)))
        sentences.append(f"{line}: {renamed if new else _sentence(shown, mistake, model, prefix)}")
    return sentences


def _value_at(data: Any, place: Place) -> Any:
    for step in place:
        try:
            data = data[step if isinstance(data, list) else str(step)]
        except (LookupError, TypeError):
            return ...
    return data


def _without_part(place: Place, parent: Any) -> Place:
    """Without a key that is a part of a password: in `{url: rtsp://u:a,b,c@h}` the keys are `url`, `b` and `c@h`."""
    parts = place and isinstance(parent, dict) and any("@" in str(key) for key in parent)
    return (*place[:-1], "...") if parts and parent.get(str(place[-1]), ...) is None else place


def _dotted(place: Place) -> str:
    """Without a key that is no word: where a colon was forgotten, it has the value in it."""
    return ".".join(str(step) if KEY.fullmatch(str(step)) else "..." for step in place)


def _sentence(place: Place, error: dict[str, Any], model: type[BaseModel], prefix: Place = ()) -> str:
    name = _dotted(prefix + place)
    if error["type"] == "extra_forbidden":
        return _unknown_key(place, error["input"], fields_at(model, place[:-1]), prefix)
    if error["type"] == "missing":
        return f"'{name}' is missing"
    expected = _in_words(error["msg"])
    if not place:
        key = _named_key(error["msg"], model) if prefix else ()
        return f"'{_dotted(prefix + key)}'{expected.removeprefix(key[0])}" if key else expected
    if expected == "expected a list" and isinstance(error.get("input"), dict):
        expected += ": each entry begins with '- '"
    is_number = error["type"] in ("float_parsing", "int_parsing")
    unit = "; write the bare number, the unit is in the key's name" if is_number else ""
    return f"'{name}': {expected}{_actual(error.get('input'), str(place[-1]))}{unit}"


def _in_words(message: str) -> str:
    """What pydantic expected, in the words of the file."""
    pattern = re.fullmatch(r"String should match pattern '(.*)'", message)
    if pattern:
        return f"expected {PATTERNS.get(pattern[1], 'text of the form ' + pattern[1])}"
    words = message.removeprefix("Value error, ").replace(EXPECTED, "expected ")
    words = re.sub(r" or instance of \w+", "", REASON.sub("", words))
    return re.sub("|".join(KINDS), lambda kind: KINDS[kind[0]], words)


def _named_key(message: str, model: type[BaseModel]) -> tuple[str, ...]:
    """The key with which the message about a whole section begins, as "safe: ..."; () where it names none."""
    key, colon, _ = message.removeprefix("Value error, ").partition(": ")
    return (key,) if colon and key in model.model_fields else ()


def _unknown_key(place: Place, value: Any, known: list[str], prefix: Place) -> str:
    """A key without a value may be part of one: in `{url: rtsp://u:a,b,c@h}` it is the middle of a password."""
    key = str(place[-1])
    close = get_close_matches(key, known, 1, 0.5)
    if not close and (value is None or not KEY.fullmatch(key)):
        key, colon = "...", "is ': ' missing, or are quotes around a value? "
    else:
        colon = ""
    hint = colon + (f"did you mean '{close[0]}'?" if close else f"valid here: {', '.join(sorted(known))}")
    return f"unknown key '{_dotted((*prefix, *place[:-1], key))}'; {hint}"


def _actual(value: Any, key: str) -> str:
    """The value in the file, where it is a plain one and may be shown."""
    if value is None:
        return ", found nothing"
    harmless = PATH if key in FILES else HARMLESS
    plain = harmless.fullmatch(value) if isinstance(value, str) else isinstance(value, (int, float))
    return f", found {value!r}" if plain and not SECRET.search(key) else ""


def fields_at(model: Any, place: Place) -> list[str]:
    """Names of the keys that are valid at a place."""
    for step in place:
        model = _inner(model, step)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner(model: Any, step: str | int) -> Any:
    """The model behind one step: a field's, a dict's values' or a list's items'."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        field = model.model_fields.get(str(step))
        return _unwrap(field.annotation) if field else None
    args = typing.get_args(model)
    return _unwrap(args[-1]) if args else None


def _unwrap(annotation: Any) -> Any:
    """X of `X | None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return members[0] if len(members) == 1 else None
    return annotation
