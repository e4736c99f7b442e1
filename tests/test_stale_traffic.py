"""Traffic that a proxy delays, holds or plays back never moves the actuator, whatever the sender's clock shows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.benches.programs import free_port
from agent.benches.proxy import BACK, FORWARD, Proxy, play_back
from tests.processes import Cell, Process, arm
from tests.waiting import until


class ProxiedCell(Cell):
    """The daemon reaches its actuator through a proxy."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"arm": arm(timeout_ms=600)})
        self.port, self.entrance = free_port(), free_port()
        self.proxy = Proxy(self.entrance, self.port)

    def __exit__(self, *details: object) -> None:
        self.proxy.close()
        super().__exit__(*details)

    def _at(self, name: str, port: int) -> str:
        robot = {**self.config["actuators"]["robot"], "endpoint": f"tcp://127.0.0.1:{port}"}
        return str(self.write(name, actuators={"robot": robot}))

    def host(self) -> Process:
        process = self.start("actuate", "-c", self._at("host.yaml", self.port))
        process.wait_for("listens at")
        return process

    def daemon(self, on_another_box: bool = False) -> Process:
        return self.start("run", "-c", self._at("run.yaml", self.entrance), on_another_box=on_another_box)

    def delay(self, way: int, seconds: float, step_s: float) -> None:
        """Let the delay rise, a step with each tenth of a second of the device's record or of this loop."""
        while self.proxy.delay_s[way] < seconds:
            self.proxy.delay_s[way] = min(seconds, self.proxy.delay_s[way] + step_s)
            passed = self.counts("arm")["inferences"]
            until(lambda: self.counts("arm")["inferences"] > passed + 10)  # noqa: B023 called only here


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[ProxiedCell]:
    with ProxiedCell(tmp_path) as cell:
        yield cell


@contextmanager
def nothing_moves(cell: Cell, inferences: int = 150) -> Iterator[None]:
    """From here on, and while the lane infers this often."""
    done, before = len(cell.verbs()), cell.counts("arm")["inferences"]
    yield
    cell.wait_for_count("arm", "inferences", before + inferences)
    assert "run" not in cell.verbs()[done:], cell.logs()


@pytest.mark.parametrize("on_another_box", [False, True], ids=["this box", "another box"])
@pytest.mark.parametrize("step_s", [0.45, 0.01], ids=["step", "slow"])
@pytest.mark.slow
def test_kind_delayed_commands_do_not_become_normal(cell: ProxiedCell, on_another_box: bool, step_s: float) -> None:
    cell.host()
    daemon = cell.daemon(on_another_box)
    cell.wait_for("run")
    cell.delay(FORWARD, 0.45, step_s)
    until(lambda: cell.verbs()[-1] == "safe", cell.logs)
    with nothing_moves(cell):
        pass
    done = len(cell.verbs())
    daemon.signal(signal.SIGKILL)
    daemon.popen.wait()
    cell.proxy.delay_s[FORWARD] = 0.0  # what was on its way arrives
    cell.daemon(on_another_box).wait_for("actuator robot: run")
    cell.wait_for("run", after=done)


@pytest.mark.parametrize("on_another_box", [False, True], ids=["this box", "another box"])
@pytest.mark.slow
def test_kind_a_sender_without_answers_is_refused(cell: ProxiedCell, on_another_box: bool) -> None:
    """Only its direction passes."""
    host = cell.host()
    cell.daemon(on_another_box)
    cell.wait_for("run")
    cell.proxy.held[BACK] = True
    host.wait_for("refuses a command as unproven: run from cell-1/arm")
    until(lambda: cell.verbs()[-1] == "safe", cell.logs)
    with nothing_moves(cell):
        pass
    done = len(cell.verbs())
    cell.proxy.held[BACK] = False
    cell.wait_for("run", after=done)


@pytest.mark.parametrize("on_another_box", [False, True], ids=["this box", "another box"])
@pytest.mark.slow
def test_kind_recorded_traffic_does_not_move_a_restarted_actuator(cell: ProxiedCell, on_another_box: bool) -> None:
    host, daemon = cell.host(), cell.daemon(on_another_box)
    cell.wait_for("run")
    until(lambda: len(cell.proxy.recorded) > 20, cell.logs)
    daemon.signal(signal.SIGKILL)
    assert host.stop() == 0
    recorded, done = list(cell.proxy.recorded), len(cell.verbs())
    restarted = cell.host()
    cell.wait_for("safe", after=done)
    play_back(recorded, cell.port)
    restarted.wait_for("refuses a command as unproven: run from cell-1/arm")
    assert restarted.stop() == 0
    assert set(cell.verbs()[done:]) == {"safe"}


@pytest.mark.slow
def test_kind_recorded_traffic_of_another_session_changes_nothing(cell: ProxiedCell) -> None:
    """While the next session is in command."""
    host, first = cell.host(), cell.daemon()
    cell.wait_for("run")
    until(lambda: len(cell.proxy.recorded) > 20, cell.logs)
    assert first.stop() == 0
    recorded, done = list(cell.proxy.recorded), len(cell.verbs())
    second = cell.daemon()
    cell.wait_for("run", after=done)
    play_back(recorded, cell.port)
    host.wait_for("refuses a command as unproven: run from cell-1/arm")
    assert second.popen.poll() is None
    assert second.stop() == 0
    assert set(cell.verbs()[done:]) <= {"safe", "run"}


def test_the_first_decision_is_applied_without_a_refusal(cell: ProxiedCell) -> None:
    """The answer to the hello before it carries the proof."""
    cell.host()
    daemon = cell.daemon(on_another_box=True)
    cell.wait_for("run")
    cell.wait_for_count("arm", "applied")
    counts = cell.counts("arm")
    assert (counts["refused"], counts["unacknowledged"], counts["undelivered"]) == (0, 0, 0)
    assert daemon.stop() == 0
