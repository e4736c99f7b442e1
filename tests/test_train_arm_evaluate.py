"""`python -m models.train evaluate arm-deviation`: on recordings, and on simulated arms where there are none."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from agent import package
from drivers.sensor._arm import CHANNELS, LABELS, UNCLEAR, Run
from models.train.__main__ import main
from models.train.arm_deviation import evaluate as road
from models.train.arm_deviation import stops
from models.train.arm_deviation.windows import ANY, HEALTHY_TEST, KNOWN, MILD, SEARCH, TEST, TRAIN, VALIDATE, run_of
from models.train.data import DataError
from models.train.network import Network

ARM = package.find("arm-deviation")


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("drivers.faults").setLevel(logging.ERROR)


def network() -> Network:
    return Network((ARM / "arm-deviation.tflite").read_bytes())


def save(path: Path, run: Run, labels: bool = True, names: tuple[str, ...] = CHANNELS, step: float = 0.001) -> None:
    """As a user would record it: with time, in an order of its own."""
    columns = [CHANNELS.index(name) for name in names]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t_s", *names, *(["label"] if labels else [])])
        for tick, (row, label) in enumerate(zip(run.readings, run.labels)):
            told = [] if not labels else ["" if label == UNCLEAR else LABELS[label]]
            writer.writerow([f"{tick * step:.4f}", *(f"{row[column]:.9g}" for column in columns), *told])


def test_recordings_give_the_figures_of_the_run(tmp_path: Path, capsys) -> None:
    run = run_of(1, 6.0, KNOWN, ANY)
    save(tmp_path / "one.csv", run, names=CHANNELS[::-1])
    read = road.read(tmp_path / "one.csv")
    assert np.array_equal(read.readings, run.readings) and np.array_equal(read.labels, run.labels)
    wanted = stops.tally([run], network())
    assert main(["evaluate", "arm-deviation", "--data", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    one = told["unseen"]["one.csv"]
    assert one["onsets"]["number"] == len(wanted.onset) > 2 and one["onsets"]["in_10_ms"] == stops.in_time(wanted.onset)
    assert one["false_stops"] == wanted.false_stops and one["hours"] == pytest.approx(6 / 3600, abs=1e-4)
    assert "simulated arms 0..299" in told["seen"]
    assert main(["evaluate", "arm-deviation", "--data", str(tmp_path)]) == 0
    assert "false_stops_per_hour" in capsys.readouterr().out


def test_several_recordings_are_counted_together(tmp_path: Path) -> None:
    (tmp_path / "arm-deviation").mkdir()
    for seed, amounts in ((1, ANY), (2, None)):
        save(tmp_path / f"arm-deviation/{seed}.csv", run_of(seed, 3.0, KNOWN, amounts))
    told = road.evaluate(ARM, tmp_path)["unseen"]
    assert set(told) == {"1.csv", "2.csv", "all"} and told["2.csv"]["onsets"] == {"number": 0}
    assert told["all"]["onsets"]["number"] == told["1.csv"]["onsets"]["number"] > 0
    assert told["all"]["hours"] == pytest.approx(6 / 3600, abs=1e-4)


def test_without_labels_five_degrees_are_a_deviation(tmp_path: Path) -> None:
    run = run_of(1, 4.0, KNOWN, ANY)
    save(tmp_path / "one.csv", run, labels=False)
    read = road.read(tmp_path / "one.csv")
    far = np.abs(run.readings[:, :3]).max(axis=1) >= 5
    assert far.any() and np.array_equal(read.labels == LABELS.index("deviation"), far)
    assert set(np.unique(read.labels)) == {UNCLEAR, 0, 1}


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda path, run: save(path, run, names=CHANNELS[1:]), "no column 'e1'"),
        (lambda path, run: save(path, run, step=0.01), "a reading every 10 ms"),
        (
            lambda path, run: save(path, Run(run.readings[:20], run.labels[:20], run.crossings)),
            "20 readings; the model needs 32",
        ),
        (
            lambda path, run: (save(path, run), path.write_text(path.read_text().replace("normal", "fine", 1))),
            ":2: label 'fine'",
        ),
        (lambda path, run: path.write_bytes(b"\xff\xfe\0"), "one.csv: cannot be read"),
    ],
)
def test_a_recording_that_does_not_fit_is_named(tmp_path: Path, capsys, spoil, why: str) -> None:
    spoil(tmp_path / "one.csv", run_of(1, 0.2, KNOWN, None))
    assert main(["evaluate", "arm-deviation", "--data", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert why in told and "one.csv" in told and len(told.strip().splitlines()) == 1


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        road.evaluate(ARM, tmp_path / "none")


def test_arms_that_nobody_met_are_simulated(tmp_path: Path, monkeypatch, capsys) -> None:
    known = set().union(TRAIN, SEARCH, VALIDATE, TEST, HEALTHY_TEST)
    assert not known & set().union(road.FAULTY, road.MILDLY, road.QUIET)
    monkeypatch.setattr(road, "RUN_S", 3.0)
    monkeypatch.setattr(road, "HEALTHY_S", 2.0)
    told = road.simulated(network(), range(2), range(1), range(5_000, 5_003))
    assert told["healthy"]["hours"] == pytest.approx(6 / 3600, abs=1e-4) and told["healthy"]["crossings"] == {
        "number": 0
    }
    both = stops.tally([run_of(seed, 3.0, road.WIDER, ANY) for seed in range(2)], network())
    assert told["with faults"]["onsets"]["number"] == len(both.onset)
    assert told["harmless"]["seeds"] == "0..0" and MILD[1] < ANY[1]
    assert "simulating" in capsys.readouterr().err


def test_rates_carry_their_bound() -> None:
    told = road.told(stops.Tally(2.0, 0, np.array([-3.0, 11.0, np.nan]), np.array([])))
    assert told["false_stops_per_hour_below_95"] == pytest.approx(1.5, abs=0.05)
    crossings = told["crossings"]
    assert (crossings["number"], crossings["in_10_ms"], crossings["never"], crossings["median_ms"]) == (3, 1, 1, 4.0)
    assert road.share(np.array([np.nan]))["median_ms"] is None
