"""Keys of 0.1.0 that have another name now: the message names file, line and new key; old recordings are translated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.config.renamed import RENAMED, new_name, translate

STEPS = {"lanes": "arm", "rules": "off", "outlier": "e1"}  # what stands for the * after this key
Old = tuple[str, ...]


def key_path(old: Old) -> Old:
    """With a name for each *; a rule's conditions are items of a list."""
    if old[0] == "rules":
        return ("rules", "off", "any", "0", old[-1])
    return tuple(STEPS[old[number - 1]] if step == "*" else step for number, step in enumerate(old))


def yaml_with(old: Old) -> str:
    """A line for each step, the old key in the last one."""
    lines = ["node: cell-1"]
    for depth, step in enumerate(key_path(old)[:-1]):
        indent = "  " * depth
        lines.append(f"{indent}- lane: arm" if step == "0" else f"{indent}{step}:")
    return "\n".join([*lines, f"{'  ' * (len(old) - 1)}{old[-1]}: 1", ""])


@pytest.mark.parametrize("old", RENAMED, ids=".".join)
def test_the_check_gives_the_new_name_with_file_and_line(old: Old, tmp_path: Path) -> None:
    path, text = tmp_path / "reflexd.yaml", yaml_with(old)
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", "-c", str(path), "--json"], standalone_mode=False)
    assert result.return_value == 2
    line = len(text.splitlines())
    expected = f"{path}:{line}: '{'.'.join(key_path(old))}': renamed to '{RENAMED[old]}'"
    assert expected in json.loads(result.stdout)["mistakes"]


def test_other_keys_have_no_new_name() -> None:
    assert new_name(("lanes", "arm", "gate", "idle_interval_ms")) is None
    assert new_name(("lanes", "fine")) is None and new_name(()) is None


@pytest.mark.parametrize("old", RENAMED, ids=".".join)
def test_a_configuration_of_0_1_0_is_translated(old: Old) -> None:
    def nested(steps: Old) -> Any:
        if not steps:
            return 1
        inner = nested(steps[1:])
        return [inner] if steps[0] == "0" else {steps[0]: inner}

    *place, _ = key_path(old)
    # The sections around it have new names, too.
    renamed = [RENAMED.get(old[: number + 1], step) for number, step in enumerate(place)]
    assert translate(nested(key_path(old))) == nested((*renamed, RENAMED[old]))
