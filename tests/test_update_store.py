"""The store of model versions: what it allows, and that a kill at any moment leaves each version whole."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agent.update import store as module
from agent.update.state import KEPT_EVENTS
from agent.update.store import Store, StoreError

FILES = {"manifest.yaml": 40, "model.tflite": 5000, "files/golden.npz": 300}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "person", clock=lambda: 1000.0)


def package(folder: Path, version: str) -> Path:
    for name, size in FILES.items():
        (folder / version / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / version / name).write_bytes((version.encode() * size)[:size])
    return folder / version


def is_whole(folder: Path, version: str) -> bool:
    return all((folder / name).read_bytes() == (version.encode() * size)[:size] for name, size in FILES.items())


def put(store: Store, tmp_path: Path, *versions: str) -> None:
    for version in versions:
        store.add(package(tmp_path / "packages", version), version)


def accept(store: Store, version: str) -> None:
    store.begin_trial(version)
    store.stage("probation")
    store.commit()


def test_an_empty_store_has_no_versions_and_names_none(store: Store) -> None:
    assert store.state().current is None
    assert store.versions() == [] and store.current_folder() is None and not store.path.exists()


def test_a_package_that_a_person_put_in_its_place_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.path.mkdir(parents=True)
    (store.path / "manifest.yaml").write_text("version: mine")
    mode = store.path.stat().st_mode
    with pytest.raises(StoreError, match="is a package, where versions would be kept: move it"):
        put(store, tmp_path, "1.0")
    assert store.path.stat().st_mode == mode and [path.name for path in store.path.iterdir()] == ["manifest.yaml"]


def test_an_added_package_is_whole_and_private(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0")
    assert is_whole(store.folder("1.0"), "1.0")
    assert store.path.stat().st_mode & 0o777 == 0o700
    assert (store.path / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_version_that_is_there_is_left_and_a_damaged_one_replaced(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0")
    inode = store.folder("1.0").stat().st_ino
    put(store, tmp_path, "1.0")
    assert store.folder("1.0").stat().st_ino == inode
    (store.folder("1.0") / "model.tflite").write_bytes(b"damaged")
    put(store, tmp_path, "1.0")
    assert is_whole(store.folder("1.0"), "1.0")


def test_a_version_goes_from_trial_to_current_and_back(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0", "1.1")
    accept(store, "1.0")
    accept(store, "1.1")
    assert (store.state().current, store.state().previous) == ("1.1", "1.0")
    assert store.rollback("p99 60 ms, budget 50") == "1.0"
    state = store.state()
    assert (state.current, state.previous, state.rejected) == ("1.0", None, {"1.1": "p99 60 ms, budget 50"})
    assert store.rollback("by hand") is None and store.current_folder() is None
    with pytest.raises(StoreError, match="nothing to roll back"):
        store.rollback("by hand")


def test_a_rejected_version_is_not_tried_again(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0")
    store.begin_trial("1.0")
    store.reject("agreement fell by 9 points")
    with pytest.raises(StoreError, match="rejected: agreement fell by 9 points"):
        store.begin_trial("1.0")


def test_while_a_version_is_held_no_other_one_is_tried(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0", "1.1")
    accept(store, "1.0")
    store.hold("1.0")
    with pytest.raises(StoreError, match=r"1\.0 is held"):
        store.begin_trial("1.1")
    store.hold(None)
    store.begin_trial("1.1")
    assert store.state().trial is not None


def test_a_version_that_is_not_there_cannot_be_tried(store: Store) -> None:
    with pytest.raises(StoreError, match="no version 3 on this box"):
        store.begin_trial("3")


def test_a_version_on_trial_that_is_rolled_back_leaves_the_current_one(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0", "1.1")
    accept(store, "1.0")
    store.begin_trial("1.1")
    assert store.rollback("by hand") == "1.0"
    assert store.state().trial is None and "1.1" in store.state().rejected


def test_starts_are_counted_on_trial_only(store: Store, tmp_path: Path) -> None:
    assert store.count_start() == 0 and not store.path.exists()
    put(store, tmp_path, "1.0")
    store.begin_trial("1.0")
    assert [store.count_start(), store.count_start()] == [1, 2]
    store.commit()
    assert store.count_start() == 0


@pytest.mark.parametrize("act", ["stage", "commit", "reject"])
def test_without_a_trial_there_is_nothing_to_judge(store: Store, act: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "stage": lambda: store.stage("probation"),
        "commit": store.commit,
        "reject": lambda: store.reject("late"),
    }
    with pytest.raises(StoreError, match="no version is on trial"):
        calls[act]()


def test_pruning_keeps_what_is_in_use(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1", "2", "3", "4", "5")
    for age, version in enumerate(["5", "4", "3", "2", "1"]):
        os.utime(store.folder(version), (1000 - age, 1000 - age))
    accept(store, "1")
    accept(store, "2")
    store.hold("3")
    assert store.prune(keep=1) == ["4"]
    assert sorted(store.versions()) == ["1", "2", "3", "5"]
    assert not list(store.path.glob(".old-*"))


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "state.json", "lock", "x" * 65, "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="cannot name a model"):
        Store(tmp_path, name)
    with pytest.raises(StoreError, match="cannot name a version"):
        Store(tmp_path, "person").folder(name)


@pytest.mark.parametrize("content", [b"", b"{", b'{"current": 5}', b"\xff\xfe", b"[" * 100_000, b"0" * (1 << 21)])
def test_a_damaged_state_is_as_none_and_said_once(
    store: Store, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, tmp_path, "1.0")
    accept(store, "1.0")
    (store.path / "state.json").write_bytes(content)
    assert store.state().current is None and store.state().current is None
    assert len(caplog.messages) == 1 and "reflexd model history person" in caplog.text
    assert is_whole(store.folder("1.0"), "1.0")
    accept(store, "1.0")  # it recovers without a person
    assert store.state().current == "1.0"


def test_the_history_stays_bounded(store: Store, tmp_path: Path) -> None:
    put(store, tmp_path, "1.0")
    for _ in range(KEPT_EVENTS):
        store.hold("1.0")
        store.hold(None)
    assert len(store.state().history) == KEPT_EVENTS


def test_a_full_disk_leaves_the_state_as_it_was(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, tmp_path, "1.0")
    before = store.state()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copytree", full)
    with pytest.raises(OSError, match="No space left"):
        put(store, tmp_path, "1.1")
    assert store.state() == before and store.versions() == ["1.0"]


def _changes(root: Path, packages: Path) -> None:
    """Every change that the store knows, from 1.0 in use to 1.2 in use."""
    store = Store(root, "person")
    store.add(packages / "1.1", "1.1")
    store.begin_trial("1.1")
    store.count_start()
    store.reject("slow")
    store.add(packages / "1.2", "1.2")
    store.add(packages / "1.2", "1.2")  # again: it replaces itself
    store.begin_trial("1.2")
    store.stage("probation")
    store.commit()
    store.prune(keep=0)


def _killed_at(line: int, root: Path, packages: Path) -> bool:
    """Run `_changes` in a process that kills itself at this line of the store or of the writing; True where it did."""
    pid = os.fork()
    if pid == 0:
        left = [line]

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if not frame.f_code.co_filename.endswith(("store.py", "durable.py", "private.py", "shutil.py")):
                return None
            left[0] -= event == "line"
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        _changes(root, packages)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.slow
def test_after_a_kill_at_any_line_the_old_or_the_new_version_is_whole(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    for version in ("1.0", "1.1", "1.2"):
        package(packages, version)
    seen, line = set(), 1
    while True:
        root = tmp_path / f"box-{line}"
        store = Store(root, "person")
        store.add(packages / "1.0", "1.0")
        accept(store, "1.0")
        killed = _killed_at(line, root, packages)
        state = json.loads((store.path / "state.json").read_text())
        seen.add(state["current"])
        assert state["current"] in ("1.0", "1.2") and store.has(state["current"])
        assert all(is_whole(store.folder(version), version) for version in store.versions())
        if not killed:
            break
        line += 11  # a prime: over the runs every place of the loops is met
    assert seen == {"1.0", "1.2"}
