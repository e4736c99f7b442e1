"""Every third-party import is declared in setup.cfg, and nothing is required that no module imports."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.shared import ROOT

# Extras that a folder may use besides install_requires: the longest prefix of a file's path counts.
EXTRAS = {
    "agent": (),
    "agent/backends": ("onnx", "openvino"),
    "agent/benches": ("bench",),
    "agent/benches/io": ("gpio", "modbus", "opcua"),
    "agent/field": ("onnx", "top"),
    "agent/open_inference": ("remote",),
    "agent/site": ("site",),
    "agent/update": ("update",),
    "agent/web/foxglove": ("foxglove",),
    "drivers": ("can", "gpio", "modbus", "mqtt", "opcua"),
    "drivers/board": ("jetson",),
    "models": (),
    "models/train": ("train", "onnx"),
    "scripts": (),
}
# Where the names differ: some are not installed where this test runs, and Python 3.10 does not know all that are.
DISTRIBUTIONS = {
    "can": "python-can",
    "cv2": "opencv-python-headless",
    "foxglove": "foxglove-sdk",
    "jtop": "jetson-stats",
    "paho": "paho-mqtt",
    "ruamel": "ruamel.yaml",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "tensorflow": "tensorflow-cpu",
    "zenoh": "eclipse-zenoh",
    "zmq": "pyzmq",
}
# Imported only where ai_edge_litert is missing: boards whose vendor provides it.
ALTERNATIVES = {"tflite_runtime"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(section: str, option: str) -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup[section][option].splitlines()
    return {canonical(re.split(r"[\s<>=!~;\[]", line.strip())[0]) for line in lines if line.strip()}


INSTALLED = packages_distributions()
REQUIRED = declared("options", "install_requires")
ALLOWED = {
    folder: REQUIRED.union(*(declared("options.extras_require", extra) for extra in extras))
    for folder, extras in EXTRAS.items()
}


def third_party() -> Iterator[tuple[str, str]]:
    """(path of a file, top-level package that it imports)."""
    own = {*("agent", "drivers", "models"), *(path.stem for path in (ROOT / "scripts").rglob("*.py"))}
    for path in sorted(
        path for folder in ("agent", "drivers", "models", "scripts") for path in (ROOT / folder).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for package in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names - ALTERNATIVES:
                yield path.relative_to(ROOT).as_posix(), package


def distributions(package: str) -> set[str]:
    return {canonical(name) for name in (*INSTALLED.get(package, ()), DISTRIBUTIONS.get(package, package))}


def undeclared(path: str, package: str) -> bool:
    folder = max((folder for folder in ALLOWED if Path(path).is_relative_to(folder)), key=len)
    return not distributions(package) & ALLOWED[folder]


def test_every_third_party_import_is_declared() -> None:
    assert [f"{path}: {package}" for path, package in third_party() if undeclared(path, package)] == []


def test_an_undeclared_import_is_found() -> None:
    assert undeclared("agent/lane.py", "tensorflow") and undeclared("drivers/camera/sim.py", "unheard_of")
    assert not undeclared("models/train/engine.py", "tensorflow") and not undeclared("agent/yamlfile.py", "ruamel")


def test_every_requirement_is_imported() -> None:
    imported = set().union(*(distributions(package) for _, package in third_party()))
    assert REQUIRED - imported == set()
