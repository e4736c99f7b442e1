"""`reflexd keys --site`: certificates of a site, and what is said where one is wrong."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent import site_keys
from agent.cli import cli
from agent.site.make_keys import CA_KEY, Authority


def keys(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["keys", *arguments])
    return result.exit_code, result.output or str(result.exception)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert keys(str(tmp_path / "keys"), "--site", "--box", "a", "--box", "b")[0] == 0
    return tmp_path / "keys"


def test_each_box_gets_a_folder_that_is_all_it_needs(folder: Path) -> None:
    for box in "ab":
        assert sorted(path.name for path in (folder / box).iterdir()) == ["box.crt", "box.key", "ca.crt"]
        assert site_keys.mistake(folder / box, box) == ""
        assert (folder / box / "box.key").stat().st_mode & 0o077 == 0
    assert (folder / CA_KEY).stat().st_mode & 0o077 == 0


def test_a_box_that_is_added_later_is_of_the_same_site(folder: Path) -> None:
    code, output = keys(str(folder), "--site", "--box", "c", "--json")
    assert code == 0 and json.loads(output)["boxes"] == {"c": str(folder / "c")}
    assert (folder / "c/ca.crt").read_bytes() == (folder / "a/ca.crt").read_bytes()
    assert site_keys.mistake(folder / "c", "c") == ""


def test_no_certificate_is_overwritten(folder: Path) -> None:
    before = (folder / "a/box.crt").read_bytes()
    code, output = keys(str(folder), "--site", "--box", "a")
    assert code != 0 and "exists" in output and (folder / "a/box.crt").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("--site",), ("--box", "a"), ("--site", "--box", "../a"), ("--site", "--box", "..")]
)
def test_a_wrong_call_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert keys(str(tmp_path / "keys"), *arguments)[0] != 0
    assert not list(tmp_path.rglob("*.crt"))


def test_what_is_wrong_with_a_folder_is_said(folder: Path, tmp_path: Path) -> None:
    assert "it is of the box 'a', and this one is 'b'" in site_keys.mistake(folder / "a", "b")
    assert "No such file" in site_keys.mistake(tmp_path / "none", "a")
    other = Authority(tmp_path / "other").make_box("a")
    shutil.copy(other / "ca.crt", folder / "a/ca.crt")
    assert "of another site" in site_keys.mistake(folder / "a", "a")
    shutil.copy(folder / "b/ca.crt", folder / "a/ca.crt")
    shutil.copy(folder / "b/box.key", folder / "a/box.key")
    assert "the key of another certificate" in site_keys.mistake(folder / "a", "a")
    (folder / "a/box.crt").write_text("nothing")
    assert "no certificate" in site_keys.mistake(folder / "a", "a")
    os.chmod(folder / "b/box.key", 0o644)
    assert "chmod 600" in site_keys.mistake(folder / "b", "b")


def test_a_clock_of_1970_is_within_and_one_of_2099_is_named(folder: Path) -> None:
    identity = site_keys.read(folder / "a")
    assert site_keys.outdated(identity, datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc)) == ""
    reason = site_keys.outdated(identity, datetime(2099, 1, 1, tzinfo=timezone.utc))
    assert "by this box's clock it is 2099-01-01" in reason
