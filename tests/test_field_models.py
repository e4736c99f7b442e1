"""`reflexd status` shows which version of a model runs, what is on trial, and why one was rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.field import models
from agent.field.outline import read_outline
from agent.field.snapshot import View


def view(tmp_path: Path, reply: dict[str, Any]) -> View:
    outline, _ = read_outline(tmp_path / "reflexd.yaml")
    return View(tmp_path / "reflexd.yaml", outline, tmp_path, 1, reply, {}, [], 0)


TRIAL = {"version": "2.1", "stage": "shadow", "done": 12, "of": 500, "agreement": 0.9833}


@pytest.mark.parametrize(
    "update, lines",
    [
        ({"current": None}, ["model m: the package of the configuration"]),
        (
            {"current": "2.0", "trial": TRIAL},
            ["model m: 2.0; 2.1 on trial: shadow, 12 of 500 samples, 98.3% agreement"],
        ),
        (
            {"current": "2.0", "trial": {"version": "2.1", "stage": "probation", "starts": 1}, "hold": "2.1"},
            ["model m: 2.0; 2.1 on trial: probation; held at 2.1"],
        ),
        (
            {"current": "2.0", "rejected": {"1.9": "slow", "2.2": "a fault"}},
            ["model m: 2.0", "  2.2 was rejected: a fault"],
        ),
        ("of another version", []),
    ],
)
def test_what_is_shown(tmp_path: Path, update: Any, lines: list[str]) -> None:
    assert models.lines(view(tmp_path, {"updates": {"m": update}})) == lines


@pytest.mark.parametrize("reply", [{}, {"updates": None}, {"updates": []}])
def test_without_updates_nothing_is_shown(tmp_path: Path, reply: dict[str, Any]) -> None:
    assert models.lines(view(tmp_path, reply)) == []
