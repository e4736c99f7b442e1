"""Where a daemon keeps its files: never where another user could; a folder that was deleted stays locked."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.benches.attacks._relay import standby_of
from agent.box import folders, private
from agent.box.lockfile import lock
from agent.errors import ConfigError, heals
from agent.ledger import Ledger, read, snapshot
from tests.processes import Cell, arm
from tests.waiting import until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a folder of another user needs root")


@pytest.fixture
def fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /tmp/reflexd-UID."""
    folder = tmp_path / "reflexd-1"
    monkeypatch.setattr(folders, "_fallback", lambda: folder)
    return folder


def test_the_fallback_is_for_its_owner_alone(fallback: Path) -> None:
    fallback.mkdir(0o755)  # as versions before did
    with_lock = lock(fallback / "reflexd/reflexd.lock", "taken")
    assert (fallback / "reflexd").is_dir() and fallback.stat().st_mode & 0o777 == 0o700
    with_lock.release()


@pytest.mark.parametrize("kind", ["link", "file", "writable", pytest.param("foreign", marks=needs_root)])
def test_kind_a_fallback_that_another_user_could_have_made_is_refused(
    fallback: Path, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "reflexd").mkdir()
    (secret / "reflexd/reflexd.lock").write_text("precious")
    if kind == "link":
        fallback.symlink_to(secret)
    elif kind == "file":
        fallback.write_text("")
    else:
        fallback.mkdir()
        fallback.chmod(0o777 if kind == "writable" else 0o700)
        os.chown(fallback, 12345 if kind == "foreign" else os.geteuid(), -1)
    for attempt in (lambda: lock(fallback / "reflexd/reflexd.lock", "taken"), lambda: folders._checked(fallback)):
        with pytest.raises(ConfigError) as refused:
            attempt()
        (line,) = refused.value.mistakes
        assert str(fallback) in line and "remove it" in line and not heals(refused.value)
    assert list(secret.rglob("*")) == [secret / "reflexd", secret / "reflexd/reflexd.lock"]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of somebody else, which is as it was at the end."""
    file = tmp_path / "victim"
    file.write_text("precious")
    file.chmod(0o644)
    yield file
    assert file.read_text() == "precious" and file.stat().st_mode & 0o777 == 0o644


def test_kind_nothing_is_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "reflexd.lock").symlink_to(victim)
    with pytest.raises(ConfigError, match="link"):
        lock(tmp_path / "reflexd.lock", "taken")


@pytest.mark.parametrize("name", ["arm.ledger.new", "arm.ledger"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_kind_no_ledger_is_written_through_a_link(
    tmp_path: Path, victim: Path, name: str, link: Callable[[Path, Path], None]
) -> None:
    """The link goes, and a file of our own takes its place."""
    link(victim, tmp_path / name)
    made = Ledger(tmp_path / "arm.ledger", "arm", 1.0)
    made.count[0] += 1
    assert read(tmp_path / "arm.ledger").counts == snapshot(made.memory).counts
    assert not (tmp_path / "arm.ledger").is_symlink() and (tmp_path / "arm.ledger").stat().st_nlink == 1
    assert not (tmp_path / "arm.ledger.new").exists()
    made.close()


def test_kind_a_link_that_is_made_meanwhile_is_refused(tmp_path: Path, victim: Path) -> None:
    """Between the removal of an unfinished file and its creation."""
    for link in (os.symlink, os.link):
        link(victim, tmp_path / "again")
        with pytest.raises(FileExistsError):
            private.create(tmp_path / "again")
        (tmp_path / "again").unlink()


def test_kind_a_second_host_does_not_start_where_run_dir_was_deleted(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        first = cell.actuate()
        shutil.rmtree(cell.run_dir)
        second = cell.start("actuate", "-c", str(cell.write()))
        assert second.exit_code() == 1
        assert "another 'reflexd actuate'" in second.text and "stop it (sudo fuser -v " in second.text
        assert "Traceback" not in second.text
        assert first.stop() == 0
        cell.actuate()


def test_kind_a_second_daemon_does_not_start_where_run_dir_was_deleted(tmp_path: Path) -> None:
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, first = cell.start_both()
        shutil.rmtree(cell.run_dir)
        second = cell.run()
        assert second.exit_code() == 1
        assert "another reflexd already runs in" in second.text and "Traceback" not in second.text
        assert first.popen.poll() is None and host.popen.poll() is None
        assert first.stop() == 0
        host.stop()
        cell.start_both()


def test_kind_a_second_host_waits_for_the_standby_where_run_dir_was_deleted(tmp_path: Path) -> None:
    """The host is dead; its standby, which may move the device yet, holds the name that outlives the file."""
    with Cell(tmp_path, {"arm": arm()}) as cell:
        host, _ = cell.start_both()
        pid = until(lambda: standby_of(host.popen), "a standby")
        os.kill(pid, signal.SIGSTOP)
        try:
            host.signal(signal.SIGKILL)
            host.exit_code()
            shutil.rmtree(cell.run_dir)
            second = cell.start("actuate", "-c", str(cell.write()))
            assert second.exit_code() == 1 and "the standby of one that died" in second.text
        finally:
            os.kill(pid, signal.SIGCONT)
        host.wait_for_standby("actuator robot is safe: by the standby")
        cell.actuate()


def test_kind_a_link_to_a_folder_is_the_same_folder(tmp_path: Path) -> None:
    """/var/run is /run: one path after the other, the file deleted in between."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    first = lock(tmp_path / "run/reflexd.lock", "taken")
    (tmp_path / "run/reflexd.lock").unlink()
    with pytest.raises(ConfigError, match="taken"):
        lock(tmp_path / "link/reflexd.lock", "taken")
    first.release()


def test_two_paths_do_not_share_a_lock(tmp_path: Path) -> None:
    first, second = lock(tmp_path / "a/reflexd.lock", "taken"), lock(tmp_path / "b/reflexd.lock", "taken")
    with pytest.raises(ConfigError, match="taken") as refused:
        lock(tmp_path / "a/reflexd.lock", "taken")
    assert heals(refused.value), "the other one may end"
    first.release()
    lock(tmp_path / "a/reflexd.lock", "taken").release()
    second.release()
