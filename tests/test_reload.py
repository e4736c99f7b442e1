"""A changed configuration in a running daemon: what restarts, what continues, what is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from agent import reload
from agent.box.worker import Worker
from agent.config.models import Config
from agent.control import client as control
from agent.control.server import MAX_CLIENTS
from agent.data import Evidence
from agent.errors import ConfigError
from agent.packages.package import BUNDLED
from agent.reload import compare, summary
from agent.rules.conditions import RuleConfig
from agent.rules.engine import Rules
from tests.processes import Cell, arm, never, robot
from tests.waiting import DEADLINE_S, until

MS = 1_000_000


def config(**changes: Any) -> Config:
    lanes = {name: {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation"} for name in ("a", "b")}
    rule = {"any": [{"lane": "a", "label": "deviation"}], "actuator": "robot", "verb": "stop"}
    plain = {"run_dir": "/run/x", "lanes": lanes, "actuators": {"robot": {"rest": "run"}}, "rules": {"off-plan": rule}}
    return Config.model_validate({**plain, **changes})


def lanes(**changes: Any) -> dict[str, Any]:
    return {name: {"source": {"driver": "sensor.sim_arm"}, "model": "arm-deviation", **changes} for name in ("a", "b")}


def test_an_unchanged_configuration_restarts_nothing() -> None:
    assert compare(config(), config()) == ([], [], [])


def test_only_the_lane_that_changed_restarts() -> None:
    new = lanes()
    new["b"]["critical"] = False
    assert compare(config(), config(lanes=new)) == (["b"], ["b"], [])
    assert compare(config(), config(lanes={**lanes(), "c": new["b"]})) == ([], ["c"], [])
    assert compare(config(), config(lanes={"a": lanes()["a"]})) == (["b"], [], [])


def summed(**changes: Any) -> str:
    """The summary of these changes of the configuration."""
    old, new = config(), config(**changes)
    return summary(compare(old, new), old, new)


def test_the_summary_names_what_changed() -> None:
    assert summed() == "nothing changed; no lane restarted"
    rule = {"any": [{"lane": "a", "label": "deviation", "score": 0.9}], "actuator": "robot", "verb": "stop"}
    assert summed(rules={"off-plan": rule}) == "rules changed: off-plan; no lane restarted"
    assert summed(rules={}) == "rules changed: off-plan; lanes restarted: a"
    assert summed(metrics={"port": 9109}) == "metrics changed; no lane restarted"
    zoned = lanes()
    zoned["b"]["zones"] = {"reach": [[0, 0], [1, 0], [1, 1]]}
    assert summed(lanes=zoned) == "zones changed: b; no lane restarted"
    assert summed(lanes={"a": lanes(critical=False)["a"], "c": lanes()["b"]}) == (
        "lanes restarted: a; lanes started: c; lanes stopped: b"
    )


def test_a_lane_restarts_when_its_link_to_an_actuator_changes() -> None:
    assert compare(config(), config(actuators={"robot": {"rest": "run", "safe_after_ms": 50}})) == (["a"], ["a"], [])
    rule = {"any": [{"lane": "b", "label": "deviation"}], "actuator": "robot", "verb": "stop"}
    assert compare(config(), config(rules={"off-plan": rule})) == (["a", "b"], ["a", "b"], [])


def test_another_threshold_restarts_no_lane() -> None:
    rule = {"any": [{"lane": "a", "label": "deviation", "score": 0.9}], "actuator": "robot", "verb": "stop"}
    assert compare(config(), config(rules={"off-plan": rule})) == ([], [], [])


def test_a_change_that_needs_a_restart_of_the_daemon() -> None:
    assert compare(config(), config(node="other", run_dir="/run/y")).fixed == ["node", "run_dir"]


def test_a_lane_with_replaced_files_restarts_unless_it_is_removed() -> None:
    assert compare(config(), config(), {"b"}) == (["b"], ["b"], [])
    assert compare(config(), config(lanes={"a": lanes()["a"]}), {"b"}) == (["b"], [], [])


# -- rules that continue ------------------------------------------------------------

RULE = RuleConfig.model_validate(
    {
        "any": [{"lane": "a", "label": "deviation", "hits": 2, "of": 3}],
        "actuator": "robot",
        "verb": "stop",
        "hold_ms": 500,
    }
)


def deviation(at_ms: int) -> list[Evidence]:
    return [Evidence("a", "deviation", 0.9, at_ms * MS)]


def stopped() -> Rules:
    rules = Rules({"off-plan": RULE}, {"robot": "run"})
    for at in (10, 11):
        rules.decide("a", at * MS, at * MS, deviation(at))
    assert rules.in_force["robot"].verb == "stop"
    return rules


def test_a_stop_stays_in_force_when_other_rules_change() -> None:
    old, new = stopped(), Rules({"off-plan": RULE, "more": RULE.model_copy(update={"verb": "slow"})}, {"robot": "run"})
    new.carry_over(old)
    assert new.decide("a", 20 * MS, 20 * MS, []) == []
    assert new.in_force["robot"].verb == "stop"
    decisions = new.decide("a", 600 * MS, 600 * MS, [])
    assert [decision.verb for decision in decisions] == ["run"]
    assert decisions[0].number == old.number + 1


def test_a_changed_rule_starts_without_state_and_numbers_continue() -> None:
    old, new = stopped(), Rules({"off-plan": RULE.model_copy(update={"hold_ms": 10.0})}, {"robot": "run"})
    new.carry_over(old)
    decisions = new.decide("a", 20 * MS, 20 * MS, [])
    assert [(decision.verb, decision.number) for decision in decisions] == [("run", old.number + 1)]


def test_another_verb_of_rest_is_sent() -> None:
    old, new = Rules({"off-plan": RULE}, {"robot": "run"}), Rules({"off-plan": RULE}, {"robot": "slow"})
    old.decide("a", MS, MS, [])
    new.carry_over(old)
    assert [decision.verb for decision in new.decide("a", 2 * MS, 2 * MS, [])] == ["slow"]


# -- with real processes ------------------------------------------------------------


@pytest.fixture
def cell(tmp_path: Path) -> Any:
    with Cell(tmp_path, {"arm": arm()}) as started_cell:
        yield started_cell


def started(cell: Cell, lane: str) -> int:
    from agent import ledger

    return ledger.read(cell.run_dir / f"{lane}.ledger").started


@pytest.mark.slow
def test_a_new_configuration_is_applied_without_touching_the_other_lanes(cell: Cell) -> None:
    _, daemon = cell.start_both()
    first = started(cell, "arm")
    cell.config["lanes"] = {"arm": arm(), "second": arm(fault_every_s=1)}
    cell.config["rules"]["second-never"] = never("second", "arm-deviation")
    cell.config["actuators"]["other"] = {**robot({"driver": "actuator.sim"}), "device": None}
    cell.config["rules"]["second-never"]["actuator"] = "other"
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for(
        "configuration reloaded: rules changed: second-never; actuators changed: other; lanes started: second"
    )
    cell.wait_for_count("second", "inferences")
    assert started(cell, "arm") == first
    before = cell.counts("arm")["inferences"]
    cell.wait_for_count("arm", "inferences", before + 100)
    del cell.config["lanes"]["second"], cell.config["rules"]["second-never"]
    cell.write()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded: rules changed: second-never; lanes stopped: second")
    assert not (cell.run_dir / "second.ledger").exists()
    assert daemon.stop() == 0


@pytest.mark.slow
def test_a_wrong_configuration_leaves_the_old_one_running(cell: Cell) -> None:
    _, daemon = cell.start_both()
    first = started(cell, "arm")
    cell.config["lanes"] = {"arm": {**arm(), "model": "arm-deviatoin"}}
    path = cell.write()
    daemon.signal(signal.SIGHUP)
    assert "arm-deviatoin" in daemon.wait_for("configuration rejected")
    path.write_text("lanes: [")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("configuration rejected", 2)
    assert started(cell, "arm") == first
    cell.wait_for_count("arm", "inferences", cell.counts("arm")["inferences"] + 100)


@pytest.mark.slow
def test_a_changed_lane_restarts_and_its_actuator_goes_safe_in_between(cell: Cell) -> None:
    host, daemon = cell.start_both()
    first = started(cell, "arm")
    cell.config["lanes"] = {"arm": arm(speed=0.5)}
    cell.write()
    moved = len(cell.records())
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("configuration reloaded: lanes restarted: arm")
    cell.wait_for("safe", moved)
    cell.wait_for("run", moved)
    assert started(cell, "arm") > first
    assert "replayed" not in host.text, "it counts its commands on"


@pytest.mark.slow
def test_files_replaced_under_the_same_names_are_noticed(cell: Cell) -> None:
    """The picture of the good part, and a model: their lanes restart, the third does not."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), np.uint8)
    good, mine = cell.folder / "good.png", cell.folder / "mine"
    assert cv2.imwrite(str(good), noise[0])
    shutil.copytree(BUNDLED / "arm-deviation", mine)
    board = {"driver": "camera.sim", "width": 64, "height": 64, "fps": 5}
    cell.config["lanes"] = {
        "arm": arm(),
        "own": {**arm(), "model": "mine"},
        "board": {"source": board, "model": "pcb-inspect", "reference": "good.png", "critical": False},
    }
    daemon = cell.run()
    daemon.wait_for("cell-1 runs: lanes")
    for lane in ("arm", "own", "board"):
        cell.wait_for_count(lane, "inferences")

    def reloaded() -> Any:
        answer = control.ask(cell.run_dir, {"do": "reload"}, 120.0)
        assert answer is not None and answer["ok"], daemon.text
        assert answer["started"] == answer["stopped"]
        return answer["started"]

    first = started(cell, "arm")
    assert reloaded() == []
    good.write_bytes(good.read_bytes())  # a new date, the same content
    assert reloaded() == []
    assert cv2.imwrite(str(good), noise[1])
    assert reloaded() == ["board"]
    manifest = mine / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("budget_ms: 2.0", "budget_ms: 3.0"))
    assert reloaded() == ["own"]
    assert reloaded() == []
    assert started(cell, "arm") == first
    good.write_bytes(b"no picture any more")
    answer = control.ask(cell.run_dir, {"do": "reload"}, 120.0)
    assert answer is not None and not answer["ok"]
    assert "good.png' is no PNG or JPEG picture" in answer["mistakes"][0]


def test_the_control_socket_reports_and_reloads(cell: Cell) -> None:
    _, daemon = cell.start_both()
    status = control.ask(cell.run_dir, {"do": "status"})
    assert status is not None
    assert status["pid"] == daemon.popen.pid
    assert status["health"] == "good" and status["reasons"] == []
    assert status["lanes"]["arm"]["state"] == "running"
    assert status["actuators"]["robot"]["verb"] == "run"
    cell.config["node"] = "cell-2"
    cell.write()
    answer = control.ask(cell.run_dir, {"do": "reload"}, 20.0)
    assert answer is not None and not answer["ok"]
    assert "a change of node needs a restart" in answer["mistakes"][0]


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b'{"do": 1}\n', b'{"do": ["status"]}\n', b"\xff\xfe\n", b"{" * 70_000 + b"\n"]
)
@pytest.mark.slow
def test_an_invalid_request_at_the_control_socket_is_refused(cell: Cell, line: bytes) -> None:
    import socket

    daemon = cell.run()
    daemon.wait_for("runs: lanes")  # the socket file exists before the daemon listens
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(cell.run_dir / "control.sock"))
        client.sendall(line)
        answer = client.makefile("rb").readline()
    assert not answer or "expected a line" in json.loads(answer)["error"]
    assert control.ask(cell.run_dir, {"do": "status"}, 10.0)
    assert "Traceback" not in daemon.text


def test_there_is_no_answer_without_a_daemon(tmp_path: Path) -> None:
    assert control.ask(tmp_path, {"do": "status"}) is None


# -- a reload that hangs -------------------------------------------------------------

HANGING = """\
import os, time
with open(os.path.join(os.path.dirname(__file__), "loads"), "a") as file:
    file.write("x")
while os.path.exists(os.path.join(os.path.dirname(__file__), "hang")):
    time.sleep(0.02)
from drivers.sensor.sim_arm import Driver, Options
"""


def hanging(folder: Path) -> Path:
    """A driver whose import does not return while this file exists."""
    (folder / "ours").mkdir()
    (folder / "ours/driver.py").write_text(HANGING)
    return folder / "ours/hang"


def test_kind_abandoned_reloads_do_not_pile_up(tmp_path: Path) -> None:
    """Forty programs ask and go away; one that waits gets its answer after two checks, not after forty."""
    hang = hanging(tmp_path)
    with Cell(tmp_path, {"arm": arm(driver="ours.driver")}) as cell:
        daemon = cell.run()
        daemon.wait_for("runs: lanes")
        hang.touch()
        for _ in range(40):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(cell.run_dir / control.NAME))
                client.sendall(b'{"do": "reload"}\n')
        until(lambda: len((tmp_path / "ours/loads").read_text()) == 2, "the first check")
        assert control.ask(cell.run_dir, {"do": "status"}, DEADLINE_S), "other requests are answered meanwhile"
        hang.unlink()
        assert control.ask(cell.run_dir, {"do": "reload"}, DEADLINE_S) == {"ok": True, "started": [], "stopped": []}
        assert len((tmp_path / "ours/loads").read_text()) <= 4
        assert len(daemon.lines("configuration reloaded")) <= 3


def test_kind_a_reload_that_hangs_ends_and_does_not_outlive_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = hanging(tmp_path)
    with Cell(tmp_path, {"arm": arm(driver="ours.driver")}) as cell:
        path = cell.write()
        hang.touch()
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(reload, "LOAD_S", 0.5)
        with pytest.raises(ConfigError, match="were not loaded within 0.5 s"):
            asyncio.run(reload.read_changed(path, Config.model_validate(cell.config)))
        until(lambda: not checks(path), "the end of the check")
        hang.unlink()
        daemon = cell.run()
        daemon.wait_for("runs: lanes")
        hang.touch()
        daemon.signal(signal.SIGHUP)
        until(lambda: checks(path), "the check")
        assert daemon.stop() == 0
        until(lambda: not checks(path), "the end of the check")


def checks(path: Path) -> list[psutil.Process]:
    """Processes that check this configuration for a reload."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(path) in (process.info["cmdline"] or ()) and "check" in process.info["cmdline"]
    ]


def test_a_call_that_does_not_return_holds_nobody() -> None:
    async def awaited() -> None:
        worker = Worker(False)
        with pytest.raises(asyncio.TimeoutError):
            await worker.run(0.01, threading.Event().wait)
        assert await worker.run(DEADLINE_S, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await worker.run(DEADLINE_S, lambda: 1 // 0)

    asyncio.run(awaited())


def test_kind_nested_brackets_in_the_control_socket(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        daemon = cell.run()
        daemon.wait_for("runs: lanes")
        for nested in (b"[" * 60_000, b'{"do":' * 10_000, b'{"do": "status", "x": ' + b"[" * 50_000):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(DEADLINE_S)
                client.connect(str(cell.run_dir / control.NAME))
                client.sendall(nested + b"\n")
                assert b"expected a line like" in client.makefile("rb").readline()
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.text


def test_more_clients_than_the_control_socket_keeps(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        daemon = cell.run()
        daemon.wait_for("runs: lanes")
        clients = [socket.socket(socket.AF_UNIX) for _ in range(2 * MAX_CLIENTS)]
        for client in clients:
            client.connect(str(cell.run_dir / control.NAME))
        assert control.ask(cell.run_dir, {"do": "status"}, DEADLINE_S)
        clients[0].settimeout(DEADLINE_S)
        with suppress(ConnectionResetError):
            assert clients[0].recv(1) == b"", "the oldest is closed"
        for client in clients:
            client.close()
