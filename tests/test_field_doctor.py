"""`reflexd doctor` as a whole: beside a daemon, without one, with a broken configuration, with a check that fails itself."""

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
from tests.fielders import box, code, configuration, reflexd, whole, write_ledger
from tests.processes import Cell, arm, until

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
    "insecure",
    "keys",
    "DSCP",
    "timer jitter",
}


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "SECONDS", 0.05)


def told(path: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(reflexd("doctor", "-c", str(path), "--json").stdout)
    return answer


def by_name(answer: dict[str, Any]) -> dict[str, Check]:
    return {one["name"]: whole(Check(**one)) for one in answer["checks"]}


def test_every_subject_is_looked_at_on_any_machine(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    answer = told(path)
    assert EVERY <= set(by_name(answer))
    assert answer["exit_code"] == max(
        {"good": 0, "skip": 0, "warn": 1, "bad": 2}[one["state"]] for one in answer["checks"]
    )
    assert sum(answer[state] for state in (GOOD, WARN, BAD, SKIP)) == len(answer["checks"])
    shown = reflexd("doctor", "-c", str(path))
    assert code(shown) == answer["exit_code"] and all(len(line) <= 80 for line in shown.stdout.splitlines())
    assert "not checked" in shown.stdout.splitlines()[-1]


def test_a_broken_configuration_does_not_stop_the_other_checks(tmp_path: Path) -> None:
    good = {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"}
    answer = told(configuration(tmp_path, lanes={"arm": good, "leg": {"modle": "x"}}, nonsense=1))
    found = by_name(answer)
    assert EVERY <= set(found) and answer["exit_code"] == 2
    assert found["configuration"].state == BAD and "nonsense" in found["configuration"].cause
    assert found["model arm-deviation"].state == GOOD


@pytest.mark.parametrize("content", [b"lanes: {a: [", b"\xff\xfe", b"- 1\n", b""])
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reflexd.yaml"
    path.write_bytes(content)
    found = by_name(told(path))
    assert EVERY - {"model arm-deviation"} <= set(found) and (
        "configuration" not in found or found["python"].state == GOOD
    )


def test_no_configuration_at_all(tmp_path: Path) -> None:
    found = by_name(told(tmp_path / "none.yaml"))
    assert found["configuration"].state == BAD and "No such file" in found["configuration"].cause


def test_a_check_that_fails_itself_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Box) -> list[Check]:
        raise ZeroDivisionError("a kernel file nobody has seen yet")

    monkeypatch.setattr(network, "checks", broken)
    found = by_name(told(configuration(tmp_path)))
    assert found["network"].state == WARN and "ZeroDivisionError" in found["network"].cause and "timer jitter" in found


def test_beside_a_daemon_and_after_it_was_killed(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        _, daemon = cell.both()
        path = cell.write()
        until("its answer", lambda: snapshot.look(path).said)
        found = by_name(told(path))
        assert found["daemon"].state == GOOD and str(daemon.popen.pid) in found["daemon"].cause
        assert "the daemon, pid" in found["SCHED_FIFO"].cause and found["ledgers"].state == GOOD
        daemon.signal(signal.SIGKILL)
        daemon.popen.wait()
        found = by_name(told(path))
        assert found["daemon"].state == SKIP and found["ledgers"].state == WARN and "killed" in found["ledgers"].cause
        daemon = cell.run()
        cell.goes("run", after=len(cell.records()))
        assert daemon.stop() == 0
        assert by_name(told(path))["ledgers"].state == GOOD  # left in good order


def test_what_a_ledger_tells_of_the_end(tmp_path: Path) -> None:
    path = configuration(tmp_path)
    assert [one.state for one in leftovers.checks(box(path))] == [SKIP, SKIP]
    write_ledger(tmp_path, state=ledger.FAILED)
    daemon, ledgers = leftovers.checks(box(path))
    assert (whole(daemon).state, ledgers.state) == (BAD, GOOD) and "bug in lane arm" in daemon.cause
    (tmp_path / "run/arm.ledger").write_bytes(b"reflexd\x01")
    write_ledger(tmp_path, "leg")
    _, ledgers = leftovers.checks(box(path))
    assert whole(ledgers).state == WARN and "not a ledger" in ledgers.cause


def test_a_daemon_that_is_not_well(tmp_path: Path) -> None:
    seen = box(configuration(tmp_path))
    sick = seen.view._replace(pid=1, said={"health": "safe", "reasons": ["lane arm has stopped with a bug"]})
    assert whole(leftovers.daemon(seen._replace(view=sick))).state == BAD
    less = seen.view._replace(pid=1, said={"health": "degraded", "reasons": ["lane yard waits for its source"]})
    assert whole(leftovers.daemon(seen._replace(view=less))).state == WARN
    assert whole(leftovers.daemon(seen._replace(view=sick._replace(said={})))).state == WARN


def test_interpreters_and_engines() -> None:
    assert software.python((3, 9, 2)).state == BAD and software.python().state == GOOD
    assert software.libraries(lambda name: "" if name == "pyzmq" else "1").mend == "pip install pyzmq"
    assert software.litert(lambda name: "2.3" if name == "ai-edge-litert" else "").state == GOOD
    assert whole(software.litert(lambda name: "2.14" if name == "tflite-runtime" else "")).state == WARN
    assert whole(software.litert(lambda _: "")).state == BAD
    assert software.onnx({"cpu"}, lambda _: "1.2", lambda: ["cpu"]).state == GOOD
    missing = whole(software.onnx({"cpu", "cann"}, lambda _: "", lambda: ["cpu"]))
    assert missing.state == BAD and "has cpu, not cann" in missing.cause


def test_an_engine_that_does_not_load() -> None:
    def present() -> list[str]:
        raise software.EngineError("libcudart.so.12: cannot open shared object file")

    assert whole(software.onnx({"cuda"}, lambda _: "1.2", present)).state == BAD


def test_a_model_whose_file_was_changed(tmp_path: Path) -> None:
    for file in (software.package.BUNDLED / "arm-deviation").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert software.model("mine", tmp_path).state == GOOD
    weights = tmp_path / software.package.read(tmp_path).file
    weights.write_bytes(
        weights.read_bytes()[:-1] + b"\0" if weights.read_bytes()[-1] else weights.read_bytes()[:-1] + b"\1"
    )
    damaged = whole(software.model("mine", tmp_path))
    assert damaged.state == BAD and "sha256" in damaged.cause


def test_text_of_a_finding_fits_and_says_all() -> None:
    shown = doctor.lines(Check("disk", BAD, "x " * 60, "effect", "command"))
    assert shown[0].startswith("BAD  disk: x x") and shown[-1] == "       do: command" and max(map(len, shown)) <= 80
    assert doctor.lines(Check("disk", GOOD, "fine\x1b[2J")) == ["good disk: fine?[2J"]
