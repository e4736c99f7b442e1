"""`reflexd model list|bench`: one bad package hides no other, and every verdict follows from measurements."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from agent.backends.base import Tensor
from agent.cli import cli
from agent.errors import PackageError
from agent.modeltools import bench
from agent.packages import inputs, package


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)


def listed(*folders: Path) -> tuple[int, dict[str, Any]]:
    result = call("model", "list", *map(str, folders), "--json")
    return result.return_value, {row["name"]: row for row in json.loads(result.stdout)}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(package.BUNDLED / "arm-deviation", tmp_path / "copy")


def change(folder: Path, pattern: str, text: str) -> None:
    manifest = folder / "manifest.yaml"
    old = manifest.read_text()
    new = re.sub(pattern, text, old, flags=re.MULTILINE)
    assert new != old
    manifest.write_text(new)


def test_every_bundled_package_is_listed_and_good() -> None:
    code, rows = listed()
    assert code == 0 and set(rows) == {path.parent.name for path in package.BUNDLED.glob("*/manifest.yaml")}
    arm = rows["arm-deviation"]
    assert (arm["state"], arm["backend"], arm["labels"], arm["budget_ms"]) == ("good", "auto", 4, 2.0)
    assert arm["bytes"] == (package.BUNDLED / "arm-deviation/arm-deviation.tflite").stat().st_size
    assert re.search(r"^arm-deviation +1\.0\.0 +auto +20,776 +4 +2 +good$", call("model", "list").stdout, re.MULTILINE)


def test_a_package_and_a_folder_of_packages_are_both_listed(copy: Path) -> None:
    for folder in (copy, copy.parent):
        code, rows = listed(folder, folder)
        assert code == 0 and rows["copy"]["state"] == "good" and rows["copy"]["folder"] == str(copy)


def damage(folder: Path) -> None:
    raw = bytearray((folder / "arm-deviation.tflite").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "arm-deviation.tflite").write_bytes(raw)


@pytest.mark.parametrize(
    "harm, state, reason",
    [
        (damage, "damaged", "sha256"),
        (lambda folder: (folder / "arm-deviation.tflite").unlink(), "file missing", "does not exist"),
        (lambda folder: change(folder, "^decoder: .*", "decoder: nothing"), "damaged", "no decoder 'nothing'"),
        (lambda folder: change(folder, "^budget_ms: .*", "budget_ms: soon"), "damaged", "manifest.yaml:8"),
        (lambda folder: (folder / "manifest.yaml").write_bytes(b"\xff\0: ["), "damaged", "manifest.yaml"),
    ],
)
def test_a_bad_package_hides_no_other(copy: Path, harm: Any, state: str, reason: str) -> None:
    shutil.copytree(copy, copy.parent / "second")
    harm(copy)
    code, rows = listed(copy.parent)
    assert code == 2 and (rows["copy"]["state"], rows["second"]["state"]) == (state, "good")
    assert reason in rows["copy"]["mistakes"][0]
    shown = call("model", "list", str(copy.parent))
    assert shown.return_value == 2 and reason in shown.stdout and state in shown.stdout
    result = call("model", "bench", str(copy), str(copy.parent / "second"), "--json")
    bad, good = json.loads(result.stdout)["packages"]
    assert result.return_value == 2 and bad["verdict"] == "does not run" and bad["mistakes"] and good["p50_ms"] > 0


def test_a_folder_without_packages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no model package there"):
        call("model", "list", str(tmp_path))
    with pytest.raises(PackageError, match="no model package 'unheard-of'"):
        call("model", "bench", "unheard-of")


def test_bench_measures_with_golden_inputs_against_the_budget(copy: Path) -> None:
    report = json.loads(call("model", "bench", str(copy), "--json").stdout)
    (row,) = report["packages"]
    assert row["input"] == "golden" and row["samples"] >= bench.MIN_RUNS and "cores" in report["machine"]
    assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"]
    change(copy, "^budget_ms: .*", "budget_ms: 1.0e-6")
    shown = call("model", "bench", str(copy))
    assert shown.return_value == 0 and re.search(r"^copy .* too slow$", shown.stdout, re.MULTILINE)
    change(copy, "^budget_ms: .*", "budget_ms: 1.0e+6")
    assert re.search(r"^copy .* fits$", call("model", "bench", str(copy)).stdout, re.MULTILINE)


def test_bench_without_golden_inputs_uses_noise(copy: Path) -> None:
    change(copy, "^golden: .*", "")
    (row,) = json.loads(call("model", "bench", str(copy), "--json").stdout)["packages"]
    assert row["input"] == "noise" and row["p50_ms"] > 0


def test_noise_fits_the_type_of_the_input() -> None:
    random = np.random.default_rng(0)
    manifests = {name: package.read(package.BUNDLED / name) for name in ("arm-deviation", "person-coarse")}
    stored = inputs.noise(Tensor("", (1, 40, 40, 3), np.int8), manifests["person-coarse"], random)
    assert stored.shape == (inputs.ROWS, 40, 40, 3) and (stored.min(), stored.max()) == (-128, 127)
    pixels = inputs.noise(Tensor("", (1, 40, 40, 3), np.float32), manifests["person-coarse"], random)
    assert pixels.dtype == np.float32 and 0 <= pixels.min() < 0.1 < 0.9 < pixels.max() <= 1
    readings = inputs.noise(Tensor("", (1, 32, 12), np.float32), manifests["arm-deviation"], random)
    assert abs(readings.mean()) < 0.2 and 0.8 < readings.std() < 1.2


def test_numbers_in_the_table_are_aligned() -> None:
    rows = [{"name": "a", "bytes": 1234567, "p": None}, {"name": "longer", "bytes": 5, "p": 0.25}]
    assert bench.table(("name", "bytes", "p"), rows).splitlines() == [
        "name        bytes     p",
        "a       1,234,567     -",
        "longer          5  0.25",
    ]
