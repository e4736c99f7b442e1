"""Fixtures of more than one test file."""

from __future__ import annotations

import logging
import os
import signal
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

from agent import redact
from agent.packages import engines, package
from agent.packages.manifest import AUTO
from drivers.camera import _v4l2_abi as abi
from tests.mqtt_fixtures import broker, device  # noqa: F401
from tests.test_v4l2_kernel import FakeKernel

# How long something takes is measured by benchmarks; a busy machine fails no test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell starts what runs in the background with SIGINT ignored, and the tests' processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def secrets_of_this_test_alone() -> Iterator[None]:
    """Each is looked for in every message of the process: thousands from other tests would take seconds a line."""
    secrets, patterns = set(redact._remembered), list(redact._patterns)
    yield
    redact._remembered.clear()
    redact._remembered.update(secrets)
    redact._patterns[:] = patterns


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel(tmp_path / "video0")
    monkeypatch.setattr(abi, "ioctl", fake.ioctl)
    monkeypatch.setattr(abi, "poll", fake.poll)
    return fake


@pytest.fixture
def open_driver() -> Iterator[Callable[[Any], Any]]:
    """Opens a driver, and closes it at the end also where that fails. A fixture that needs it names it last."""
    made = []

    def opened(driver: Any) -> Any:
        made.append(driver)
        driver.open()
        return driver

    yield opened
    for driver in made:
        driver.close()


@pytest.fixture
def line() -> Iterator[tuple[int, str]]:
    """The far end of a serial line, and the near one's name."""
    far, near = os.openpty()
    tty.setraw(near)
    yield far, os.ttyname(near)
    os.close(near)
    os.close(far)


@pytest.fixture(autouse=True)
def level_of_injected_faults() -> Iterator[None]:
    """Training turns their messages off."""
    faults = logging.getLogger("drivers.faults")
    before = faults.level
    yield
    faults.setLevel(before)


@pytest.fixture(scope="session")
def tensorflow() -> ModuleType:
    return pytest.importorskip(
        "tensorflow", reason="tensorflow is not installed: pip install 'reflexd[train]' in its own venv"
    )


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Recordings of the tests' daemons go with the tests."""
    os.environ["STATE_DIRECTORY"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True, scope="session")
def bundled_models_run_on_litert(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Which engine is faster differs from run to run, and timing takes seconds: test_engines.py has its own."""
    os.environ["CACHE_DIRECTORY"] = str(tmp_path_factory.mktemp("cache"))
    for path in package.BUNDLED.glob("*/manifest.yaml"):
        manifest = package.read(path.parent)
        if manifest.backend == AUTO:
            names = engines.installed(path.parent, manifest)
            for threads in (1, 2):
                engines.remember(manifest, names, threads, engines.Comparison(names[0], {}, {}))
