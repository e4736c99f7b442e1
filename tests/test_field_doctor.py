"""`reflexd doctor` as a whole: with and without a daemon, a broken configuration, a check that fails itself."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from agent import ledger
from agent.field import doctor, snapshot
from agent.field.checks import leftovers, network, software, timers
from agent.field.checks.base import BAD, GOOD, SKIP, WARN, Box, Check
from tests.field_fixtures import box, complete, configuration, exit_code, reflexd, write_ledger
from tests.processes import Cell, arm
from tests.waiting import until

EVERY = {
    "daemon",
    "ledgers",
    "python",
    "libraries",
    "configuration",
    "engine litert",
    "model arm-deviation",
    "SCHED_FIFO",
    "RT throttling",
    "memory lock",
    "cpu governor",
    "power mode",
    "gpu clock",
    "clock source",
    "time",
    "devices",
    "cameras, serial lines",
    "temperature",
    "throttling",
    "throttled before",
    "open endpoints",
    "keys",
    "DSCP",
    "timer jitter",
}


@pytest.fixture(autouse=True)
def short_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "SECONDS", 0.05)


def report(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(reflexd("doctor", "-c", str(path), "--json").stdout)
    return answer


def by_name(answer: dict[str, Any]) -> dict[str, Check]:
    return {check["name"]: complete(Check(**check)) for check in answer["checks"]}


def test_every_subject_is_checked_on_any_machine(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    answer = report(path)
    assert set(by_name(answer)) >= EVERY
    assert answer["exit_code"] == max(
        {"good": 0, "skip": 0, "warn": 1, "bad": 2}[check["state"]] for check in answer["checks"]
    )
    assert sum(answer[state] for state in (GOOD, WARN, BAD, SKIP)) == len(answer["checks"])
    result = reflexd("doctor", "-c", str(path))
    assert exit_code(result) == answer["exit_code"] and all(len(line) <= 80 for line in result.stdout.splitlines())
    assert "skipped" in result.stdout.splitlines()[-1]


def test_a_broken_configuration_does_not_stop_the_other_checks(tmp_path: Path) -> None:
    good = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}
    answer = report(configuration(tmp_path, lanes={"arm": good, "leg": {"modle": "x"}}, nonsense=1))
    checks = by_name(answer)
    assert set(checks) >= EVERY and answer["exit_code"] == 2
    assert checks["configuration"].state == BAD and "nonsense" in checks["configuration"].cause
    assert checks["model arm-deviation"].state == GOOD


@pytest.mark.parametrize("content", [b"lanes: {a: [", b"\xff\xfe", b"- 1\n", b""])
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_bytes(content)
    checks = by_name(report(path))
    assert EVERY - {"model arm-deviation"} <= set(checks) and (
        "configuration" not in checks or checks["python"].state == GOOD
    )


def test_no_configuration_at_all(tmp_path: Path) -> None:
    checks = by_name(report(tmp_path / "none.yaml"))
    assert checks["configuration"].state == BAD and "No such file" in checks["configuration"].cause


def test_a_check_that_fails_itself_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Box) -> list[Check]:
        raise ZeroDivisionError("a kernel file of an unknown format")

    monkeypatch.setattr(network, "checks", broken)
    checks = by_name(report(configuration(tmp_path)))
    assert (
        checks["network"].state == WARN and "ZeroDivisionError" in checks["network"].cause and "timer jitter" in checks
    )


@pytest.mark.slow
def test_beside_a_daemon_and_after_it_was_killed(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, daemon = cell.start_both()
        path = cell.write()
        until(lambda: snapshot.read_snapshot(path).reply, "its answer")
        checks = by_name(report(path))
        assert checks["daemon"].state == GOOD and str(daemon.popen.pid) in checks["daemon"].cause
        assert "the daemon, pid" in checks["SCHED_FIFO"].cause and checks["ledgers"].state == GOOD
        daemon.signal(signal.SIGKILL)
        daemon.popen.wait()
        checks = by_name(report(path))
        assert (
            checks["daemon"].state == SKIP and checks["ledgers"].state == WARN and "killed" in checks["ledgers"].cause
        )
        daemon = cell.run()
        cell.wait_for("run", after=len(cell.records()))
        assert daemon.stop() == 0
        assert by_name(report(path))["ledgers"].state == GOOD  # left in good order


def test_the_ledgers_show_how_the_daemon_ended(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    assert [check.state for check in leftovers.checks(box(path))] == [SKIP, SKIP]
    write_ledger(tmp_path, state=ledger.FAILED)
    daemon, ledgers = leftovers.checks(box(path))
    assert (complete(daemon).state, ledgers.state) == (BAD, GOOD) and "bug in lane arm" in daemon.cause
    (tmp_path / "run/arm.ledger").write_bytes(b"reflexd\x01")
    write_ledger(tmp_path, "leg")
    _, ledgers = leftovers.checks(box(path))
    assert complete(ledgers).state == WARN and "not a ledger" in ledgers.cause


def test_a_daemon_that_is_not_healthy(tmp_path: Path) -> None:
    cell = box(configuration(tmp_path))
    safe = cell.view._replace(pid=1, reply={"health": "safe", "reasons": ["lane arm has stopped with a bug"]})
    assert complete(leftovers.daemon(cell._replace(view=safe))).state == BAD
    degraded = cell.view._replace(pid=1, reply={"health": "degraded", "reasons": ["lane yard waits for its source"]})
    assert complete(leftovers.daemon(cell._replace(view=degraded))).state == WARN
    assert complete(leftovers.daemon(cell._replace(view=safe._replace(reply={})))).state == WARN


def test_interpreters_and_engines() -> None:
    assert software.python((3, 9, 2)).state == BAD and software.python().state == GOOD
    assert software.libraries(lambda name: "" if name == "pyzmq" else "1").fix == "pip install pyzmq"
    assert software.litert(lambda name: "2.3" if name == "ai-edge-litert" else "").state == GOOD
    assert complete(software.litert(lambda name: "2.14" if name == "tflite-runtime" else "")).state == WARN
    assert complete(software.litert(lambda _: "")).state == BAD
    assert software.onnx({"cpu"}, lambda _: "1.2", lambda: ["cpu"]).state == GOOD
    missing = complete(software.onnx({"cpu", "cann"}, lambda _: "", lambda: ["cpu"]))
    assert missing.state == BAD and "has cpu, not cann" in missing.cause


def test_an_engine_that_does_not_load() -> None:
    def available() -> list[str]:
        raise software.EngineError("libcudart.so.12: cannot open shared object file")

    assert complete(software.onnx({"cuda"}, lambda _: "1.2", available)).state == BAD


def test_a_model_whose_file_was_changed(tmp_path: Path) -> None:
    for file in (software.package.BUNDLED / "arm-deviation").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert software.model("copy", tmp_path).state == GOOD
    weights = tmp_path / software.package.read(tmp_path).file
    weights.write_bytes(
        weights.read_bytes()[:-1] + b"\0" if weights.read_bytes()[-1] else weights.read_bytes()[:-1] + b"\1"
    )
    damaged = complete(software.model("copy", tmp_path))
    assert damaged.state == BAD and "sha256" in damaged.cause


def test_the_text_of_a_check_fits_80_columns() -> None:
    lines = doctor.lines(Check("disk", BAD, "x " * 60, "effect", "command"))
    assert lines[0].startswith("BAD  disk: x x") and lines[-1] == "      fix: command" and max(map(len, lines)) <= 80
    assert doctor.lines(Check("disk", GOOD, "fine\x1b[2J")) == ["good disk: fine?[2J"]
