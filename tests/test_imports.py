"""Rooms import downwards only, without cycles; and what must start quickly loads no heavy library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.benches import imports
from tests.shared import ROOT

ROOMS = ("errors", "drivers", "low", "high", "models.train")


def violations(folder: Path, **files: str) -> list[str]:
    """Of a tree with these modules: agent__low__a is agent/low/a.py."""
    for name, source in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(source)
    result = imports.examine(folder, ROOMS)
    return [*result["violations"], *(f"lazy: {cycle}" for cycle in result["lazy_cycles"])]


def test_this_tree_has_no_violation() -> None:
    command = [sys.executable, "-m", "agent.benches.imports"]
    check = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check.stdout + check.stderr
    assert check.stdout.splitlines()[0].endswith("no cycle, no import upwards")


def test_every_room_of_this_tree_is_in_the_order_and_every_room_of_the_order_exists() -> None:
    rooms = {
        path.stem for path in (ROOT / "agent").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == set(imports.ROOMS) - {"drivers", "models.train"}
    assert len(imports.ROOMS) == len(set(imports.ROOMS))


def test_a_clean_tree(tmp_path: Path) -> None:
    files = {
        "agent__high__a": "from agent.low import b\nfrom agent import errors",
        "agent__low__b": "",
        "agent__errors": "",
    }
    assert violations(tmp_path, **files) == []


def test_a_cycle_is_found(tmp_path: Path) -> None:
    files = {
        "agent__low__a": "from agent.low import b",
        "agent__low__b": "import agent.low.c",
        "agent__low__c": "try:\n    from .a import name\nexcept ImportError: pass",
    }
    (cycle,) = violations(tmp_path, **files)
    assert cycle == "import cycle: agent.low.a -> agent.low.b -> agent.low.c -> agent.low.a"


def test_a_cycle_that_a_function_closes_is_listed_apart(tmp_path: Path) -> None:
    files = {"agent__low__a": "from agent.low import b", "agent__low__b": "def f():\n    from agent.low import a"}
    assert violations(tmp_path, **files) == ["lazy: agent.low.a -> agent.low.b -> agent.low.a"]


@pytest.mark.parametrize(
    "source, kind",
    [
        ("import agent.high.b", "top-level"),
        ("class A:\n    def f(self):\n        from agent.high.b import name", "lazy"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from agent.high import b", "type-checking"),
        ("from ..high import b", "top-level"),
    ],
)
def test_an_import_upwards_is_found(tmp_path: Path, source: str, kind: str) -> None:
    (violation,) = violations(tmp_path, agent__low__a=source, agent__high__b="")
    line = source.count("\n") + 1
    assert violation == f"import upwards: agent.low.a:{line} imports agent.high.b ({kind}): low is below high"


def test_a_cycle_between_rooms_is_found(tmp_path: Path) -> None:
    files = {"agent__low__a": "import agent.high.a", "agent__high__b": "import agent.low.b", "agent__low__b": ""}
    assert "cycle between rooms: high -> low -> high" in violations(tmp_path, **files, agent__high__a="")


def test_the_product_that_imports_training_is_found(tmp_path: Path) -> None:
    files = {"agent__low__a": "def f():\n    from models.train import data", "models__train__data": ""}
    assert "the product imports training: agent.low.a:2 imports models.train.data (lazy)" in violations(
        tmp_path, **files
    )


def test_a_driver_that_imports_more_than_data_is_found(tmp_path: Path) -> None:
    result = violations(tmp_path, drivers__camera="import agent.errors", agent__errors="")
    assert result == [
        "a driver imports more of agent than agent.data, agent.isolated:"
        " drivers.camera:1 imports agent.errors (top-level)"
    ]


def test_a_room_without_a_place_in_the_order_is_found(tmp_path: Path) -> None:
    (violation,) = violations(tmp_path, agent__attic__a="")
    assert violation.startswith("room attic: it has no place")


HEAVY = ("cv2", "numpy", "pydantic", "zmq", "ai_edge_litert", "onnxruntime")


@pytest.mark.parametrize(
    "module, forbidden", [("agent.cli", HEAVY), ("agent.field.status", ("cv2", "zmq", "ai_edge_litert", "onnxruntime"))]
)
def test_a_quick_start_loads_no_heavy_library(module: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted(set({forbidden}) & set(sys.modules)))"
    fresh = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert fresh.stdout.split() == []
