"""What must not leave this box in a support ticket: passwords, tokens, keys. Out of configuration and out of any text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

MASK = "***"
SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|pwd$|secret|token|psk|(^|_)pin$|credential|private|api[_-]?key|access[_-]?key", re.I
)
KEY_NAME = re.compile(r"(^|_|-)key$", re.I)
Z85 = r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}"
SHORTEST = 4  # a shorter secret is also an ordinary word; it is masked at its own place only

PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
CURVE = re.compile(rf"(secret-?key\s*[=:]\s*)[\"']?{Z85}[\"']?", re.I)
# Every run is bounded: the time for a text without end would grow with the square of its length.
SCHEME = r"\b[a-z][a-z0-9+.-]{0,20}://"
USERINFO = re.compile(rf"({SCHEME})[^\s/\"'<>]{{0,300}}@", re.I)
# Cheap cameras take the password in the path or the query.
RTSP_PATH = re.compile(r"(\brtsps?://[^\s/\"'<>?]{1,300})[/?][^\s\"'<>,}\]]+", re.I)
QUERY = re.compile(rf"({SCHEME}[^\s\"'<>?]{{1,1000}}\?)[^\s\"'<>,}}\]]+", re.I)
NAMED = re.compile(
    r"((?:password|passwd|passphrase|pwd|secret|token|psk|credential|api[_-]?key|access[_-]?key|\bpass|\bpin)"
    r"[\w-]{0,40}[\"']?[ \t]{0,9}[:=][ \t]{0,9})"
    r"(?![|>{\[])(\"(?:[^\"\\]|\\.){0,9999}\"|'(?:[^']|''){0,9999}'|[^\s,}\]]+)",
    re.I,
)
BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.I)


def text(raw: str, known: list[str]) -> str:
    """Any text: log, JSON, a file that is no YAML. known: secrets of this box, wherever they stand."""
    for secret in known:
        raw = _literal(secret).sub(MASK, raw)
    raw = PEM.sub(MASK, raw)
    raw = CURVE.sub(rf"\1{MASK}", raw)
    raw = USERINFO.sub(rf"\1{MASK}@", raw)
    raw = RTSP_PATH.sub(rf"\1/{MASK}", raw)
    raw = QUERY.sub(rf"\1{MASK}", raw)
    raw = NAMED.sub(_named, raw)
    return BEARER.sub(rf"\1{MASK}", raw)


def _literal(secret: str) -> re.Pattern[str]:
    """The secret wherever it stands, also where a line was broken in it. Digits alone only as a number of their own."""
    found = r"\s+".join(map(re.escape, secret.split()))
    return re.compile(rf"(?<![\w.]){found}(?![\w.])" if secret.isdigit() else found)


def _named(found: re.Match[str]) -> str:
    """In the quotes that it had, so that JSON stays JSON."""
    quote = found[2][0] if found[2][0] in "\"'" else ""
    return f"{found[1]}{quote}{MASK}{quote}"


def tree(value: Any, name: str = "") -> Any:
    """Plain YAML values. Paths of key files stay, everything that is itself secret goes."""
    if isinstance(value, dict):
        hidden = {key for key, one in value.items() if isinstance(one, dict) and SECRET_NAME.search(str(key))}
        return {key: MASK if key in hidden else tree(one, str(key)) for key, one in value.items()}
    if isinstance(value, list):
        return [tree(one, name) for one in value]
    if value is None or isinstance(value, bool):
        return value
    if _is_secret(name, str(value)):
        return MASK
    return text(value, []) if isinstance(value, str) else value


def _is_secret(name: str, value: str) -> bool:
    if SECRET_NAME.search(name) or (re.fullmatch(Z85, value) and not value.startswith("/")):
        return True
    # `own`, `server_key` and the like name a file; a key itself has no suffix and no folder
    return bool(KEY_NAME.search(name)) and not re.search(r"\.[a-z_]{2,12}$|^[./~]", value)


def secrets(value: Any, name: str = "") -> Iterator[str]:
    """Every secret that plain YAML values hold, so that it can be found again in the log."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from secrets(one, name if SECRET_NAME.search(name) else str(key))
    elif isinstance(value, list):
        for one in value:
            yield from secrets(one, name)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        if _is_secret(name, str(value)):
            yield str(value)
        elif isinstance(value, str) and "://" in value:
            yield from _url_secrets(value)


def _url_secrets(url: str) -> Iterator[str]:
    userinfo, at, _ = url.partition("://")[2].rpartition("@")
    if at and ":" in userinfo:
        password = userinfo.partition(":")[2]
        yield from {password, unquote(password)}
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    for setting in parts.query.split("&"):
        name, _, value = setting.partition("=")
        if value and SECRET_NAME.search(name):
            yield from {value, unquote(value)}


def raw_secrets(raw: str) -> Iterator[str]:
    """Of a configuration that is no YAML: what follows a secret's name, and passwords in URLs."""
    for found in NAMED.finditer(raw):
        yield found[2].strip("\"'")
    for url in re.findall(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", raw, re.I):
        yield from _url_secrets(url)


def key_secrets(paths: list[Path]) -> Iterator[str]:
    """The secret halves in key files, which stand in no file of ours and yet might in a log."""
    for path in paths:
        try:
            content = path.read_text(errors="replace")[:65_536]
        except OSError:
            continue
        yield from re.findall(rf"secret-key\s*=\s*\"({Z85})\"", content)


def longest_first(found: Iterator[str]) -> list[str]:
    """A secret that is part of another one must not break that one up."""
    return sorted({one.strip() for one in found if len(one.strip()) >= SHORTEST}, key=len, reverse=True)
