"""The updater: what it asks of the daemon, says, counts; as a child process of a real daemon; killed 200 times."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from agent.config.load import load_config
from agent.isolated import python
from agent.update import progress, updater
from agent.update.fetching.check import Check, World
from agent.update.fetching.client import Client, Place
from agent.update.fetching.fetch import Fetcher, Limits
from agent.update.fetching.schedule import Schedule, window_of
from agent.update.repository import bundle
from agent.update.store import Store
from tests.test_config import GOOD
from tests.update_fixtures import MODEL, Publisher, Server, publisher
from tests.waiting import until

__all__ = ["publisher"]


class Daemon:
    """The daemon's end of the control socket. answer: to "swap"."""

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir()
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {"ok": True}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(run_dir / "control.sock"))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.asked.append(json.loads(lines.readline()))
                connection.sendall(json.dumps(self.answer).encode() + b"\n")

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "run")
    yield made
    made.close()


def configuration(tmp_path: Path, publisher: Publisher, more: str = "") -> Path:
    path = tmp_path / "cell.yaml"
    folders = f"run_dir: {tmp_path / 'run'}\nstate_dir: {tmp_path / 'state'}\n"
    path.write_text(f"{folders}{GOOD}update: {{url: '{publisher.url}', root: '{publisher.root}'{more}}}\n")
    return path


def check(path: Path, **world: Any) -> Check:
    config = load_config(path)
    assert config.update is not None
    return Check(config, config.update, path, World(**{"trial": lambda folder: "", **world}))


def test_a_new_version_is_handed_over_until_it_is_taken(tmp_path: Path, publisher: Publisher, daemon: Daemon) -> None:
    checked = check(configuration(tmp_path, publisher))
    checked.run()
    checked.run()
    assert daemon.asked == [{"do": "swap", "model": MODEL, "version": "2.0"}] * 2
    store = Store(tmp_path / "state", MODEL)
    store.begin_trial("2.0")
    checked.run()
    store.commit()
    checked.run()
    assert len(daemon.asked) == 2
    assert checked.progress.installed == 1 and checked.progress.checks == 4


def test_a_held_version_is_the_only_one_fetched(tmp_path: Path, publisher: Publisher, daemon: Daemon) -> None:
    publisher.publish("2.1")
    store = Store(tmp_path / "state", MODEL)
    store.hold("2.0")
    check(configuration(tmp_path, publisher)).run()
    assert [request["version"] for request in daemon.asked] == ["2.0"] and store.versions() == ["2.0"]
    store.hold("configured")
    check(configuration(tmp_path, publisher)).run()
    assert len(daemon.asked) == 1


def test_a_rejected_version_is_skipped_and_no_older_one_taken(
    tmp_path: Path, publisher: Publisher, daemon: Daemon
) -> None:
    store = Store(tmp_path / "state", MODEL)
    check(configuration(tmp_path, publisher)).run()
    store.begin_trial("2.0")
    store.commit()
    publisher.publish("2.1")
    store.bar("2.1", "slow")
    check(configuration(tmp_path, publisher)).run()
    publisher.publish("2.2")
    check(configuration(tmp_path, publisher)).run()
    assert [request["version"] for request in daemon.asked] == ["2.0", "2.2"]


def test_a_model_that_the_repository_lacks_is_a_mistake_only_where_it_is_listed(
    tmp_path: Path, publisher: Publisher, daemon: Daemon
) -> None:
    text = configuration(tmp_path, publisher).read_text().replace(MODEL, "arm-collision")
    text = text.replace("deviation", "collision")
    (tmp_path / "cell.yaml").write_text(text)
    quiet = check(tmp_path / "cell.yaml")
    quiet.run()
    assert quiet.progress.reason == ""
    (tmp_path / "cell.yaml").write_text(text.replace("root:", "models: [arm-collision], root:"))
    listed = check(tmp_path / "cell.yaml")
    listed.run()
    assert listed.progress.reason == "absent" and "publish it there" in listed.progress.message


def test_a_refusal_is_said_once_counted_and_ends(
    tmp_path: Path, publisher: Publisher, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexd.update")
    path = publisher.repo / "metadata/timestamp.json"
    good = path.read_bytes()
    path.write_bytes(b"{}")
    checked = check(configuration(tmp_path, publisher))
    for _ in range(3):
        assert not checked.run()
    assert len(caplog.messages) == 1
    kept = progress.read(tmp_path / "run")
    assert (kept.reason, kept.refused, kept.succeeded) == ("damaged", {"damaged": 3}, 0.0)
    path.write_bytes(good)
    after = check(configuration(tmp_path, publisher))  # a restarted one counts on
    after.run()
    assert "updates are possible again" in caplog.messages
    kept = progress.read(tmp_path / "run")
    assert (kept.reason, kept.message, kept.checks) == ("", "", 4) and kept.bytes > 0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"ok": False, "mistakes": ["golden outputs differ"]}, "golden outputs differ"),
        ({"error": "'do' is one of: status"}, "'do' is one of: status"),
    ],
)
def test_a_daemon_that_refuses_is_asked_again_later(
    tmp_path: Path, publisher: Publisher, daemon: Daemon, answer: dict[str, Any], text: str
) -> None:
    daemon.answer = answer
    checked = check(configuration(tmp_path, publisher))
    checked.run()
    assert checked.progress.reason == "swap" and text in checked.progress.message
    daemon.answer = {"ok": True}
    checked.run()
    assert checked.progress.reason == ""


def test_nothing_is_checked_while_the_window_is_closed() -> None:
    class Over(Exception):
        pass

    clock, checks = [datetime(2026, 11, 30, 12, 0).timestamp()], []

    def local() -> datetime:
        return datetime.fromtimestamp(clock[0])

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if local().day == 2:
            raise Over

    def refused_once() -> bool:
        checks.append(local().strftime("%d %H:%M"))
        return len(checks) > 1

    schedule = Schedule(1800, 0.0, window_of("22:00-23:00"), lambda low, high: low)
    with pytest.raises(Over):
        updater.run(schedule, refused_once, local, sleep)
    assert checks == ["30 22:00", "30 22:01", "30 22:31", "01 22:00", "01 22:30"]


def test_a_window_that_closes_pauses_the_download(tmp_path: Path, publisher: Publisher, daemon: Daemon) -> None:
    minute = [45]

    def sleep(_: float) -> None:
        minute[0] += 1

    path = configuration(tmp_path, publisher, ", window: '22:00-23:00', kbit_s: 400")
    checked = check(path, sleep=sleep, local=lambda: datetime(2026, 11, 30, 22 + minute[0] // 60, minute[0] % 60))
    checked.run()
    assert checked.progress.reason == "" and daemon.asked == []
    assert [part.stat().st_size > 0 for part in (tmp_path / "state/update/parts").rglob("*/*")] == [True]
    minute[0] = 0
    checked.run()
    assert len(daemon.asked) == 1


@pytest.mark.slow
def test_a_check_ends_with_the_updater_that_started_it(tmp_path: Path, publisher: Publisher) -> None:
    server = Server(publisher.repo)
    server.answer = lambda request: server.released.wait()
    path = configuration(tmp_path, publisher)
    path.write_text(path.read_text().replace(publisher.url, server.url))
    command = python("agent.update.updater", str(path), "--every-s", "60", "--jitter", "0")
    with subprocess.Popen(command) as process:
        until(lambda: server.requests, "a request")
        assert _checks(path)
        process.kill()
        until(lambda: not _checks(path), "the end of the check")
    server.close()


def _checks(path: Path) -> list[str]:
    """Processes that check for this configuration."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(entry.read_bytes().decode(errors="replace"))
    return [line for line in lines if "agent.update.fetching.check" in line and str(path) in line]


@pytest.mark.slow
def test_a_bad_package_ends_only_its_own_process(tmp_path: Path, publisher: Publisher, daemon: Daemon) -> None:
    from agent.update.fetching.golden_trial import trial

    folder = publisher.package("2.1")
    model = next(folder.glob("*.tflite"))
    model.write_bytes(b"TFL3" * 1000)
    assert "sha256" in trial(folder)
    assert trial(publisher.package("2.2")) == ""


@pytest.mark.slow
@pytest.mark.timeout(600)  # 250 updates on a busy machine
def test_two_hundred_kills_leave_the_old_or_the_new_version_whole(tmp_path: Path, publisher: Publisher) -> None:
    card = publisher.package("2.0").joinpath("CARD.md").read_bytes()
    publisher.publish("2.1", card[:100_000] + b"another line" + card[100_000:])
    digests = {version: bundle.digest(bundle.read_package(publisher.package(version))) for version in ("2.0", "2.1")}
    place = Place(publisher.url, publisher.root, tmp_path / "state")
    store = Store(tmp_path / "state", MODEL)
    _update(place, "2.0")
    chance = random.Random(15)
    reached, took_s, killed = {"2.0": 0, "2.1": 0}, _timed(place), 0
    while killed < 200:
        pid = os.fork()
        if pid == 0:
            _update(place, "2.1")
            os._exit(0)
        time.sleep(chance.uniform(0.0, 1.2 * took_s))  # the moment of a power cut
        os.kill(pid, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        current = store.state().current
        assert current is not None
        reached[current] += 1
        took_s *= 1.01 if current == "2.0" else 0.96  # a fifth of them get through, however busy this machine is
        for version in store.versions():
            assert bundle.digest(bundle.read_package(store.folder(version))) == digests[version]
        if current == "2.1":
            store.rollback("again")
            _forget(store, "2.1")
    assert min(reached.values()) > 5, reached


def _update(place: Place, version: str) -> None:
    """All that happens from a check to the version being in use, but for the lanes."""
    client, store = Client(place, Fetcher(Limits()), lambda folder: ""), Store(place.state_dir, MODEL)
    client.refresh()
    offered = {each.version: each for each in client.versions(MODEL).versions}
    if not store.has(version):
        client.install(store, offered[version])
    store.begin_trial(version)
    store.stage("probation")
    store.commit()


def _timed(place: Place) -> float:
    """A whole update in a process of its own."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _update(place, "2.1")
        os._exit(0)
    os.waitpid(pid, 0)
    took_s = time.monotonic() - began
    store = Store(place.state_dir, MODEL)
    store.rollback("again")
    _forget(store, "2.1")
    return took_s


def _forget(store: Store, version: str) -> None:
    """As if it had never been here."""
    state = json.loads((store.path / "state.json").read_text())
    state["rejected"] = {}
    (store.path / "state.json").write_text(json.dumps(state))
    store.prune(keep=0)
    assert version not in store.versions()
