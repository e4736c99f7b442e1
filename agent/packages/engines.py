"""`backend: auto`: the installed engine that runs a model fastest on this machine, timed once and remembered."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.backends.base import INSTALL
from agent.box import folders, private
from agent.box.machine import processor
from agent.errors import ConfigError, PackageError
from agent.isolated import python
from agent.packages.manifest import AUTO, Manifest

log = logging.getLogger("reflexd")

# Engine -> its Python package. The first one is kept unless another is faster by GAIN.
BY_SUFFIX = {
    ".tflite": {"litert": "ai_edge_litert", "openvino": "openvino"},
    ".onnx": {"onnx": "onnxruntime", "openvino": "openvino"},
}
GAIN = 0.05  # below that a difference may be noise, and the first one is the better known
LIMIT_S = 60.0  # of loading and timing all of them
MAX_BYTES, MAX_MODELS = 1 << 20, 500  # of the file that remembers


class Comparison(NamedTuple):
    """backend: the chosen one. p50_ms: of those that compute the same; refused: why the others do not count."""

    backend: str
    p50_ms: dict[str, float]
    refused: dict[str, str]


def choose(folder: Path, manifest: Manifest, threads: int) -> str:
    """The engine for this package; `manifest.backend` where that is not auto. Raises PackageError."""
    if manifest.backend != AUTO:
        return manifest.backend
    names = installed(folder, manifest)
    return names[0] if len(names) == 1 else _compared(folder, manifest, names, threads).backend


def first(folder: Path, manifest: Manifest) -> str:
    """The engine that is used where nothing was timed. Raises PackageError."""
    return manifest.backend if manifest.backend != AUTO else installed(folder, manifest)[0]


def installed(folder: Path, manifest: Manifest) -> list[str]:
    """The engines of this machine that read such a file. Raises PackageError."""
    suffix = Path(manifest.file).suffix
    packages = BY_SUFFIX.get(suffix)
    if packages is None:
        raise PackageError(f"{folder}/manifest.yaml: backend auto reads {' and '.join(BY_SUFFIX)}, not '{suffix}'")
    names = [name for name, package in packages.items() if name == "litert" or importlib.util.find_spec(package)]
    if not names:
        raise PackageError(f"{folder}: no engine for {suffix} is installed: {INSTALL['onnxruntime']}")
    return names


def remembered(folder: Path, manifest: Manifest, threads: int = 1) -> dict[str, float]:
    """Milliseconds (p50) of each engine, where they were timed on this machine. Raises PackageError."""
    if manifest.backend != AUTO:
        return {}
    entry = _read().get(_key(manifest, installed(folder, manifest), threads), {})
    times = entry.get("p50_ms") if isinstance(entry, dict) else None
    return times if isinstance(times, dict) else {}


def _compared(folder: Path, manifest: Manifest, names: Sequence[str], threads: int) -> Comparison:
    """The remembered comparison, or a new one."""
    try:
        known = Comparison(**_read().get(_key(manifest, names, threads), {}))
        if known.backend in names:
            return known
    except TypeError:
        pass  # there is none, or the file was damaged
    return compare(folder, manifest, names, threads)


def compare(folder: Path, manifest: Manifest, names: Sequence[str], threads: int = 1) -> Comparison:
    """Times them on this machine now, and remembers it, where one of them runs the model at all."""
    comparison = _choice(names, *_measured(folder, names, threads))
    if set(names) <= set(comparison.refused):
        return comparison  # whoever opens it next says why
    log.info("model %s: engine %s", folder.name, described(comparison))
    remember(manifest, names, threads, comparison)
    return comparison


def described(comparison: Comparison) -> str:
    """In words: "openvino (litert 8.4 ms, openvino 6.3 ms)"."""
    parts = [f"{name} {ms:.3g} ms" for name, ms in comparison.p50_ms.items()]
    parts += [f"{name} out: {reason}" for name, reason in comparison.refused.items()]
    return f"{comparison.backend} ({', '.join(parts)})"


def _choice(names: Sequence[str], p50_ms: dict[str, float], refused: dict[str, str]) -> Comparison:
    """The fastest one; the first where it is not slower than that by more than GAIN."""
    fastest = min(p50_ms, key=lambda name: p50_ms[name], default=names[0])
    usual = names[0]
    if usual in p50_ms and p50_ms[fastest] > p50_ms[usual] * (1 - GAIN):
        fastest = usual
    return Comparison(fastest, p50_ms, refused)


def _measured(folder: Path, names: Sequence[str], threads: int) -> tuple[dict[str, float], dict[str, str]]:
    """p50 of each and why others do not count; from a process of its own, which an engine may end."""
    command = python("agent.packages.engine_trial", str(folder.resolve()), str(threads), *names)
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S)
        result = json.loads((ended.stdout.splitlines() or [""])[-1])
        return result["p50_ms"], result["refused"]
    except subprocess.TimeoutExpired:
        reason = f"not timed within {LIMIT_S:g} s"
    except (OSError, ValueError, LookupError, TypeError):
        reason = "an engine ended the process that timed it"
    return {}, dict.fromkeys(names[1:], reason)


def _key(manifest: Manifest, names: Sequence[str], threads: int) -> str:
    """All that the times depend on."""
    suffix = Path(manifest.file).suffix
    versions = ", ".join(f"{name} {_version(BY_SUFFIX[suffix][name])}" for name in names)
    return f"{manifest.checksum} {threads} {versions}, {processor()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _read() -> dict[str, Any]:
    """What is remembered; empty where there is nothing, or nothing that can be read."""
    try:
        path = _file()
        if path.stat().st_size > MAX_BYTES:
            return {}
        content = json.loads(path.read_bytes())
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError, ConfigError):
        return {}


def remember(manifest: Manifest, names: Sequence[str], threads: int, comparison: Comparison) -> None:
    """The newest MAX_MODELS of them. Two processes at once may lose an entry, which is then timed again."""
    entries = {**_read(), _key(manifest, names, threads): comparison._asdict()}
    newest = dict(list(entries.items())[-MAX_MODELS:])
    try:
        folders.make(_file().parent)
        private.write(_file(), json.dumps(newest, indent=1).encode(), durable=False)
    except (OSError, ConfigError) as error:
        log.warning("engines are timed again at the next start: %s", error)


def _file() -> Path:
    return folders.default_cache_dir() / "engines.json"
