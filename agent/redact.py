"""Mask passwords, tokens and keys: in messages and logs, and in all that leaves this box in a support ticket."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|pwd$|secret|token|psk|(^|_)pin$|credential|private|api[_-]?key|access[_-]?key", re.I
)
KEY_NAME = re.compile(r"(^|_|-)key$", re.I)
Z85 = r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}"
MIN_LENGTH = 4  # a shorter secret is also an ordinary word; it is masked in its own field only

PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
CURVE = re.compile(rf"(secret-?key\s*[=:]\s*)[\"']?{Z85}[\"']?", re.I)
# Only these end a login: a no-break space, a line separator (U+2028) and the like, which `\s` has, too, are characters
# of a password as any other.
GAP = r" \t\r\n"
# Every run is bounded: the time for a text without end would grow with the square of its length.
SCHEME = r"\b[a-z][a-z0-9+.-]{0,20}:/{1,2}"  # a path has a single slash left of the two
# Up to the last @, as a password may have any character: better too much of a path is masked than too little of it.
USERINFO = re.compile(rf"({SCHEME})[^{GAP}\"'<>]{{0,300}}@", re.I)
# The same without a scheme, as people write it where no URL is expected; a time of day is no login.
LOGIN = re.compile(
    r"(?<![^\s\"'<>=(,\[{/|])(?![0-2]?\d:[0-5]\d(?::[0-5]\d)?(?:\.\d+)?@)"
    rf"[^{GAP}\"'<>:@/]{{1,64}}:(?!/{{1,2}}\*{{3}}@)[^{GAP}\"'<>]{{1,300}}@"
)
# Cheap cameras take the password in the path or the query.
RTSP_PATH = re.compile(rf"(\brtsps?:/{{1,2}}[^{GAP}/\"'<>?]{{1,300}})[/?][^{GAP}\"'<>,}}\]]+", re.I)
QUERY = re.compile(rf"({SCHEME}[^{GAP}\"'<>?]{{1,1000}}\?)[^{GAP}\"'<>,}}\]]+", re.I)
NAMED = re.compile(
    r"((?:password|passwd|passphrase|pwd|secret|token|psk|credential|api[_-]?key|access[_-]?key|\bpass|\bpin)"
    r"[\w-]{0,40}[\"']?[^\S\r\n]{0,9}[:=][^\S\r\n]{0,9})"
    rf"(?![|>{{\[])(\"(?:[^\"\\]|\\.){{0,9999}}\"|'(?:[^']|''){{0,9999}}'|[^{GAP},}}\]]+)",
    re.I,
)
# A whole value that is an address without a scheme: here the password may have spaces and quotes.
BARE = re.compile(rf"(?:[^:@]*/)?((?!\d{{1,2}}:\d\d(?::\d\d(?:\.\d+)?)?[@{GAP}])[^:/@]+:(?!//|[{GAP}]).+)@", re.DOTALL)
BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.I)


_remembered: set[str] = set()  # in every spelling
_patterns: list[re.Pattern[str]] = []  # of those, longest first


def remember(secrets: Iterable[str]) -> None:
    """Secrets of this process's configuration, for `message`."""
    new = {spelling for secret in longest_first(secrets) for spelling in _spellings(secret)} - _remembered
    if new:
        _remembered.update(new)
        _patterns[:] = [_literal(secret) for secret in longest_first(_remembered)]


def known() -> list[str]:
    """What is remembered, for another process of the daemon."""
    return sorted(_remembered)


def _spellings(secret: str) -> set[str]:
    """As it stands in a URL, in a path, in JSON and in Python's quotes, too."""
    plain = {secret, unquote(secret)}
    quoted = {repr(text)[1:-1] for text in plain} | {
        json.dumps(text, ensure_ascii=ascii)[1:-1] for text in plain for ascii in (True, False)
    }
    return plain | {str(Path(secret)), quote(secret, ""), quote(secret)} | quoted


def message(raw: str) -> str:
    """A message to a person or a line of the log, in which the name of a secret may stand, but not its value."""
    for pattern in _patterns:
        raw = pattern.sub(MASK, raw)
    return _without_places(raw)


def lines(raw: object) -> list[str]:
    """Of a message or an error; masked first, as a password with a line break in it would be cut there."""
    return [line for line in message(str(raw)).split("\n") if line]


class MaskedFormatter(logging.Formatter):
    """Log lines, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return message(super().format(record))


def text(raw: str, known: list[str]) -> str:
    """Any text: log, JSON, a file that is no YAML. known: secrets of this box, masked wherever they occur."""
    raw = NAMED.sub(_masked_value, _without_places(without(raw, known)))
    return BEARER.sub(rf"\1{MASK}", raw)


def without(raw: str, known: list[str]) -> str:
    """Any text without these secrets, with as many lines as before."""
    for secret in known:
        raw = _literal(secret).sub(_same_lines, raw)
    return raw


def _same_lines(match: re.Match[str]) -> str:
    return MASK + "\n" * match[0].count("\n")


def _without_places(raw: str) -> str:
    """Without what is a secret by where it stands in a key or a URL."""
    raw = PEM.sub(MASK, raw)
    raw = CURVE.sub(rf"\1{MASK}", raw)
    raw = USERINFO.sub(rf"\1{MASK}@", raw)
    if "@" in raw:
        raw = LOGIN.sub(f"{MASK}@", raw)
    raw = RTSP_PATH.sub(rf"\1/{MASK}", raw)
    return QUERY.sub(rf"\1{MASK}", raw)


def _literal(secret: str) -> re.Pattern[str]:
    """The secret anywhere in a text, also where a line breaks inside it; digits alone only as a whole number."""
    pattern = r"\s+".join(map(re.escape, secret.split()))
    return re.compile(rf"(?<![\w.]){pattern}(?![\w.])" if secret.isdigit() else pattern)


def _masked_value(match: re.Match[str]) -> str:
    """In the quotes that it had, so that JSON stays JSON."""
    quote = match[2][0] if match[2][0] in "\"'" else ""
    return f"{match[1]}{quote}{MASK}{quote}"


def tree(value: Any, name: str = "") -> Any:
    """Plain YAML values with every secret masked; paths of key files are none."""
    if isinstance(value, dict):
        hidden = {key for key, item in value.items() if isinstance(item, dict) and SECRET_NAME.search(str(key))}
        return {
            _without_login(str(key)): MASK if key in hidden else tree(item, str(key)) for key, item in value.items()
        }
    if isinstance(value, list):
        return [tree(item, name) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if _is_secret(name, str(value)):
        return MASK
    return text(_without_login(value), []) if isinstance(value, str) else value


def _without_login(value: str) -> str:
    """A value that is one URL: its password may have spaces and quotes, too."""
    scheme, mark, rest = value.partition("://")
    _, at, after = rest.rpartition("@")
    if mark and at:
        return f"{scheme}://{MASK}@{after}"
    bare = BARE.match(value)
    return f"{MASK}@{value[bare.end() :]}" if bare else value


def _is_secret(name: str, value: str) -> bool:
    if SECRET_NAME.search(name) or (re.fullmatch(Z85, value) and not value.startswith("/")):
        return True
    # `own`, `server_key` and the like name a file; a key itself has no suffix and no folder
    return bool(KEY_NAME.search(name)) and not re.search(r"\.[a-z_]{2,12}$|^[./~]", value)


def secrets(value: Any, name: str = "") -> Iterator[str]:
    """Every secret in plain YAML values, so that it can be masked in the log, too."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from url_secrets(str(key))  # a colon was forgotten
            yield from secrets(item, name if SECRET_NAME.search(name) else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from secrets(item, name)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        if _is_secret(name, str(value)):
            yield str(value)
        if isinstance(value, str):  # also a URL of 40 characters, which looks like a key
            yield from url_secrets(value)


def url_secrets(url: str) -> Iterator[str]:
    """The password, which a decoder may have cut at any @, and each value of the query whose name says so."""
    bare = BARE.match(url)
    logins = {url.partition("://")[2].rpartition("@")[0], bare[1] if bare else ""}
    for userinfo in logins:
        _, colon, password = userinfo.partition(":")
        if colon:
            yield from {userinfo, password, unquote(password)}
    for setting in re.split("[?&;]", url)[1:]:
        name, _, value = setting.partition("=")
        if value and SECRET_NAME.search(name):
            yield from {value, unquote(value), value.partition("#")[0]}


def raw_secrets(raw: str) -> Iterator[str]:
    """Of a configuration that is no YAML: the text after a secret's name, and passwords in URLs."""
    for match in NAMED.finditer(raw):
        yield match[2].strip("\"'")
    for url in [*re.findall(rf"\b[a-z][a-z0-9+.-]*://[^{GAP}\"'<>]+", raw, re.I), *LOGIN.findall(raw)]:
        yield from url_secrets(url)


def key_secrets(paths: list[Path]) -> Iterator[str]:
    """The secret keys in key files: no other file of ours has them, but a log might."""
    for path in paths:
        try:
            if not path.is_file():  # the open of a pipe would wait for its writer
                continue
            content = path.read_text(errors="replace")[:65_536]
        except OSError:
            continue
        yield from re.findall(rf"secret-key\s*=\s*\"({Z85})\"", content)


def longest_first(all_secrets: Iterable[str]) -> list[str]:
    """Each once, longest first: masking a secret that is part of another one would break that one up."""
    return sorted(
        {secret.strip() for secret in all_secrets if len(secret.strip()) >= MIN_LENGTH}, key=len, reverse=True
    )
