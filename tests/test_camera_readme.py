"""The configuration and the pipelines in drivers/CAMERAS.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import cli
from drivers.camera.gstreamer import Options
from tests.shared import ROOT

TEXT = (ROOT / "drivers/CAMERAS.md").read_text(encoding="utf-8")
PIPELINES = re.findall(r"^\| [^|]+ \| `([^|`]+)` \| ", TEXT, re.MULTILINE)


def test_the_configuration_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.setenv("CAM_PASSWORD", 'p@ss w/"?rd')
    (tmp_path / "gate.yaml").write_text(example, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", "-c", str(tmp_path / "gate.yaml")], catch_exceptions=False)
    assert "good: 1 lane, 1 actuator, 1 rule" in result.stdout, result.stdout
    assert "p@ss" not in result.output


def test_the_pipelines_are_accepted() -> None:
    assert len(PIPELINES) == 12
    for pipeline in PIPELINES:
        Options.model_validate({"pipeline": pipeline})
