"""No message, log or archive shows a password, whatever the mistake; and passwords with any character work."""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from agent import redact
from agent.cli import cli
from agent.config.load import load_config
from agent.errors import ConfigError
from agent.recorder.settings import of_config
from drivers.camera import _rtsp_url
from tests.field_fixtures import reflexd

MARKS = ("Zq", "Yv", "Xw")  # in every password here: not even a part of one may be shown
SPECIAL = "#/?@:%&=+$!'\"\\ ,;{}[]()<>|*~^`äß€"
PASSWORDS = st.tuples(*[st.text(st.sampled_from(SPECIAL + "a1"), max_size=6)] * 2).map(lambda t: f"Zq{t[0]}Yv{t[1]}Xw")
HOST = "192.0.2.7:554/live"


def url_of(password: str) -> str:
    return f"rtsp://admin:{password}@{HOST}"


def source(**options: object) -> str:
    return json.dumps({"lanes": {"yard": {"source": options, "model": "person-coarse"}}}, ensure_ascii=False)


def rtsp(url: object, **more: object) -> str:
    return source(**{"driver": "camera.rtsp", "url": url, **more})


# How people get it wrong: password -> text of the configuration.
MISTAKES: dict[str, Callable[[str], str]] = {
    "url twice": lambda p: f"lanes:\n  a: {{source: {{url: {quoted(url_of(p))}, url: {quoted(url_of(p))}}}}}\n",
    "lane twice": lambda p: f"a: {quoted(url_of(p))}\na: {quoted(url_of(p))}\n",
    "source is a text": lambda p: json.dumps({"lanes": {"a": {"source": url_of(p), "model": "person-coarse"}}}),
    "another driver": lambda p: source(driver="camera.file", path=url_of(p)),
    "a serial line": lambda p: source(driver="sensor.serial", url=url_of(p), rate_hz=1, channels=["a"]),
    "a folder": lambda p: source(driver="camera.replay", folder=url_of(p)),
    "a device": lambda p: source(driver="camera.v4l2", device=url_of(p)),
    "misspelt": lambda p: source(driver="camera.rtsp", urll=url_of(p)),
    "the wrong key": lambda p: rtsp("rtsp://192.0.2.7", timeout_ms=url_of(p)),
    "the wrong key, alone": lambda p: rtsp("rtsp://192.0.2.7", transport=f"{p}@"),
    "no colon": lambda p: source(**{"driver": "camera.rtsp", f"url {url_of(p)}": None}),
    "a url as key": lambda p: source(**{"driver": "camera.rtsp", url_of(p): 1}),
    "a list": lambda p: rtsp([url_of(p)]),
    "a mapping": lambda p: rtsp({url_of(p): {"password": p}}),
    "another scheme": lambda p: rtsp(f"http://admin:{p}@{HOST}"),
    "no scheme": lambda p: rtsp(f"admin:{p}@{HOST}"),
    "a file, no scheme": lambda p: source(driver="camera.file", path=f"admin:{p}@{HOST}"),
    "a folder, no scheme": lambda p: source(driver="camera.replay", folder=f"//admin:{p}@{HOST}"),
    "a serial line, no scheme": lambda p: source(
        driver="sensor.serial", url=f"admin:{p}@192.0.2.7:4001", rate_hz=1, channels=["a"]
    ),
    "a device, no scheme": lambda p: source(driver="camera.v4l2", device=f"admin:{p}@{HOST}"),
    "a model, no scheme": lambda p: json.dumps(
        {"lanes": {"a": {"source": {"driver": "camera.sim"}, "model": f"admin:{p}@{HOST}"}}}
    ),
    "run_dir, no scheme": lambda p: json.dumps({"run_dir": f"//admin:{p}@{HOST}", "lanes": 1}),
    "key file, no scheme": lambda p: json.dumps({"keys": {"own": f"u:{p}@h/key"}}),
    "no colon, no scheme": lambda p: source(**{"driver": "camera.rtsp", f"url admin:{p}@{HOST}": None}),
    "without quotes, no scheme": lambda p: f"lanes:\n  a:\n    source:\n      path: admin:{p}@{HOST}\n      u: 1\n",
    "a lane without quotes, in braces": lambda p: f"lanes: {{a: {url_of(p)}}}\n",
    "twice between commas": lambda p: f"lanes: {{a: {{source: {{url: rtsp://u:x,{p},b,{p},c@h}}}}}}\n",
    "no host": lambda p: rtsp(f"rtsp://admin:{p}@"),
    "a bad port": lambda p: rtsp(f"rtsp://admin:{p}@192.0.2.7:99999/live"),
    "a login twice": lambda p: rtsp(url_of(p), user="admin", password=p),
    "password is a list": lambda p: rtsp("rtsp://192.0.2.7", password=[p]),
    "password too long": lambda p: rtsp("rtsp://192.0.2.7", user="u", password=p * 30),
    "node": lambda p: json.dumps({"node": url_of(p)}),
    "driver": lambda p: source(driver=url_of(p)),
    "model": lambda p: json.dumps({"lanes": {"a": {"source": {"driver": "camera.sim"}, "model": url_of(p)}}}),
    "endpoint": lambda p: json.dumps({"actuators": {"a": {"rest": "x", "endpoint": f"tcp://u:{p}@h:1"}}}),
    "key file": lambda p: json.dumps({"keys": {"own": f"http://u:{p}@h/key"}}),
    "rule": lambda p: json.dumps({"rules": {"r": {"any": [{"lane": url_of(p), "label": url_of(p)}], "actuator": "x"}}}),
    "name of a lane": lambda p: json.dumps({"lanes": {url_of(p): {"model": "x"}}}),
    "without quotes": lambda p: (
        f"lanes:\n  a:\n    source:\n      driver: camera.rtsp\n      url: {url_of(p)}\n      u: 1\n"
    ),
    "without quotes, in braces": lambda p: f"lanes: {{a: {{source: {{driver: camera.rtsp, url: {url_of(p)}}}}}}}\n",
    "password without quotes": lambda p: f"lanes:\n  a:\n    source:\n      password: {p}\n      pass: {p}\n",
    "password after a dash": lambda p: f"lanes:\n- {p}\n  url: {url_of(p)}\n",
    "an alias": lambda p: f"lanes: *{p}\n",
    "a tag": lambda p: f"lanes: !{p} {url_of(p)}\n",
    "an open quote": lambda p: f"lanes:\n  a: {{source: {{url: '{url_of(p)}}}}}\n",
    "a missing variable": lambda p: rtsp(f"rtsp://admin:{p}${{REFLEXD_NOT_SET}}@{HOST}"),
}


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def shown_of(path: Path) -> str:
    """What a person sees who checks, or starts, this configuration."""
    runs = [CliRunner().invoke(cli, ["check", str(path), *more]) for more in ([], ["--json"])]
    return "".join(f"{run.output}{run.exception}" for run in runs)


def leaked(text: str) -> list[str]:
    return [mark for mark in MARKS if mark in text]


@pytest.mark.parametrize("mistake", MISTAKES)
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],  # each try reads a configuration, so to shrink would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(password=PASSWORDS)
@pytest.mark.slow
def test_kind_no_mistake_shows_a_password(mistake: str, password: str, tmp_path: Path) -> None:
    """12."""
    path = tmp_path / "reflexd.yaml"
    path.write_text(MISTAKES[mistake](password), encoding="utf-8")
    assert not leaked(shown_of(path)), (path.read_text(), shown_of(path))


@given(password=PASSWORDS, user=st.sampled_from(["admin", "me@example.com", "a b"]))
def test_any_password_is_split_from_the_host_and_encoded_for_the_decoder(user: str, password: str) -> None:
    plain = password.replace("%", "")  # a percent sign with two digits means another character
    for after in ("10.0.0.1:8554/live", "cam.example/live?channel=1", "[fe80::1]/x@y", "localhost"):
        address = _rtsp_url.parse(f"rtsp://{user}:{plain}@{after}")
        assert [unquote(part) for part in address.login.split(":")] == [user, plain]
        assert after.startswith(address.host)
        assert not set("/?#@% ") & set(address.login.replace("%", "", address.login.count("%"))) - {"%"}
        assert not leaked(address.label)
    by_option = _rtsp_url.parse("rtsp://10.0.0.1/x", user, password)
    assert [unquote(part) for part in by_option.login.split(":")] == [user, password]
    encoded = _rtsp_url.parse(f"rtsp://{quote(user, '')}:{quote(password, '')}@10.0.0.1/x")
    assert encoded.login == by_option.login


@pytest.mark.parametrize(
    "url, host, login",
    [
        ("rtsp://10.0.0.1/live@1", "10.0.0.1", ""),
        ("rtsp://10.0.0.1:554/user=a&mail=b@c.de", "10.0.0.1", ""),
        ("rtsp://u:p@10.0.0.1/live@cam.de", "10.0.0.1", "u:p"),
        ("rtsp://u:p@cam/live", "cam", "u:p"),
        ("rtsp://cam/live@1", "cam", ""),
        ("rtsp://u@cam.de", "cam.de", "u"),
        ("rtsp://admin:2024#Cam@cam/live", "cam", "admin:2024%23Cam"),
        ("rtsp://u:100%@cam.de/x", "cam.de", "u:100%25"),
        ("rtsp://u:s%40c@cam.de/x", "cam.de", "u:s%40c"),
    ],
)
def test_where_the_host_is(url: str, host: str, login: str) -> None:
    address = _rtsp_url.parse(url)
    assert (address.host, address.login) == (host, login)


@given(password=PASSWORDS)
@example("ZqYv11Xw")  # with it the URL has 40 characters, as a key has
@example('Zq"YvßXw')
@pytest.mark.slow
def test_the_log_and_the_recorded_configuration_have_no_password(password: str) -> None:
    bare = f"admin:{password}@{HOST}"
    for text in (
        *(rtsp(url) for url in (url_of(password), bare, f"//{bare}")),
        rtsp("rtsp://192.0.2.7/live", user="admin", password=password),
    ):
        redact.remember(redact.secrets(json.loads(text)))
        for form in (password, repr(password), quoted(password), quote(password), url_of(password), bare, f"/a/{bare}"):
            record = logging.LogRecord("x", logging.ERROR, "x", 1, "yard: %s: failed", (form,), None)
            assert not leaked(redact.MaskedFormatter().format(record))


def test_what_a_program_prints_of_a_valid_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it comes from the environment: `check --json`, a recording's head, repr, an archive for support."""
    monkeypatch.setenv("REFLEXD_TEST_PASSWORD", "Zq/Yv@Xw#1")
    path = tmp_path / "reflexd.yaml"
    text = json.loads(rtsp("rtsp://admin:Zq?Yv/Xw@192.0.2.7/live"))
    text |= {"run_dir": str(tmp_path / "run"), "state_dir": str(tmp_path / "state")}
    password = {"user": "u", "password": "${REFLEXD_TEST_PASSWORD}"}
    text["lanes"]["two"] = {
        "source": {"driver": "camera.rtsp", "url": "rtsp://192.0.2.8/live", **password},
        "model": "person-coarse",
    }
    path.write_text(json.dumps(text))
    config = load_config(path)
    assert config.lanes["two"].source.options["password"] == "Zq/Yv@Xw#1"
    shown, recorded = shown_of(path), json.dumps(of_config(config, path, {}, 1), default=str)
    assert '"ok": true' in shown and "camera.rtsp" in recorded and not leaked(shown + repr(config) + recorded)
    reflexd("diag", "-c", str(path), "-o", str(tmp_path / "ticket.tar.gz"))
    with tarfile.open(tmp_path / "ticket.tar.gz") as archive:
        names = [entry for entry in archive.getmembers() if entry.isfile()]
        texts = {
            entry.name: (file.read().decode("utf-8", "replace"))
            for entry in names
            if (file := archive.extractfile(entry))
        }
    assert any(name.endswith("reflexd.yaml") for name in texts)
    assert not {name: leaked(text) for name, text in texts.items() if leaked(text)}


def test_kind_a_reference_that_stands_for_nothing_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """18: from the environment or systemd's credentials; the name is shown, the value never."""
    path = tmp_path / "reflexd.yaml"
    path.write_text(
        "lanes:\n  yard:\n    model: person-coarse\n    source:\n      driver: camera.rtsp\n"
        "      url: rtsp://admin:${CAM.password}@192.0.2.7/live\n"
    )
    with pytest.raises(ConfigError, match=r":6: '\$\{CAM.password\}' stands for nothing"):
        load_config(path)
    (tmp_path / "CAM.password").write_text("p@ss/wörd%41\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    options = load_config(path).lanes["yard"].source.options
    assert unquote(options["url"]) == "rtsp://admin:p@ss/wörd%41@192.0.2.7/live"
    path.write_text(path.read_text().replace("${CAM", "$${CAM"))
    assert "${CAM.password}" in load_config(path).lanes["yard"].source.options["url"]
