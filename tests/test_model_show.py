"""`reflexd model show|verify`: what a package contains, and whether it is intact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from agent.cli import cli
from agent.packages import package


def call(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, ["model", *arguments, "--json"], catch_exceptions=False)
    return json.loads(result.stdout)


def test_a_bundled_package_is_shown_and_verified(tmp_path: Path) -> None:
    assert call("verify", "arm-deviation")["golden"] <= 1.0
    facts = call("show", "arm-deviation")
    assert facts["labels"][0] == "normal" and facts["decoder"] == "sequence"
    copy = shutil.copytree(package.find("arm-deviation"), tmp_path / "damaged")
    model = copy / package.read(copy).file
    raw = bytearray(model.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    model.write_bytes(raw)
    verdict = call("verify", str(copy))
    assert verdict["ok"] is False and "sha256" in verdict["mistakes"][0]
