"""Are the interpreter, the engines and the models the ones that this box needs?"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from agent import redact
from agent.backends.base import EngineError
from agent.config.load import load_config
from agent.errors import ConfigError, PackageError
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check, listed
from agent.ledger_text import counted
from agent.packages import engines, package
from agent.packages.manifest import AUTO, Manifest

LIBRARIES = ("numpy", "opencv-python-headless", "pyzmq", "msgpack", "pyserial", "pydantic")
INTERPRETERS = ("ai-edge-litert", "tflite-runtime")


def checks(box: Box) -> Iterator[Check]:
    yield python()
    yield libraries(_version)
    yield _configured(box)
    yield from _engines(box)
    yield from _models(box)


def _version(distribution: str) -> str:
    """Empty where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    text = ".".join(map(str, version))
    if version < (3, 10):
        fix = "make the venv with a newer python3"
        return Check("python", BAD, f"Python {text}", "reflexd needs 3.10 or newer", fix)
    return Check("python", GOOD, f"{platform.python_implementation()} {text} on {platform.machine()}")


def libraries(installed: Callable[[str], str]) -> Check:
    """installed: version of a distribution, "" where it is not installed."""
    versions = {name: installed(name) for name in LIBRARIES}
    missing = [name for name, version in versions.items() if not version]
    if missing:
        cause, effect = f"not installed: {', '.join(missing)}", "the daemon, or a driver, does not start"
        return Check("libraries", BAD, cause, effect, f"pip install {' '.join(missing)}")
    return Check("libraries", GOOD, ", ".join(f"{name} {version}" for name, version in versions.items()))


def _configured(box: Box) -> Check:
    """The same mistakes as `reflexd check` reports."""
    path = box.view.path
    try:
        config = load_config(path)
    except ConfigError as error:
        effect = "the daemon does not start with it; one that runs keeps the old one"
        fix = f"correct it, then: reflexd check -c {path}"
        return Check("configuration", BAD, "; ".join(error.mistakes[:8]), effect, fix)
    lanes, actuators = counted(len(config.lanes), "lane"), counted(len(config.actuators), "actuator")
    return Check("configuration", GOOD, f"{path}: {lanes}, {actuators}")


def _folders(box: Box) -> Iterator[tuple[str, Path]]:
    """(name, folder) of every model that the configuration names; those not found are the configuration's mistakes."""
    for name in dict.fromkeys(model for lane in box.config.lanes.values() for model in lane.models):
        try:
            yield name, package.find(name, box.view.path.resolve().parent)
        except PackageError:
            continue


def _manifests(box: Box) -> list[Manifest]:
    manifests = []
    for _, folder in _folders(box):
        try:
            manifests.append(package.read(folder))
        except PackageError:
            continue  # reported by `model`
    return manifests


def _engines(box: Box) -> Iterator[Check]:
    manifests = _manifests(box)
    backends = {manifest.backend for manifest in manifests if manifest.backend != AUTO} or {"litert"}
    backends |= {name for manifest in manifests if manifest.backend == AUTO for name in _installed(manifest)}
    if "litert" in backends:
        yield litert(_version)
    if "openvino" in backends:
        yield openvino(_version)
    if "onnx" in backends:
        providers = {manifest.provider or "cpu" for manifest in manifests if manifest.backend == "onnx"}
        yield onnx(providers, _version, _providers)


def _installed(manifest: Manifest) -> list[str]:
    try:
        return engines.installed(Path(), manifest)
    except PackageError:
        return []  # reported by `model`


def openvino(installed: Callable[[str], str]) -> Check:
    version = installed("openvino")
    if version:
        return Check("engine openvino", GOOD, f"openvino {version}")
    effect, fix = "models of backend openvino do not run", "scripts/setup openvino, or pip install 'reflexd[openvino]'"
    return Check("engine openvino", BAD, "OpenVINO is not installed", effect, fix)


def litert(installed: Callable[[str], str]) -> Check:
    newer, older = (installed(name) for name in INTERPRETERS)
    if newer:
        return Check("engine litert", GOOD, f"ai-edge-litert {newer}")
    if older:
        effect = "an INT8 network that takes 4.5 ms with LiteRT takes 45 ms (measured on x86-64)"
        return Check("engine litert", WARN, f"only tflite-runtime {older}", effect, "pip install ai-edge-litert")
    return Check("engine litert", BAD, "no interpreter is installed", "no model can run", "pip install ai-edge-litert")


def _providers() -> list[str]:
    """Raises EngineError where ONNX Runtime does not load."""
    try:
        import onnxruntime

        from agent.backends.onnx import PROVIDERS
    except ImportError as error:
        raise EngineError(str(error)) from error
    available = onnxruntime.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in available]


def onnx(wanted: set[str], installed: Callable[[str], str], available: Callable[[], list[str]]) -> Check:
    """wanted: providers of the models. available: providers of ONNX Runtime, or EngineError."""
    names = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-cann")
    versions = ", ".join(f"{name} {installed(name)}" for name in names if installed(name)) or "ONNX Runtime"
    try:
        providers = available()
    except EngineError as error:
        effect = "models of backend onnx do not run"
        fix = "scripts/setup onnx, or pip install 'reflexd[onnx]'"
        return Check("engine onnx", BAD, f"does not load: {error}", effect, fix)
    missing = sorted(wanted - set(providers))
    if missing:
        cause = f"{versions} has {', '.join(providers)}, not {', '.join(missing)}"
        effect = "the models that ask for it do not load"
        fix = "install the ONNX Runtime of this board's SDK, or change 'provider' in the manifest"
        return Check("engine onnx", BAD, cause, effect, fix)
    return Check("engine onnx", GOOD, f"{versions} with {', '.join(providers)}")


def _models(box: Box) -> Iterator[Check]:
    if not box.config.lanes:
        yield Check("models", SKIP, "the configuration names none")
    for name, folder in _folders(box):
        yield model(name, folder)


def model(name: str, folder: Path) -> Check:
    """sha256, load, run, golden outputs."""
    try:
        opened = package.open_package(folder)
        worst = opened.golden
    except PackageError as error:
        fix = f"reflexd model verify {folder}"
        return Check(f"model {name}", BAD, listed(redact.lines(error)), "its lane does not start", fix)
    if worst is None:
        cause = f"version {opened.manifest.version}, sha256 good; it has no golden outputs to compare with"
        return Check(f"model {name}", GOOD, cause)
    cause = f"version {opened.manifest.version}, sha256 good, golden outputs within {worst:.0%} of the tolerance"
    return Check(f"model {name}", GOOD, cause)
