"""`${NAME}` in a configuration: a whole login, and what `check` says of a file whose passwords are elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from agent.config.load import check_config, load_config
from agent.errors import ConfigError
from drivers.camera import _rtsp_url


def camera(folder: Path, url: str, **more: str) -> Path:
    """A configuration that everybody may read."""
    source = {"driver": "camera.rtsp", "url": url, **more}
    path = folder / "reflexd.yaml"
    path.write_text(json.dumps({"lanes": {"yard": {"source": source, "model": "person-coarse"}}}))
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(
    "login, address",
    [("admin:Zq:Y/v@1", "${LOGIN}@cam.example"), ("admin", "${LOGIN}:x@cam.example"), ("me", "${LOGIN}@c")],
)
def test_kind_a_login_from_the_environment_has_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str, address: str
) -> None:
    monkeypatch.setenv("LOGIN", login)
    url = load_config(camera(tmp_path, f"rtsp://{address}/live")).lanes["yard"].source.options["url"]
    user, _, password = login.partition(":")
    parts = [user, password or "x"] if ":" in login or ":x" in address else [user]
    assert [unquote(part) for part in _rtsp_url.parse(url).login.split(":")] == parts


@pytest.mark.parametrize(
    "url, password, readable",
    [
        ("rtsp://admin:${CAMPW}@cam.example/live", "", False),
        ("rtsp://${CAMPW}@cam.example/live", "", False),
        ("rtsp://cam.example/live", "${CAMPW}", False),
        ("rtsp://${CAMPW}:literal@cam.example/live", "", True),
        ("rtsp://cam.example/live", "$${CAMPW}", True),
        ("rtsp://cam.example/live", "literal", True),
    ],
)
def test_kind_a_password_that_is_not_in_the_file_is_not_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, password: str, readable: bool
) -> None:
    monkeypatch.setenv("CAMPW", "Zebra9Qx")
    more = {"user": "admin", "password": password} if password else {}
    _, warnings = check_config(camera(tmp_path, url, **more))
    assert any("can read the password" in warning for warning in warnings) == readable


@pytest.mark.parametrize(
    "value, advice",
    [
        ("!secret cam", "'${NAME}'"),
        ("!env_var CAM", "'${NAME}'"),
        ("!!binary aGVsbG8=", "put the value in quotes"),
        ("2026-01-01", "put the value in quotes"),
    ],
)
def test_kind_a_secret_of_another_program_gets_the_advice_for_ours(tmp_path: Path, value: str, advice: str) -> None:
    """In quotes, `!secret cam` would be the password."""
    path = tmp_path / "reflexd.yaml"
    path.write_text(
        f"lanes:\n  yard:\n    source: {{driver: camera.rtsp, url: 'rtsp://h/l', user: a, password: {value}}}\n"
    )
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    (mistake,) = raised.value.mistakes
    assert mistake.startswith(f"{path}:3: ") and advice in mistake
    assert ("quotes" in mistake) == ("quotes" in advice) and "cam" not in mistake.removeprefix(str(path)).lower()
