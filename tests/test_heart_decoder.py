"""models/heart and models/heart-strap: findings of known windows, the strap on its line, packages and engine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent.backends import signal
from agent.backends.base import EngineError
from agent.data import Array
from agent.decoders import base as decoders
from agent.decoders.base import DecoderError, Finding
from agent.lane import Lane, Limits
from agent.ledger import Ledger
from agent.packages import package
from agent.packages.package import BUNDLED, Package
from agent.perception import Perception
from agent.rules.engine import Rules
from agent.rules.scene import Scene
from drivers.base import open_source
from models.train.heart.make import ecg_windows, make, strap_windows
from tests.waiting import until

HEART, STRAP = BUNDLED / "heart", BUNDLED / "heart-strap"


def scores_of(opened: Package, window: Array) -> dict[str, float]:
    opened.engine.input(0)[0] = window
    opened.engine.invoke()
    return {finding.label: finding.score for finding in opened.findings()}


def test_each_golden_window_has_its_label_first() -> None:
    opened = package.open_package(HEART)
    golden = np.load(HEART / "golden.npz")["input_0"]
    assert golden.shape == (5, 2000, 1) and np.array_equal(golden, ecg_windows())
    for window, label in zip(golden, ("heart-rate", "heart-rate", "flat-line", "fibrillation", "lead-off")):
        assert next(iter(scores_of(opened, window))) == label
    assert scores_of(opened, golden[0])["heart-rate"] * 300 == pytest.approx(72, abs=4)
    assert scores_of(opened, golden[1])["heart-rate"] * 300 == pytest.approx(120, abs=6)


def test_a_gap_resets_the_usual_rate() -> None:
    """The windows at 72 and at 130 bpm have no rows in common, so their difference is no jump."""
    opened = package.open_package(HEART)
    slow, fast = (long_run(bpm) for bpm in (72.0, 130.0))
    for end in range(2000, 12_000, 62):
        assert "heart-rate-jump" not in scores_of(opened, slow[end - 2000 : end])
    assert "heart-rate-jump" not in scores_of(opened, fast[:2000])
    joined = np.vstack([slow, fast])
    opened = package.open_package(HEART)
    scores = [scores_of(opened, joined[end - 2000 : end]).get("heart-rate-jump", 0) for end in range(2000, 15_000, 62)]
    assert max(scores) > 0.9


def long_run(bpm: float) -> Array:
    source = open_source("sensor.sim_heart", {"pace": "fast", "bpm": bpm}, "bed")
    source.open()
    return np.vstack([sample.payload.copy() for _ in range(12_000) if (sample := source.read(1.0))])


@pytest.mark.parametrize(
    "name, shape, options, message",
    [
        ("heart", (1, 2000, 2), {}, "one channel"),
        ("heart", (1, 1000, 1), {}, "1500 or more"),
        ("heart", (1, 2000, 1), {"flat_s": 5}, "twice as long"),
        ("heart_strap", (1, 10, 1), {}, "heart_strap needs"),
        ("heart_strap", (1, 7, 3), {}, "heart_strap needs"),
    ],
)
def test_a_window_of_the_wrong_shape_is_refused(
    name: str, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DecoderError, match=message):
        decoders.make(name, [], options, [shape])


def strap_findings(rows: list[tuple[float, float, float]]) -> list[list[Finding]]:
    """Findings of the ten newest rows after each new one."""
    decoder = decoders.make("heart_strap", [], {}, [(1, 10, 3)])
    table = np.array(rows, np.float32)
    return [decoder([table[None, end - 10 : end]]) for end in range(10, len(rows) + 1)]


def jitter(bpm: float, count: int) -> list[tuple[float, float, float]]:
    return [(bpm + n % 3, 1.0, 60_000 / bpm + 7 * (n % 5)) for n in range(count)]


def test_a_strap_distinguishes_no_contact_flat_line_and_jump() -> None:
    for rows, label in (
        ([(72.0, 0.0, 0.0)] * 4, "no-contact"),
        ([(0.0, -1.0, 0.0)] * 4, "no-contact"),
        ([(0.0, 1.0, 0.0)] * 4, "flat-line"),
        (jitter(110, 4), "heart-rate-jump"),
    ):
        steady, *_, last = strap_findings(jitter(72, 60) + rows)
        assert [finding.label for finding in steady if finding.score >= 0.5] == [] and steady[0].label == "heart-rate"
        assert last[0].label == label and last[0].score >= 0.5
        assert [finding.label for finding in last if finding.score >= 0.5] == [label]


def test_one_wrong_packet_is_no_jump() -> None:
    rows = jitter(72, 60) + [(180.0, 1.0, 333.0)] + jitter(72, 5)
    assert all(findings[0].label == "heart-rate" for findings in strap_findings(rows))


def test_a_strap_on_a_serial_line_gives_findings(line: tuple[int, str]) -> None:
    far, url = line
    source = open_source("sensor.heart_rate", {"url": url}, "bed")
    lane = Lane("bed", source, Perception(package.open_package(STRAP)), Limits(10**10, 10.0), Ledger(None, "bed", 10.0))
    scene = Scene(Rules({}, {}))
    lane.open()
    os.write(far, b"\n" + b"".join(b"16%02X%s\n" % (70 + n % 4, b"0004") for n in range(10)))
    for _ in range(2):
        sample = until(lambda: source.read(0.05))
        lane.step(sample, scene)
        assert lane.evidence is not None
        (first,) = [item.label for item in lane.evidence if item.score >= 0.5 or item.label == "heart-rate"]
        assert first == ("heart-rate" if sample.sequence == 9 else "no-contact")
        os.write(far, b"1448\n1448\n")
    source.close()


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "window.yaml:1"),
        ("{", "window.yaml:1"),
        ("input: 5\n", "window.yaml:1"),
        ("input: []\n", "input"),
        ("input: [1, 0, 1]\n", "1 or more"),
        ("input: [1, 100000, 1000]\n", "at most"),
        ("input: [1, 8.5]\n", "window.yaml:1"),
        ("input: [1, 8, 1]\nrate_hz: 5\n", "rate_hz"),
    ],
)
def test_a_damaged_window_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "window.yaml").write_text(text)
    with pytest.raises(EngineError, match=message):
        signal.Engine(tmp_path / "window.yaml", 1)
    with pytest.raises(EngineError, match="not on 'cuda'"):
        signal.Engine(HEART / "window.yaml", 1, "cuda")


def _text(path: Path) -> str:
    """Without the sum of golden.npz, whose bytes depend on the versions of Python and numpy."""
    return re.sub(r"golden\.npz: .*", "golden.npz", path.read_text())


def test_the_recipe_makes_the_bundled_packages(tmp_path: Path) -> None:
    make(tmp_path / "heart")
    for name in ("heart", "heart-strap"):
        for file in ("manifest.yaml", "window.yaml"):
            assert _text(tmp_path / name / file) == _text(BUNDLED / name / file)
    assert np.array_equal(np.load(STRAP / "golden.npz")["input_0"], strap_windows())
    assert package.labels(HEART)[0] == "heart-rate" and "no-contact" in package.labels(STRAP)


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(ValidationError):
        decoders.make("heart", [], {"rate_hz": 50}, [(1, 2000, 1)])
