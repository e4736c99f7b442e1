"""Fixtures of more than one test file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from drivers.camera import _v4l2_abi as abi
from tests.test_v4l2_kernel import FakeKernel


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel(tmp_path / "video0")
    monkeypatch.setattr(abi, "ioctl", fake.ioctl)
    monkeypatch.setattr(abi, "poll", fake.poll)
    return fake


@pytest.fixture(scope="session")
def tensorflow() -> ModuleType:
    return pytest.importorskip("tensorflow", reason="tensorflow is not installed: pip install 'reflexd[train]' in its own venv")
