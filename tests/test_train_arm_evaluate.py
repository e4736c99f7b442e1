"""`python -m models.train evaluate arm-deviation`: on recordings, or on simulated arms if there are none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from agent.packages import package
from drivers.sensor._arm import CHANNELS, LABELS, UNCLEAR, Run
from models.train.__main__ import main
from models.train.arm_deviation import evaluate, stops
from models.train.arm_deviation.windows import ANY, HEALTHY_TEST, KNOWN, MILD, SEARCH, TEST, TRAIN, VALIDATE, draw_run
from models.train.data import DataError
from models.train.network import Network

ARM = package.find("arm-deviation")


def network() -> Network:
    return Network((ARM / "arm-deviation.tflite").read_bytes())


def save(path: Path, run: Run, labels: bool = True, names: tuple[str, ...] = CHANNELS, step: float = 0.001) -> None:
    """Write the file as a user may record it: with time, columns in any order."""
    columns = [CHANNELS.index(name) for name in names]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t_s", *names, *(["label"] if labels else [])])
        for tick, (row, label) in enumerate(zip(run.readings, run.labels)):
            cells = [] if not labels else ["" if label == UNCLEAR else LABELS[label]]
            writer.writerow([f"{tick * step:.4f}", *(f"{row[column]:.9g}" for column in columns), *cells])


def test_recordings_give_the_figures_of_the_run(tmp_path: Path, capsys) -> None:
    run = draw_run(1, 6.0, KNOWN, ANY)
    save(tmp_path / "run.csv", run, names=CHANNELS[::-1])
    read = evaluate.read(tmp_path / "run.csv")
    assert np.array_equal(read.readings, run.readings) and np.array_equal(read.labels, run.labels)
    wanted = stops.tally([run], network())
    assert main(["evaluate", "arm-deviation", "--data", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    figures = report["unseen"]["run.csv"]
    assert figures["onsets"]["number"] == len(wanted.onset_ms) > 2
    assert figures["onsets"]["in_10_ms"] == stops.in_time(wanted.onset_ms)
    assert figures["false_stops"] == wanted.false_stops and figures["hours"] == pytest.approx(6 / 3600, abs=1e-4)
    assert "simulated arms 0..299" in report["seen"]
    assert main(["evaluate", "arm-deviation", "--data", str(tmp_path)]) == 0
    assert "false_stops_per_hour" in capsys.readouterr().out


def test_several_recordings_are_counted_together(tmp_path: Path) -> None:
    (tmp_path / "arm-deviation").mkdir()
    for seed, amounts in ((1, ANY), (2, None)):
        save(tmp_path / f"arm-deviation/{seed}.csv", draw_run(seed, 3.0, KNOWN, amounts))
    figures = evaluate.evaluate(ARM, tmp_path)["unseen"]
    assert set(figures) == {"1.csv", "2.csv", "all"} and figures["2.csv"]["onsets"] == {"number": 0}
    assert figures["all"]["onsets"]["number"] == figures["1.csv"]["onsets"]["number"] > 0
    assert figures["all"]["hours"] == pytest.approx(6 / 3600, abs=1e-4)


def test_without_labels_five_degrees_are_a_deviation(tmp_path: Path) -> None:
    run = draw_run(1, 4.0, KNOWN, ANY)
    save(tmp_path / "run.csv", run, labels=False)
    read = evaluate.read(tmp_path / "run.csv")
    far = np.abs(run.readings[:, :3]).max(axis=1) >= 5
    assert far.any() and np.array_equal(read.labels == LABELS.index("deviation"), far)
    assert set(np.unique(read.labels)) == {UNCLEAR, 0, 1}


@pytest.mark.parametrize(
    "write, reason",
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
        (lambda path, run: path.write_bytes(b"\xff\xfe\0"), "run.csv: cannot be read"),
    ],
)
def test_an_unsuitable_recording_is_reported_in_one_line(tmp_path: Path, capsys, write, reason: str) -> None:
    write(tmp_path / "run.csv", draw_run(1, 0.2, KNOWN, None))
    assert main(["evaluate", "arm-deviation", "--data", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert reason in error and "run.csv" in error and len(error.strip().splitlines()) == 1


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        evaluate.evaluate(ARM, tmp_path / "none")


def test_new_arms_are_simulated_if_there_are_no_recordings(tmp_path: Path, monkeypatch, capsys) -> None:
    known = set().union(TRAIN, SEARCH, VALIDATE, TEST, HEALTHY_TEST)
    assert not known & set().union(evaluate.FAULTY, evaluate.MILDLY_FAULTY, evaluate.HEALTHY_ARMS)
    monkeypatch.setattr(evaluate, "RUN_S", 3.0)
    monkeypatch.setattr(evaluate, "HEALTHY_S", 2.0)
    figures = evaluate.simulated(network(), range(2), range(1), range(5_000, 5_003))
    assert figures["healthy"]["hours"] == pytest.approx(6 / 3600, abs=1e-4)
    assert figures["healthy"]["crossings"] == {"number": 0}
    tally = stops.tally([draw_run(seed, 3.0, evaluate.WIDER, ANY) for seed in range(2)], network())
    assert figures["with faults"]["onsets"]["number"] == len(tally.onset_ms)
    assert figures["harmless"]["seeds"] == "0..0" and MILD[1] < ANY[1]
    assert "simulating" in capsys.readouterr().err


def test_rates_have_an_upper_bound() -> None:
    figures = evaluate.figures(stops.Tally(2.0, 0, np.array([-3.0, 11.0, np.nan]), np.array([])))
    assert figures["false_stops_per_hour_below_95"] == pytest.approx(1.5, abs=0.05)
    crossings = figures["crossings"]
    assert (crossings["number"], crossings["in_10_ms"], crossings["never"], crossings["median_ms"]) == (3, 1, 1, 4.0)
    assert evaluate.share_in_time(np.array([np.nan]))["median_ms"] is None
