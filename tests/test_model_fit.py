"""`reflexd model fit`: a threshold from recordings of the good state, and recordings that it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.data import Array
from agent.errors import PackageError
from agent.offline import offline_lane
from agent.packages import package
from agent.packages.package import Package
from agent.perception import Perception
from tests.reconstruction_fixtures import READINGS, hum, listening, machine_sounds, repeating, wav
from tests.shared import needs_recordings

onnxruntime = pytest.importorskip("onnxruntime")


def fit(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["model", "fit", *map(str, arguments), "--json"], catch_exceptions=False)
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def scores(opened: Package, recording: Path) -> list[float]:
    lane = offline_lane("mic", "audio.file", {"path": str(recording)}, Perception(opened))
    lane.open()
    samples = lane.source.remaining_samples()
    return [lane.infer(sample)[0].score for sample in samples if lane.perception.prepare(sample)]


def table(path: Path, rows: Array, head: str = "x,y") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, "%.5f", ",", header=head, comments="")
    return path


def readings(count: int = 1000, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (count, 2))


def test_good_sound_stays_below_the_threshold_and_other_sound_does_not(tmp_path: Path) -> None:
    folder = listening(tmp_path / "hum")
    report = fit(folder, "--good", wav(tmp_path / "a.wav", hum()), wav(tmp_path / "b.wav", hum(seed=1)))
    assert report["files"] == 2 and report["windows"] == 2 * 932 and report["apart"] == 2 * 156
    assert report["median"] < report["quantile"] <= report["highest"] and report["before"] is None
    assert report["threshold"] == pytest.approx(1.2 * report["quantile"], rel=1e-5)
    opened = package.open_package(folder)
    assert np.mean(np.array(scores(opened, wav(tmp_path / "c.wav", hum(10, seed=2)))) < 0.5) > 0.97
    assert min(scores(opened, wav(tmp_path / "d.wav", hum(10, seed=3, loud=0.0005)))) > 0.5


@needs_recordings
def test_the_public_model_of_machine_sounds_learns_its_threshold(tmp_path: Path) -> None:
    """Of a hum, which it was not trained on: only that the way is whole."""
    folder = machine_sounds(tmp_path / "toycar")
    report = fit(folder, "--good", wav(tmp_path / "good/a.wav", hum()).parent)
    assert package.open_package(folder).manifest.options == {"threshold": report["threshold"]}


def test_readings_with_and_without_times(tmp_path: Path) -> None:
    folder = repeating(tmp_path / "arm", (1, 8, 2), {}, window=READINGS)
    plain = fit(folder, "--good", table(tmp_path / "a.csv", readings()))
    timed = np.column_stack([np.arange(1000) * 0.001, readings()[:, ::-1]])
    assert plain["windows"] == 993 and plain["apart"] == 125
    again = fit(folder, "--good", table(tmp_path / "b.csv", timed, "t_s,y,x"))
    assert again["threshold"] == pytest.approx(plain["threshold"], rel=1e-4)  # by the names of the channels
    assert again["before"] == plain["threshold"]


def test_only_the_threshold_changes_and_a_copy_leaves_the_package_alone(tmp_path: Path) -> None:
    folder = repeating(tmp_path / "arm", (1, 8, 2), {"threshold": 3.0}, window=READINGS)
    manifest = folder / "manifest.yaml"
    manifest.write_text("# ours\n" + manifest.read_text() + 'data: "good state"  # of March\n')
    before = manifest.read_text()
    good = table(tmp_path / "a.csv", readings())
    report = fit(folder, "--good", good, "--into", tmp_path / "copy")
    assert manifest.read_text() == before and report["before"] == 3.0
    after = (tmp_path / "copy/manifest.yaml").read_text()
    assert after.startswith("# ours\n") and "# of March" in after
    assert package.open_package(tmp_path / "copy").manifest.options["threshold"] == report["threshold"]
    with pytest.raises(PackageError, match="copy exists already"):
        fit(folder, "--good", good, "--into", tmp_path / "copy")


def test_the_report_for_people(tmp_path: Path) -> None:
    folder = repeating(tmp_path / "arm", (1, 8, 2), {"threshold": 3.0}, window=READINGS)
    command = ["model", "fit", str(folder), "--good", str(table(tmp_path / "a.csv", readings())), "--quantile", "0.9"]
    text = CliRunner().invoke(cli, command).stdout
    assert "good state: 993 windows of 1 file (125 that do not overlap); error: median 0.00" in text
    assert "quantile 0.9 0.01" in text and "(was 3), which has the score 0.5" in text


SPIKED = hum()
SPIKED[100_000:140_000] = 0.0


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (hum(15), "78 windows that do not overlap are too few for the quantile 0.99: 100 are needed, that is 19 s"),
        (np.zeros(480_000, np.float32), "nothing changes in it"),
        (SPIKED, "8% of it is silent"),
        (np.zeros(0, np.float32), "no sound in it"),
    ],
    ids=["short", "silent", "partly silent", "empty"],
)
def test_sound_that_is_refused(tmp_path: Path, sound: Array, message: str) -> None:
    folder, recording = listening(tmp_path / "hum", threshold=3.0), wav(tmp_path / "a.wav", sound)
    before = (folder / "manifest.yaml").read_text()
    with pytest.raises(PackageError, match=message):
        fit(folder, "--good", recording)
    assert (folder / "manifest.yaml").read_text() == before


@pytest.mark.parametrize(
    ("cell", "message"),
    [(np.nan, "a.csv:502"), (np.inf, "a.csv:502"), (1e30, "NaN or infinite"), (None, "nothing changes")],
)
def test_readings_that_are_refused(tmp_path: Path, cell: float | None, message: str) -> None:
    folder, rows = repeating(tmp_path / "arm", (1, 8, 2), {}, window=READINGS), readings()
    if cell is None:
        rows[:] = 1.0
    else:
        rows[500] = cell
    with pytest.raises(PackageError, match=message):
        fit(folder, "--good", table(tmp_path / "a.csv", rows))


def test_a_high_quantile_needs_more_windows(tmp_path: Path) -> None:
    folder = repeating(tmp_path / "arm", (1, 8, 2), {}, window=READINGS)
    with pytest.raises(PackageError, match="0.999: 1000 are needed, that is 8,000 readings"):
        fit(folder, "--good", table(tmp_path / "a.csv", readings()), "--quantile", 0.999)


def test_what_cannot_be_fitted(tmp_path: Path) -> None:
    good = table(tmp_path / "good/a.csv", readings())
    with pytest.raises(PackageError, match="decoder 'sequence' has no threshold to learn"):
        fit("arm-deviation", "--good", good, "--into", tmp_path / "copy")
    with pytest.raises(PackageError, match="arm-deviation is bundled: name the folder"):
        fit("arm-deviation", "--good", good)
    folder = listening(tmp_path / "hum")
    with pytest.raises(PackageError, match="expected a .wav file"):
        fit(folder, "--good", good)
    with pytest.raises(PackageError, match="no .wav file in this folder"):
        fit(folder, "--good", good.parent)
    with pytest.raises(PackageError, match="no such file"):
        fit(folder, "--good", tmp_path / "nothing.wav")


def test_a_recording_given_twice_counts_once(tmp_path: Path) -> None:
    folder, good = repeating(tmp_path / "arm", (1, 8, 2), {}, window=READINGS), table(tmp_path / "a.csv", readings(500))
    with pytest.raises(PackageError, match="62 windows"):
        fit(folder, "--good", good, good, tmp_path / "../" / tmp_path.name / "a.csv")
