"""How `reflexd bench objects` counts; on real frames where ../shared is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.benches import objects
from agent.benches.objects import Label
from agent.cli import cli
from agent.data import Box
from agent.decoders.base import Finding
from agent.errors import DataError
from tests.shared import PUBLIC, needs_recordings

LEFT, RIGHT, TOP = Box(0.0, 0.0, 0.4, 1.0), Box(0.6, 0.0, 1.0, 1.0), Box(0.0, 0.0, 1.0, 0.2)


def person(box: Box, score: float = 0.9, label: str = "person") -> Finding:
    return Finding(label, score, box)


@pytest.mark.parametrize(
    ("findings", "found", "false"),
    [
        ([], 0, 0),
        ([person(LEFT), person(RIGHT)], 2, 0),
        ([person(LEFT), person(LEFT, 0.8)], 1, 1),  # twice the same person
        ([person(Box(0.0, 0.0, 0.4, 0.45))], 0, 1),  # overlaps by less than half
        ([person(LEFT, label="dog")], 0, 0),  # is counted for dogs
        ([person(Box(0.45, 0.0, 0.55, 0.2))], 0, 0),  # in what is ignored
        ([person(Box(0.45, 0.0, 0.55, 0.5))], 0, 1),  # less than half of it in what is ignored
    ],
)
def test_each_label_is_found_once_and_what_is_left_is_false(findings: list[Finding], found: int, false: int) -> None:
    labels = [Label("person", LEFT, False), Label("person", RIGHT, False), Label("car", TOP, True)]
    score = objects.score(labels, findings)
    assert (score.labels["person"], score.matched["person"], score.false["person"]) == (2, found, false)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"clip": "a"}]', '[{"width": 0}]'])
def test_a_file_that_has_no_labels_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match="labels.json: no list of labelled frames"):
        objects.read_labels(tmp_path / "labels.json")
    with pytest.raises(DataError, match="No such file"):
        objects.read_labels(tmp_path / "missing.json")


@needs_recordings
@pytest.mark.slow
def test_a_detector_is_measured(tmp_path: Path) -> None:
    folder = tmp_path / "yolox"
    made = CliRunner().invoke(cli, ["model", "init", str(PUBLIC / "yolox_nano.onnx"), "--into", str(folder)])
    assert made.exit_code == 0, made.output
    (folder / "manifest.yaml").write_text((folder / "manifest.yaml").read_text().replace("auto", "onnx"))
    result = CliRunner().invoke(
        cli, ["bench", "objects", "--short", "--json", "--model", str(folder)], catch_exceptions=False
    )
    report = json.loads(result.stdout)
    assert report["frames"] >= 15 and report["recall"] > 0.5 and report["p50_ms"] > 0
    assert report["recall"] == report["labels"]["person"]["recall"]
