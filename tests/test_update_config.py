"""The section `update`: what it takes, and the message of each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.load import check_config, load_config
from agent.errors import ConfigError
from tests.test_config import GOOD


def loaded(folder: Path, section: str) -> Path:
    path = folder / "cell.yaml"
    path.write_text(f"{GOOD}update: {section}\n")
    return path


def test_without_a_list_every_model_with_a_name_is_updated(tmp_path: Path) -> None:
    config = load_config(loaded(tmp_path, "{url: 'https://models.example/floor', root: root.json}"))
    assert config.updatable == ["arm-deviation"] and config.update is not None
    assert config.update.every_s == 3600 and config.update.window == ""


def test_without_the_section_nothing_is_updated(tmp_path: Path) -> None:
    (tmp_path / "cell.yaml").write_text(GOOD)
    assert load_config(tmp_path / "cell.yaml").updatable == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{url: 'ftp://x/y', root: r}", "expected https://HOST/PATH, http://HOST/PATH or file:///PATH"),
        ("{url: 'file://x/y', root: r}", "expected https://HOST/PATH"),
        ("{url: 'https://x', root: r, window: '22-5'}", "expected two times of day as 22:00-05:30"),
        ("{url: 'https://x', root: r, window: '05:00-05:00'}", "expected two times of day"),
        ("{url: 'https://x', root: r, window: '24:00-05:00'}", "expected two times of day"),
        ("{url: 'https://x', root: r, models: [arm-deviatoin]}", "no model 'arm-deviatoin' of a lane; did you mean"),
        ("{url: 'https://x', root: r, every_s: 0}", "greater than or equal to 1"),
        ("{url: 'https://x'}", "'update.root' is missing"),
    ],
)
def test_a_mistake_has_its_line_and_advice(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(loaded(tmp_path, section))
    assert message in str(error.value) and "cell.yaml:" in str(error.value)


def test_check_says_where_the_trusted_root_is_missing(tmp_path: Path) -> None:
    path = loaded(tmp_path, "{url: 'https://models.example/floor', root: root.json}")
    with pytest.raises(ConfigError, match=r"root\.json' does not exist: copy metadata/1\.root\.json"):
        check_config(path)
    (tmp_path / "root.json").write_text("{}")
    check_config(path)


def test_a_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(loaded(tmp_path, "{url: 'ftp://me:hunter22@x/y', root: r}"))
    assert "hunter22" not in str(error.value)
